"""The building of a simulated node from outside: its site configuration, its truth, its meters' faults."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.sim.building import faults as facility_faults
from energy_agent.sim.building import model, weather
from energy_agent.sim.building.faults import MeterFault, MeterFaultLog
from energy_agent.sim.building.truth import COP_MIN, REFERENCE_C, FacilityTruth, Flows
from energy_agent.sim.node import SimulatedNode
from energy_agent.sim.scenario_model import unknown

TRUTH_FILE: Final = "facility.json"
FAULTS_FILE: Final = "meter-faults.jsonl"
LATE_S: Final = 0.05
"""How late, in plant time, a register may change after its tick."""
_TRUTH_LIMIT_B: Final = 256 * 1024
_MARGIN: Final = 1.2  # of a declared maximum over what the physics can reach: gain, drift


@dataclass(frozen=True, slots=True)
class BuildingTruth:
    """The building's truth at `t_ns` (UTC of the plant), and what each meter reads for 1e9 true joules."""

    t_ns: int
    facility: FacilityTruth
    gains_ppb: Mapping[str, int]


def meters(node: SimulatedNode) -> list[dict[str, Any]]:
    """The meters of the building: id, role, position, parent, unit, registers, accuracy and resolution.

    Raises:
        UsageError: the node has no building; says why.
    """
    meters: list[dict[str, Any]] = _described(node)["meters"]
    return meters


def site_config(node: SimulatedNode, *, name: str = "simulated", period_s: float = 5.0) -> dict[str, Any]:
    """A configuration of `wattlens site` that reads every meter of the building over Modbus TCP.

    Raises:
        UsageError: the node has no building; says why.
    """
    about = _described(node)
    return {"site": {"name": name}, "meters": [_configured(about, meter, period_s) for meter in about["meters"]]}


def truth(node: SimulatedNode) -> BuildingTruth:
    """What really happened in the building, at most 0.1 s of real time ago.

    Raises:
        UsageError: the node has no building; says why.
        WattlensError: its truth cannot be read.
    """
    _described(node)
    try:
        with (node.directory / TRUTH_FILE).open("rb") as file:
            data = json.loads(file.read(_TRUTH_LIMIT_B))
        flows = {key: Flows.of(data["truth"][key]) for key in ("energy_uj", "power_mw")}
        return BuildingTruth(data["t_ns"], FacilityTruth(**data["truth"] | flows), data["gains_ppb"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise WattlensError(f"{node.directory / TRUTH_FILE} cannot be read: {error}") from error


def fault(node: SimulatedNode, meter: str, kind: str, value: int = 0) -> None:
    """Set a fault of `facility_faults.KINDS` on a meter.

    Raises:
        UsageError: no building, no such meter, no such fault.
    """
    facility_faults.check(kind, value)
    _tell(node, meter, kind, value, clear=False)


def clear(node: SimulatedNode, meter: str, kind: str = "") -> None:
    """Clear a kind of fault of a meter, or all; raises as `fault` does."""
    if kind:
        facility_faults.check(kind)
    _tell(node, meter, kind, 0, clear=True)


def faults(node: SimulatedNode) -> list[MeterFault]:
    """The faults of meters that are set."""
    return facility_faults.active(MeterFaultLog(node.directory / FAULTS_FILE).fresh())


def described(params: model.FacilityModel, units: Mapping[str, int], addresses: Mapping[str, int]) -> list[dict[str, object]]:
    """What each meter is, where it stands, and how it is read; `units` and `addresses` are those of Modbus."""
    meters: list[dict[str, object]] = []
    for point in params.points:
        meter = params.meter(point.id)
        meters.append(
            {
                "id": point.id,
                "role": point.role.value,
                "position": point.position.value if point.position else None,
                "parent": point.parent or None,
                "unit": units[point.id],
                "registers": dict(addresses),
                "accuracy_percent": meter.accuracy_percent,
                "energy_step_wh": meter.energy_step_wh,
                "power_step_w": meter.power_step_w,
                "refresh_s": meter.refresh_s,
                "max_power_w": max_power_w(params, point.id),
            }
        )
    return meters


def max_power_w(params: model.FacilityModel, meter_id: str) -> float:
    """A bound of what can flow at a meter: UPS at its rating, hottest hour of the year, with a margin."""
    rated_w = params.rated_w
    ups_loss_w, lighting_w = rated_w * sum(params.ups_ratios), max(params.lighting_w, params.lighting_night_w)
    heat_w = rated_w + ups_loss_w + lighting_w
    hottest_c = weather.hottest_c(params)
    if params.cooling == "air":
        cop = max(COP_MIN, params.cop - params.cop_per_k * max(0.0, hottest_c - REFERENCE_C))
        cooling_w = heat_w * (1 / cop + params.fan_ratio)
    else:
        cooling_w = heat_w * (params.pump_ratio + params.dry_cooler_ratio)
    most_w = {
        "main": heat_w + cooling_w, "ups-loss": ups_loss_w, "cooling": cooling_w, "lighting": lighting_w,
        "pv": params.pv_peak_w, "heat": heat_w * params.reused_heat_ratio,
    }.get(meter_id, rated_w)  # fmt: skip
    return float(max(1, math.ceil(_MARGIN * most_w)))


def _configured(about: Mapping[str, Any], meter: Mapping[str, Any], period_s: float) -> dict[str, Any]:
    place = {key: meter[key] for key in ("id", "role", "position", "parent") if meter[key] is not None}
    registers, uint32 = meter["registers"], {"type": "uint32"}
    energy = {"address": registers["energy"], **uint32, "unit": "Wh", "scale": meter["energy_step_wh"]}
    power = {"address": registers["power"], **uint32, "unit": "W", "scale": meter["power_step_w"]}
    where = {"host": about["host"], "port": about["port"], "unit": meter["unit"], "renewal_s": meter["refresh_s"] + LATE_S}
    bounds = {"accuracy_percent": meter["accuracy_percent"], "max_power_w": meter["max_power_w"], "period_s": period_s}
    return place | bounds | {"modbus": where | {"energy": energy, "power": power}}


def _described(node: SimulatedNode) -> dict[str, Any]:
    about: dict[str, Any] | None = node.state().get("facility")
    if about is None:
        raise UsageError("this simulated node has no building; add the key 'facility' to its scenario")
    return about


def _tell(node: SimulatedNode, meter: str, kind: str, value: int, *, clear: bool) -> None:
    meter_ids = [each["id"] for each in meters(node)]
    if meter not in meter_ids:
        raise UsageError(unknown("meter", meter, meter_ids))
    with node.plant() as plant:
        at_ns = plant.now_ns() - int(node.state()["started_ns"])
    MeterFaultLog(node.directory / FAULTS_FILE).append([MeterFault(at_ns, meter, kind, value, clear)])
