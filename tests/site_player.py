"""A deterministic player of a site's snapshots: test input whose every watt is known, moving in whole steps like `snapshots`.

The building takes 7200 W from the grid and makes 400 W itself. Of these 5400 W leave the UPS, 200 W of them for a pump, and
5000 W the PDUs, 4800 W of them for the player's node; a chiller takes 1000 W, the UPS loses 300 W, lights take 100 W, and 800 W
nobody meters. The meter of the yard is silent.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from energy_agent.core.energy import Identity, SourceHealth
from energy_agent.core.meters.facility import MeterFacts, Position, Role
from energy_agent.core.quantity import Quantity, no_quantity
from energy_agent.core.snapshot import LedgerStats, ProcessCost
from energy_agent.site import windows
from energy_agent.site.building.pue import Pue
from energy_agent.site.snapshot import FacilityView, Intensity, SiteSnapshot
from tests.snapshots import STEP_S

SITE, STATED_SITE = "here", "there"
ZONE, BASIS, G_PER_KWH = "DE", "direct", 360
SILENT, SILENCE = "yard", "no answer within 5 s"
TOO_SHORT = "less than 90% of the window was metered"
NOW_PUE = Pue("iPUE", 2, Quantity(Fraction(3, 2), Fraction(11, 8), Fraction(25, 16)), coverage=Fraction(1))
YEAR_PUE = Pue("PUE", 2, Quantity(Fraction(7, 5), Fraction(27, 20), Fraction(29, 20)), coverage=Fraction(97, 100))
PARTLY = Pue("iPUE", 1, Quantity(Fraction(8, 5), Fraction(3, 2), Fraction(17, 10)), coverage=Fraction(1), stated=True)
PUE: Mapping[tuple[str, str], Pue] = {
    ("2", windows.NOW): NOW_PUE,
    ("2", "365d"): YEAR_PUE,
    (f"1{windows.PARTLY}", windows.NOW): PARTLY,
    ("1", "365d"): Pue("iPUE", 1, no_quantity(TOO_SHORT)),
}
GRID_SOURCES = (
    SourceHealth(f"grid:electricity_maps:{ZONE}", False, "", "the key is refused"),
    SourceHealth(f"grid:csv_file:{ZONE}", True, poll_s=0.01),
)
STATED = Pue("PUE", 0, Quantity(Fraction(8, 5), Fraction(36, 25), Fraction(44, 25)), stated=True)


def _meter(
    name: str, role: Role, watts: int | None, parent: str = "main", position: Position | None = None
) -> tuple[MeterFacts, int | None]:
    return MeterFacts(name, role, position, parent, "hall", 10_000, source="modbus"), watts


METERS = (
    _meter("main", Role.TOTAL, 7200, ""),
    _meter("ups", Role.IT, 5400, "main", Position.UPS_OUTPUT),
    _meter("pdu", Role.IT, 5000, "ups", Position.PDU_OUTPUT),
    _meter("pump", Role.COOLING, 200, "ups"),
    _meter("chiller", Role.COOLING, 1000),
    _meter("ups-loss", Role.UPS_LOSS, 300),
    _meter("lights", Role.LIGHTING, 100),
    _meter("pv", Role.RENEWABLE, 400, ""),
    _meter("heat", Role.REUSED_HEAT, 600, ""),
    _meter(SILENT, Role.LIGHTING, None),
)


@dataclass
class SitePlayer:
    """Makes the snapshot of a site now. `metered` False: a site without meters, whose PUE somebody states."""

    metered: bool = True
    started: float = field(default_factory=time.monotonic)

    def now(self) -> SiteSnapshot:
        """The snapshot of this instant."""
        step, t_ns = 100_000 + int((time.monotonic() - self.started) / STEP_S), time.time_ns()
        site = SITE if self.metered else STATED_SITE
        sources = [SourceHealth(f"facility:{f.id}", w is not None, "", "" if w else SILENCE, t_ns) for f, w in METERS]
        return SiteSnapshot(
            sequence=step,
            t_ns=t_ns,
            boot_ns=t_ns,
            identity=Identity("lab", site, "boot-1", "0.1.0", simulated=True),
            site=site,
            meters=tuple(_view(facts, watts, step) for facts, watts in METERS) if self.metered else (),
            pue=PUE if self.metered else {(windows.STATED, ""): STATED},
            grid=(
                Intensity(ZONE, BASIS, str(G_PER_KWH))
                if self.metered
                else Intensity("FR", "direct, yearly factor of 2024", "40"),
            ),
            health=(*sources, *GRID_SOURCES) if self.metered else (),
            ledger=LedgerStats(4096 + step, step, step, 0, step // 600, t_ns),
            config_reload_success_ns=t_ns,
            processes=(ProcessCost("site", step * 200_000, 30_000_000),),
        )


def _view(facts: MeterFacts, watts: int | None, step: int) -> FacilityView:
    steady_uj = round((watts or 0) * STEP_S * 1e6)
    return FacilityView(facts, step * steady_uj, 1_000_000, None if watts is None else watts * 1000)
