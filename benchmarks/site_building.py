"""A simulated building and a site's account in lockstep: hours in seconds, with the building's physics as the truth."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from energy_agent.core.meters.facility import MeterEnergy
from energy_agent.ledger.facility import FacilityBook, book_of
from energy_agent.ledger.journal.book import Book
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.metering.gpu import gap_threshold_ns
from energy_agent.sim.building.meters import COUNTS, MeteredFacility
from energy_agent.sim.building.model import FacilityModel, MeterModel
from energy_agent.sim.building.truth import Flows
from energy_agent.site.account import SiteAccount
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters._source import reading

S = 10**9
BEGIN_NS = 1_782_907_200 * S  # 2026-07-01 12:00 UTC, a cell's start
POLL_S = 60
STEP_WH = 1


class _Now:
    """A settable clock: `shift_ns` is the error of the reader's UTC."""

    def __init__(self) -> None:
        self.elapsed_ns = 0
        self.shift_ns = 0

    def utc_ns(self) -> int:
        return BEGIN_NS + self.elapsed_ns + self.shift_ns

    def boot_ns(self) -> int:
        return 3600 * S + self.elapsed_ns

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError("nothing sleeps here")

    def real_seconds(self, seconds: float) -> float:
        return seconds

    def boot_id(self) -> str:
        return "boot"


@dataclass(frozen=True, slots=True)
class BuildingEvent:
    """An event at `at_s`: a meter's fault or its end, or a step of the reader's clock."""

    at_s: int
    act: Callable[["SimulatedSite"], None]


@dataclass(slots=True)
class SimulatedSite:
    """A simulated building with its meters, and the site's account of them."""

    params: FacilityModel
    seed: int
    kinds: Mapping[str, str] = field(default_factory=dict)  # meter -> "power" where it has no register
    independent: bool = True
    building: MeteredFacility = field(init=False)
    clock: _Now = field(init=False)
    account: SiteAccount = field(init=False)
    truth: dict[int, Flows] = field(init=False)  # by elapsed ns, at each cell

    def __post_init__(self) -> None:
        self.building = MeteredFacility(self.params, self.seed, BEGIN_NS)
        self.clock, self.truth = _Now(), {}
        self.meters = {point.id: self._config(point) for point in self.params.points}
        facts = [(m.facts("modbus"), gap_threshold_ns(POLL_S * S)) for m in self.meters.values()]
        self.account = SiteAccount("sim", "boot", facts)

    meters: dict[str, MeterConfig] = field(init=False)

    def _config(self, point: object) -> MeterConfig:
        place = {name: getattr(point, name) for name in ("id", "role", "position", "parent")}
        place["parent"] = place["parent"] or None
        accuracy = self.params.meter(place["id"]).accuracy_percent
        calibration = place["id"] if self.independent else None
        return MeterConfig(**place, accuracy_percent=accuracy, calibration=calibration, max_power_w=120_000, period_s=POLL_S)

    def run(self, seconds: int, events: Sequence[BuildingEvent] = ()) -> FacilityBook:
        """Play; returns the site's book."""
        draw = random.Random(f"load/{self.seed}")
        phases = {
            m: draw.randrange(2) for m in self.meters
        }  # within a second or two of each period's start, as the poller does
        waiting = sorted(events, key=lambda e: e.at_s)
        load_w, book = 6000.0, Book()
        for t_s in range(seconds + 1):
            due = [m for m, phase in phases.items() if t_s % POLL_S == phase]
            while waiting and waiting[0].at_s <= t_s:
                self._to(t_s, load_w)
                waiting.pop(0).act(self)
            if t_s % 300 == 0:
                self._to(t_s, load_w)
                load_w = min(10_000.0, max(2500.0, load_w + draw.gauss(0, 900)))
            if t_s * S % CELL_NS == 0:
                self._to(t_s, load_w)
                self.truth[t_s * S] = self.building.truth().energy_uj
            if due:
                self._to(t_s, load_w)
                for meter in due:
                    self._read(meter)
        # The last reading of each meter lies before the end: one more, so that the end is known.
        for meter in self.meters:
            self._read(meter)
        batch = self.account.batch(BEGIN_NS)
        book.add(batch)
        return book_of("sim", [*book.facts_of("workload"), *book.open_rows()])

    def _to(self, t_s: int, load_w: float) -> None:
        dt_ns = t_s * S - self.building.elapsed_ns
        if dt_ns > 0:
            self.building.advance(dt_ns, round(load_w * 1000))
        self.clock.elapsed_ns = self.building.elapsed_ns

    def _read(self, meter: str) -> None:
        shown = self.building.registers(meter)
        if shown.silent or shown.gateway_failure:
            return
        settings = self.params.meter(meter)
        step = Decimal(settings.energy_step_wh)
        register = None if self.kinds.get(meter) == "power" else shown.count * step
        taken = reading(
            self.meters[meter], self.clock, energy=register, energy_unit="Wh", energy_step=step, wrap=COUNTS * step,
            power=Decimal(repr(shown.power_w)), power_step=Decimal(settings.power_step_w), age_s=settings.refresh_s,
        )  # fmt: skip
        self.account.feed(meter, [taken])

    def window(self, book: FacilityBook, start_s: int, seconds: int) -> dict[str, MeterEnergy]:
        """The site ledger's energy of a window, by elapsed time."""
        start_ns = BEGIN_NS + start_s * S
        return book.window(start_ns, start_ns + seconds * S)

    def true_uj(self, meter: str, start_s: int, seconds: int) -> int:
        """What truly flowed there."""
        return self.truth[(start_s + seconds) * S].at(meter) - self.truth[start_s * S].at(meter)


AIR = FacilityModel(
    meters={"main": MeterModel(accuracy_percent=0.5), "ups": MeterModel(accuracy_percent=1.0)}
    | {f"{kind}-{letter}": MeterModel(accuracy_percent=1.0) for kind in ("pdu", "it") for letter in "ab"}
    | {name: MeterModel(accuracy_percent=2.0) for name in ("cooling", "lighting", "ups-loss")},
)
LIQUID = AIR.model_copy(update={"cooling": "liquid"})
