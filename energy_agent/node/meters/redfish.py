"""The node's power by Redfish, from the newest resource that its chassis has.

First `EnvironmentMetrics` (PowerWatts, EnergykWh), else the inputs of every supply in `PowerSubsystem/PowerSupplies` (their
Metrics), else the first `PowerControl` of the older `Power` resource. Source: DMTF DSP2046 (Redfish Resource and Schema Guide).
An energy register is used if it is fine enough (0.001 kWh); a coarser one would not show the energy of ten seconds.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from energy_agent.config.node_meters import NodeMeters
from energy_agent.core.meters.reading import MeterError, MeterReading, Scope
from energy_agent.core.ports import Clock
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.node.meter_source import NodeSource, believable_mw
from energy_agent.redfish.resource import link, members, number, sensor
from energy_agent.redfish.service import RedfishService

AGE_NS: Final = 2_000_000_000  # controllers poll their sensors about once a second and say so nowhere
_CHASSIS: Final = "/redfish/v1/Chassis"
_MEMBERS_MAX: Final = 64
_SUPPLIES_MAX: Final = 32
_STEP_KWH_EXPONENT: Final = -3
_HEADROOM: Final = Decimal("1.2")  # capacity is what the supplies give; what they take is more
_NODES: Final = frozenset({"RackMount", "Blade", "Sled", "StandAlone", "Enclosure", "Tower", "Desktop", "Workstation"})

Values = tuple[Decimal | None, Decimal | None]
"""Power in W and energy in kWh."""


class RedfishChassisMeter:
    """One chassis of a service."""

    def __init__(self, config: NodeMeters, clock: Clock) -> None:
        assert config.redfish is not None
        self._redfish, self._clock = config.redfish, clock
        self._service = RedfishService(config.redfish, config.redfish.timeout_s)
        self._read: Callable[[], Values] | None = None
        self._max_w: Decimal | None = None
        self._finest = 0  # exponent of the finest energy seen: JSON drops trailing zeros

    def read(self) -> tuple[MeterReading, ...]:
        """The node's power, and energy where the service counts it finely enough."""
        if self._read is None:
            self._read = self._find()
        try:
            power_w, energy_kwh = self._read()
        except MeterError:
            self._read = None  # what is there may have changed with a restart of the service
            raise
        most_w = self._redfish.max_power_w
        if power_w is not None:
            believable_mw(round(power_w * 1000), most_w)
        max_mw = round(most_w * 1000) if most_w is not None else None if self._max_w is None else round(self._max_w * 1000)
        scope = Scope(self._redfish.scope)
        reading = MeterReading(
            scope.value, scope, self._clock.utc_ns(), self._clock.boot_ns(), self._energy_uj(energy_kwh), None,
            None if power_w is None else round(power_w * 1000), max_mw, self._step_uj(), 1000, AGE_NS,
        )  # fmt: skip
        if reading.energy_uj is None and reading.power_mw is None:
            raise MeterError("the chassis reports neither power nor energy of sufficient resolution")
        return (reading,)

    def close(self) -> None:
        """End the session."""
        self._service.close()

    def _energy_uj(self, energy_kwh: Decimal | None) -> int | None:
        if energy_kwh is None:
            return None
        exponent = energy_kwh.as_tuple().exponent
        self._finest = min(self._finest, exponent if isinstance(exponent, int) else 0)
        return int(energy_kwh * UJ_PER_KWH) if self._finest <= _STEP_KWH_EXPONENT else None

    def _step_uj(self) -> int:
        """Resolution of the energy, as far as it has shown itself."""
        return max(1, int(UJ_PER_KWH * Decimal(10) ** max(-12, self._finest)))

    def _find(self) -> Callable[[], Values]:
        chassis = self._chassis()
        self._max_w = None
        subsystem = self._linked(chassis, "PowerSubsystem")
        if subsystem is not None and (capacity := number(subsystem.get("CapacityWatts"))):
            self._max_w = capacity * _HEADROOM
        environment = link(chassis, "EnvironmentMetrics")
        if environment is not None and any(v is not None for v in self._environment(environment)):
            return lambda: self._environment(environment)
        if subsystem is not None and (supplies := self._supplies(subsystem)):
            return lambda: self._inputs(supplies)
        power = link(chassis, "Power")
        if power is not None:
            return lambda: self._power(power)
        raise MeterError(f"chassis {chassis.get('Id')!r} does not report power")

    def _chassis(self) -> dict[str, Any]:
        paths = members(self._service.get(_CHASSIS), _MEMBERS_MAX)
        wanted = self._redfish.chassis
        if wanted is not None:
            paths = [p for p in paths if p.rstrip("/").rpartition("/")[2] == wanted]
        candidates = [self._service.get(path) for path in paths]
        powered = [c for c in candidates if any(link(c, k) for k in ("EnvironmentMetrics", "PowerSubsystem", "Power"))]
        nodes = [c for c in powered if c.get("ChassisType") in _NODES] if wanted is None and len(powered) > 1 else powered
        if len(nodes) == 1:
            return nodes[0]
        ids = ", ".join(str(c.get("Id"))[:64] for c in powered) or "none"
        raise MeterError(
            f"cannot select the node's chassis: set sources.node.redfish.chassis; chassis with power readings: {ids}"
        )

    def _environment(self, path: str) -> Values:
        body = self._service.get(path)
        return sensor(body, "PowerWatts"), sensor(body, "EnergykWh")

    def _supplies(self, subsystem: dict[str, Any]) -> list[str]:
        collection = self._linked(subsystem, "PowerSupplies")
        return [] if collection is None else members(collection, _SUPPLIES_MAX)

    def _inputs(self, supplies: list[str]) -> Values:
        """The sum over every supply that is present and enabled; a supply without a reading makes the sum unknown."""
        total = Decimal(0)
        counted = 0
        for path in supplies:
            supply = self._service.get(path)
            status = supply.get("Status")
            if isinstance(status, dict) and status.get("State") in ("Absent", "Disabled", "UnavailableOffline"):
                continue
            metrics = self._linked(supply, "Metrics")
            power_w = None if metrics is None else sensor(metrics, "InputPowerWatts")
            if power_w is None or power_w < 0:
                raise MeterError(f"power supply {path.rpartition('/')[2]!r} does not report its input power")
            total += power_w
            counted += 1
        if not counted:
            raise MeterError("no power supply is enabled")
        return total, None

    def _power(self, path: str) -> Values:
        controls = self._service.get(path).get("PowerControl")
        first = controls[0] if isinstance(controls, list) and controls and isinstance(controls[0], dict) else {}
        capacity = number(first.get("PowerCapacityWatts"))
        if self._max_w is None and capacity:
            self._max_w = capacity * _HEADROOM
        power_w = number(first.get("PowerConsumedWatts"))
        if power_w is None:
            raise MeterError("the chassis does not report power: PowerControl has no PowerConsumedWatts")
        return power_w, None

    def _linked(self, body: dict[str, Any], key: str) -> dict[str, Any] | None:
        path = link(body, key)
        return None if path is None else self._service.get(path)


SPEC = NodeSource(
    "the whole node by Redfish", lambda config: None if config.redfish is None else config.redfish.period_s, RedfishChassisMeter
)
