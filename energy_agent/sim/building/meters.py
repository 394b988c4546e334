"""The meters of a simulated building: what each shows of the truth, with its error, resolution, delay, wrap and faults. Pure.

A meter integrates gain x true power all the time and shows it at its ticks, one each `refresh`: a count of whole steps in 32
bits, and the power at the tick. Ticks that are equal to the next one are skipped, so a day passes quickly; the registers do not
depend on how the time is divided.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from energy_agent.core.units import NS_PER_S, UJ_PER_KWH
from energy_agent.sim.building import faults, model
from energy_agent.sim.building.truth import FacilityPhysics, FacilityTruth
from energy_agent.sim.building.weather import HOUR_NS, draw

UJ_PER_WH: Final = UJ_PER_KWH // 1000
COUNTS: Final = 1 << 32
"""An energy register goes on at 0 here."""
_PPB: Final = 1_000_000_000
_DEFAULTS: Final = {"slow": 10_000, "jump": 10_000, "drift": 10_000}
_START_MAX_WH: Final = 10**9


@dataclass(frozen=True, slots=True)
class MeterSpec:
    """A meter as it was built."""

    gain_ppb: int
    step_uj: int
    power_step_mw: int
    refresh_ns: int
    phase_ns: int
    start_uj: int

    @classmethod
    def of(cls, meter: model.MeterModel, seed: int, meter_id: str) -> "MeterSpec":
        """Draw unset values from the seed: a gain within the class, the phase of the ticks, the register's start."""
        error = (2 * draw(seed, meter_id, "gain") - 1) * meter.accuracy_percent / 100
        start_wh = int(draw(seed, meter_id, "start") * _START_MAX_WH) if meter.start_wh is None else meter.start_wh
        refresh_ns = round(meter.refresh_s * NS_PER_S)
        return cls(
            round((1 + error if meter.gain is None else meter.gain) * _PPB),
            meter.energy_step_wh * UJ_PER_WH,
            meter.power_step_w * 1000,
            refresh_ns,
            int(draw(seed, meter_id, "phase") * refresh_ns),
            start_wh * UJ_PER_WH,
        )


@dataclass(frozen=True, slots=True)
class MeterRegisters:
    """What stands in a meter's registers, and how it answers."""

    count: int  # of steps, in 32 bits
    energy_wh: int  # the same without a wrap
    power: int  # in steps
    power_w: float
    silent: bool = False
    gateway_failure: bool = False
    delay_s: float = 0.0


class SimulatedMeter:
    """One meter. `observe` passes it the truth; its registers change only at a tick."""

    def __init__(self, spec: MeterSpec) -> None:
        self.spec = spec
        self.faults: dict[str, tuple[int, int]] = {}  # kind: value, since when
        self._gain_ppb = spec.gain_ppb
        self._have = spec.start_uj * _PPB  # uJ x 1e9
        self._true_uj = 0
        self._shown_uj, self._power_mw = spec.start_uj, 0

    @property
    def gain_ppb(self) -> int:
        """What it reads for 1e9 true joules, now."""
        return self._gain_ppb

    def tick(self, after_ns: int, until_ns: int) -> int | None:
        """The tick after `after_ns` and up to `until_ns` that matters: the last, while the gain drifts the first."""
        phase, refresh = self.spec.phase_ns, self.spec.refresh_ns
        n = (after_ns - phase) // refresh + 1 if "drift" in self.faults else (until_ns - phase) // refresh
        tick_ns = phase + n * refresh
        return tick_ns if after_ns < tick_ns <= until_ns else None

    def observe(self, t_ns: int, true_uj: int, power_mw: int) -> None:
        """The truth at an instant."""
        if self.faults.get("stuck", (0, 0))[0] == 0:
            self._have += (true_uj - self._true_uj) * self._gain_ppb
        self._true_uj = true_uj
        if (t_ns - self.spec.phase_ns) % self.spec.refresh_ns:
            return
        if "drift" in self.faults:
            ppm_per_h, since_ns = self.faults["drift"]
            self._gain_ppb = max(0, self.spec.gain_ppb + ppm_per_h * 1000 * (t_ns - since_ns) // HOUR_NS)
        if "stuck" not in self.faults:
            self._shown_uj, self._power_mw = self._have // _PPB, power_mw

    def fault(self, t_ns: int, kind: str, value: int) -> None:
        """Set a fault; call `observe` with the truth at this instant first.

        Raises:
            UsageError: no such fault.
        """
        faults.check(kind, value)
        value = value or _DEFAULTS.get(kind, 0)
        if kind == "reset":
            self._have = self._shown_uj = 0
        elif kind == "jump":
            self._have = max(0, self._have + value * UJ_PER_WH * _PPB)
            self._shown_uj = self._have // _PPB
        else:
            self.faults[kind] = (value, t_ns)

    def clear(self, kind: str = "") -> None:
        """Clear a fault, or all; call `observe` with the truth at this instant first."""
        for each in [kind] if kind else list(self.faults):
            self.faults.pop(each, None)
        if "drift" not in self.faults:
            self._gain_ppb = self.spec.gain_ppb

    def registers(self) -> MeterRegisters:
        """Its registers."""
        steps = self._shown_uj // self.spec.step_uj
        power = round(self._power_mw * self._gain_ppb / _PPB / self.spec.power_step_mw)
        return MeterRegisters(
            steps % COUNTS,
            steps * self.spec.step_uj // UJ_PER_WH,
            power,
            power * self.spec.power_step_mw / 1000,
            "offline" in self.faults and not self.faults["offline"][0],
            "offline" in self.faults and bool(self.faults["offline"][0]),
            self.faults.get("slow", (0, 0))[0] / 1000,
        )


class MeteredFacility:
    """A building with its meters, in lockstep: `advance`, then read `shown` and `truth`."""

    def __init__(self, params: model.FacilityModel, seed: int, begin_ns: int | None = None) -> None:
        """Args: as of `FacilityPhysics`."""
        self.params = params
        self._facility = FacilityPhysics(params, seed) if begin_ns is None else FacilityPhysics(params, seed, begin_ns)
        self._meters = {p.id: SimulatedMeter(MeterSpec.of(params.meter(p.id), seed, p.id)) for p in params.points}

    @property
    def elapsed_ns(self) -> int:
        """Time since the start."""
        return self._facility.elapsed_ns

    @property
    def gains_ppb(self) -> Mapping[str, int]:
        """What each meter reads for 1e9 true joules, now."""
        return {name: meter.gain_ppb for name, meter in self._meters.items()}

    def advance(self, dt_ns: int, node_power_mw: int) -> None:
        """Let time pass, in which the node draws so much; raises as `FacilityPhysics.advance` does."""
        end_ns = self.elapsed_ns + dt_ns
        while self.elapsed_ns < end_ns or dt_ns < 0:
            ticks = {name: meter.tick(self.elapsed_ns, end_ns) for name, meter in self._meters.items()}
            next_ns = min((t for t in ticks.values() if t is not None), default=end_ns)
            self._facility.advance(next_ns - self.elapsed_ns if dt_ns >= 0 else dt_ns, node_power_mw)
            self._observe([name for name, tick_ns in ticks.items() if tick_ns == next_ns])

    def truth(self) -> FacilityTruth:
        """What really happened up to now."""
        return self._facility.truth()

    def registers(self, meter_id: str) -> MeterRegisters:
        """What a meter shows now.

        Raises:
            KeyError: no such meter.
        """
        return self._meters[meter_id].registers()

    def fault(self, meter_id: str, kind: str, value: int = 0) -> None:
        """Set a fault of `facility_faults.KINDS`.

        Raises:
            KeyError: no such meter.
            UsageError: no such fault.
        """
        self._observe([meter_id])
        self._meters[meter_id].fault(self.elapsed_ns, kind, value)

    def clear(self, meter_id: str, kind: str = "") -> None:
        """Clear a kind of fault of a meter, or all."""
        self._observe([meter_id])
        self._meters[meter_id].clear(kind)

    def _observe(self, names: list[str]) -> None:
        truth = self.truth()
        for name in names:
            self._meters[name].observe(truth.elapsed_ns, truth.energy_uj.at(name), truth.power_mw.at(name))
