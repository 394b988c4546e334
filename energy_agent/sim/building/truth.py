"""The building around a simulated node: what it truly draws at each of its parts, from what the node draws. Pure.

    it         = it_scale x node + other equipment, over the PDUs by their weights
    pdu output = it x (1 + cable),  pdu input = pdu output x (1 + loss),  ups output = all pdu inputs
    ups loss   = rating x (a + b x load + c x load^2),  load = ups output / rating
    heat       = all of the above and the lighting; cooling sees it late, by a first-order lag
    cooling    = air: heat / COP(outside) + fans; liquid: pumps + dry cooler(outside)
    total      = ups output + ups loss + cooling + lighting

Within a step of STEP_NS weather, sun, hour and the lag stand still, so power is constant for as long as the node's is, and
energy is power x time in whole pJ: however a time is cut into calls, the truth is the same. Parameters and their basis are in
energy_agent/sim/README.md. Photovoltaics feed in before the meter of the total, which so counts all that the building takes.
"""

import math
from dataclasses import dataclass, fields
from datetime import UTC
from typing import Any, Final, Self

from energy_agent.core.units import NS_PER_S, split_integer
from energy_agent.sim.building import model, weather

STEP_NS: Final = 5 * NS_PER_S
_PJ_PER_UJ: Final = 1_000_000  # mW x ns is pJ
_MW_PER_W: Final = 1000
REFERENCE_C: Final = 25.0  # outside, where `cop` holds
COP_MIN: Final = 1.5
_COP_MAX: Final = 12.0
_DRY_COOLER_C: Final = (-10.0, 35.0)  # outside, where the dry cooler's fans hardly turn, and where they turn fully
_NOON_NS: Final = 1_782_907_200 * NS_PER_S  # 2026-07-01 12:00, where nobody says when it begins


@dataclass(frozen=True, slots=True)
class Flows:
    """Energy in uJ since the start, or power in mW, at each part; tuples are by PDU."""

    it: tuple[int, ...]
    cable_loss: tuple[int, ...]
    pdu_loss: tuple[int, ...]
    ups_loss: int
    cooling: int
    lighting: int
    renewable: int
    reused_heat: int

    @property
    def pdu_output(self) -> tuple[int, ...]:
        """What leaves each PDU."""
        return tuple(map(sum, zip(self.it, self.cable_loss, strict=True)))

    @property
    def it_input(self) -> int:
        """What reaches the equipment."""
        return sum(self.it)

    @property
    def ups_output(self) -> int:
        """What leaves the UPS."""
        return self.it_input + sum(self.cable_loss) + sum(self.pdu_loss)

    @property
    def total(self) -> int:
        """All that the building takes, from the grid and from its own photovoltaics."""
        return self.ups_output + self.ups_loss + self.cooling + self.lighting

    def at(self, meter_id: str) -> int:
        """What flows where this meter of the building stands.

        Raises:
            KeyError: no such place.
        """
        name, _, letter = meter_id.partition("-")
        if name in ("pdu", "it") and len(letter) == 1:
            return dict(zip("abcdefgh", self.pdu_output if name == "pdu" else self.it, strict=False))[letter]
        return {
            "main": self.total, "ups": self.ups_output, "ups-loss": self.ups_loss, "cooling": self.cooling,
            "lighting": self.lighting, "pv": self.renewable, "heat": self.reused_heat,
        }[meter_id]  # fmt: skip

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """From what `dataclasses.asdict` made, by way of JSON."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = data[field.name]
            values[field.name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)


@dataclass(frozen=True, slots=True)
class FacilityTruth:
    """What really happened in the building up to `elapsed_ns` after its start."""

    elapsed_ns: int
    node_uj: int  # of the one node that is simulated
    energy_uj: Flows
    power_mw: Flows  # in the last interval
    outside_c: float


class FacilityPhysics:
    """The building, moved on by `advance`. The same parameters, seed and powers give the same bits."""

    def __init__(self, params: model.FacilityModel, seed: int, begin_ns: int = _NOON_NS) -> None:
        """Args as follows.

        Args:
            params: the building.
            seed: of the noise of the other equipment, and of the clouds.
            begin_ns: local time at the start, as ns since 1970-01-01 00:00 local; `starts_at` of the parameters goes before it.
        """
        self.params, self._seed = params, seed
        at = params.starts_at
        self._begin_ns = begin_ns if at is None else round(at.replace(tzinfo=UTC).timestamp()) * NS_PER_S
        self._weights = [round(weight * 1e6) for weight in params.pdu_weights]
        self._rated_mw = params.rated_w * _MW_PER_W
        self._ease = -math.expm1(-STEP_NS / NS_PER_S / params.cooling_lag_s)
        self._elapsed_ns, self._node_pj, self._heat_pj = 0, 0, 0
        self._seen_mw, self._heat_mw = 0.0, 0  # heat as cooling sees it, and as it is
        self._sum = self._zero()
        self._now, self._of_mw = self._zero(), -1
        self._look()

    @property
    def elapsed_ns(self) -> int:
        """Time since the start."""
        return self._elapsed_ns

    def advance(self, dt_ns: int, node_power_mw: int) -> None:
        """Let time pass, in which the node draws so much.

        Raises:
            ValueError: time goes back, or the node gives power away.
        """
        if dt_ns < 0 or node_power_mw < 0:
            raise ValueError(f"cannot advance by {dt_ns} ns at {node_power_mw} mW")
        while dt_ns:
            self._draw(node_power_mw)
            n = min(dt_ns, STEP_NS - self._elapsed_ns % STEP_NS)
            self._sum = [have + mw * n for have, mw in zip(self._sum, self._now, strict=True)]
            self._heat_pj += self._heat_mw * n
            self._node_pj += node_power_mw * n
            self._elapsed_ns, dt_ns = self._elapsed_ns + n, dt_ns - n
            if self._elapsed_ns % STEP_NS == 0:
                self._seen_mw += (self._heat_pj / STEP_NS - self._seen_mw) * self._ease
                self._heat_pj, self._of_mw = 0, -1
                self._look()

    def truth(self) -> FacilityTruth:
        """What really happened up to now."""
        energy_uj = self._flows([pj // _PJ_PER_UJ for pj in self._sum])
        return FacilityTruth(self._elapsed_ns, self._node_pj // _PJ_PER_UJ, energy_uj, self._flows(self._now), self._outside_c)

    def _look(self) -> None:
        """Weather, sun and hour of the step that begins."""
        local_ns, params = self._begin_ns + self._elapsed_ns, self.params
        self._outside_c = weather.outside_c(params, local_ns)
        self._other_mw = round(weather.other_it_w(params, self._seed, local_ns) * _MW_PER_W)
        self._lighting_mw = round(weather.lighting_w(params, local_ns) * _MW_PER_W)
        self._pv_mw = round(weather.pv_w(params, self._seed, local_ns) * _MW_PER_W)

    def _draw(self, node_mw: int) -> None:
        """Power at every part while the node draws so much; stays until the step or the power changes."""
        if node_mw == self._of_mw:
            return
        params = self.params
        it = split_integer(params.it_scale * node_mw + self._other_mw, self._weights)
        cable = [round(mw * params.cable_loss_ratio) for mw in it]
        pdu = [round((a + b) * params.pdu_ratio) for a, b in zip(it, cable, strict=True)]
        load = (sum(it) + sum(cable) + sum(pdu)) / self._rated_mw
        fixed, linear, square = params.ups_ratios
        ups = round(self._rated_mw * (fixed + linear * load + square * load * load))
        self._heat_mw = sum(it) + sum(cable) + sum(pdu) + ups + self._lighting_mw
        if self._elapsed_ns == 0:  # it begins in balance
            self._seen_mw = float(self._heat_mw)
        reused = round(self._seen_mw * params.reused_heat_ratio)
        self._now = [*it, *cable, *pdu, ups, self._cooling(reused), self._lighting_mw, self._pv_mw, reused]
        self._of_mw = node_mw

    def _cooling(self, reused_mw: int) -> int:
        """Power of the cooling; who reuses heat spares the chiller or the dry cooler that part."""
        params, left_mw = self.params, self._seen_mw - reused_mw
        if params.cooling == "air":
            cop = params.cop - params.cop_per_k * (self._outside_c - REFERENCE_C)
            return round(left_mw / min(max(cop, COP_MIN), _COP_MAX) + params.fan_ratio * self._seen_mw)
        low, high = _DRY_COOLER_C
        turning = min(max((self._outside_c - low) / (high - low), 0.1), 1.0)
        return round(params.pump_ratio * self._seen_mw + params.dry_cooler_ratio * turning * left_mw)

    def _zero(self) -> list[int]:
        return [0] * (3 * len(self._weights) + 5)

    def _flows(self, values: list[int]) -> Flows:
        n = len(self._weights)
        by_pdu = (tuple(values[k * n : (k + 1) * n]) for k in range(3))
        it, cable, pdu = by_pdu
        ups_loss, cooling, lighting, renewable, reused = values[3 * n :]
        return Flows(it, cable, pdu, ups_loss, cooling, lighting, renewable, reused)
