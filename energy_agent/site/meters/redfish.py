"""Power equipment and cooling units by Redfish: a rack or floor PDU, a power shelf, one outlet or feed of them, a CDU.

Power distribution reports its totals in `Metrics`; without that, the sum of its `Mains` is used. An outlet or a feed reports
its own; a cooling unit has `EnvironmentMetrics`. Everywhere it is PowerWatts and EnergykWh. Source: DMTF DSP2046 (Redfish
Resource and Schema Guide): PowerDistribution, PowerDistributionMetrics, Outlet, Circuit, CoolingUnit, EnvironmentMetrics.
"""

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Self

from pydantic import Field, model_validator

from energy_agent.config.formats import RedfishId
from energy_agent.config.node_meters import RedfishLogin
from energy_agent.core.meters.reading import MeterError, MeterReading
from energy_agent.core.ports import Clock
from energy_agent.redfish.resource import link, members, number, sensor
from energy_agent.redfish.service import RedfishService, is_path
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters._source import FacilitySource, reading

AGE_S: Final = 2.0  # controllers poll their sensors about once a second and say so nowhere
_POWER: Final = ("RackPDUs", "FloorPDUs", "PowerShelves", "Switchgear", "TransferSwitches", "ElectricalBuses")
_COOLING: Final = ("CDUs", "HeatExchangers", "ImmersionUnits", "RPUs")
_ROOTS: Final = {kind: f"/redfish/v1/PowerEquipment/{kind}/" for kind in _POWER} | {
    kind: f"/redfish/v1/ThermalEquipment/{kind}/" for kind in _COOLING
}
_MAINS_MAX: Final = 16
_AWAY: Final = frozenset({"Absent", "Disabled", "UnavailableOffline"})
_TEXT_MAX: Final = 256

Read = Callable[[], tuple[Decimal | None, Decimal | None]]
"""Power in W and energy in kWh."""


class EquipmentRedfishConfig(RedfishLogin):
    """Power equipment or a cooling unit by Redfish."""

    equipment: str = Field(
        max_length=_TEXT_MAX,
        description=f"KIND/ID, where KIND is one of {', '.join(_ROOTS)}, such as RackPDUs/1; or a path below /redfish/",
    )
    outlet: RedfishId | None = Field(None, description="Id of one outlet, instead of the whole device")
    mains: RedfishId | None = Field(None, description="Id of one feed (Mains), instead of the whole device")

    @model_validator(mode="after")
    def _check_equipment(self) -> Self:
        if not is_path(self.path):
            raise ValueError(
                f"equipment: expected KIND/ID, where KIND is one of {', '.join(_ROOTS)}, got {self.equipment[:80]!r}"
            )
        if self.outlet is not None and self.mains is not None:
            raise ValueError("set either outlet or mains")
        return self

    @property
    def path(self) -> str:
        """Its address in the service; "" where it has none."""
        kind, _, name = self.equipment.partition("/")
        if kind in _ROOTS and name and "/" not in name:
            return _ROOTS[kind] + name
        return self.equipment.rstrip("/") if self.equipment.startswith("/redfish/v1/") else ""


class Resolution:
    """How finely a register counts, as far as it has shown itself: JSON drops zeros at the end."""

    def __init__(self) -> None:
        self.exponent: int | None = None

    def step(self, value: Decimal) -> Decimal:
        """The finest step so far, this value included; 1 for a register that has only reported 0."""
        exponent = value.as_tuple().exponent
        if value and isinstance(exponent, int):
            value_exponent = exponent if exponent < 0 else int(value.normalize().as_tuple().exponent)
            self.exponent = value_exponent if self.exponent is None else min(self.exponent, value_exponent)
        return Decimal(1).scaleb(max(-12, self.exponent or 0))


class RedfishEquipmentMeter:
    """One piece of equipment, or an outlet or a feed of it."""

    def __init__(self, section: EquipmentRedfishConfig, meter: MeterConfig, clock: Clock) -> None:
        self._section, self._meter, self._clock = section, meter, clock
        self._service = RedfishService(section, meter.timeout_s, f"meters.{meter.id}.redfish.")
        self._read: Read | None = None
        self._energy_key = ""  # which of the two registers it is; it stays that one
        self._resolution = Resolution()
        self._deadline_s = 0.0

    def read(self) -> tuple[MeterReading, ...]:
        """Power, and energy where it is counted finely enough."""
        self._deadline_s = time.monotonic() + self._meter.timeout_s
        if self._read is None:
            self._read = self._find()
        try:
            power_w, energy_kwh = self._read()
        except MeterError:
            self._read = None  # what is there may have changed with a restart of the service
            raise
        step = Decimal(1)
        if energy_kwh is not None:
            step = self._resolution.step(energy_kwh)
            if power_w is not None and (step > 1 or self._resolution.exponent is None):
                energy_kwh = None  # power shows the flow sooner
        return (
            reading(
                self._meter, self._clock, energy=energy_kwh, energy_unit="kWh", energy_step=step,
                power=power_w, power_unit="W", power_step=Decimal(1), age_s=AGE_S,
            ),
        )  # fmt: skip

    def close(self) -> None:
        """End the session."""
        self._service.close()

    def _get(self, path: str) -> dict[str, Any]:
        """A resource, as long as there is time: what takes several requests has one timeout too."""
        if time.monotonic() > self._deadline_s:
            raise MeterError(f"{self._section.url} did not respond to all requests within {self._meter.timeout_s:g} s")
        return self._service.get(path)

    def _find(self) -> Read:
        equipment = self._present(self._section.path)
        part = ("Outlets", self._section.outlet) if self._section.outlet is not None else ("Mains", self._section.mains)
        if part[1] is not None:
            path = self._member(equipment, part[0], part[1])
            return lambda: self._parse_equipment(self._present(path))
        metrics = link(equipment, "Metrics") or link(equipment, "EnvironmentMetrics")
        if metrics is not None:
            return lambda: self._parse_equipment(self._get(metrics))
        feeds = link(equipment, "Mains")
        if feeds is None:
            raise MeterError(f"{self._section.equipment} has neither Metrics, EnvironmentMetrics nor Mains")
        paths = members(self._get(feeds), _MAINS_MAX)
        return lambda: self._sum(paths)

    def _sum(self, paths: list[str]) -> tuple[Decimal | None, Decimal | None]:
        """Power of all feeds; a feed without a reading makes it unknown. Registers are not added: each is reset by itself."""
        total, counted = Decimal(0), 0
        for path in paths:
            feed = self._get(path)
            if _state(feed) in _AWAY:
                continue
            power_w = sensor(feed, "PowerWatts")
            if power_w is None or power_w < 0:
                raise MeterError(f"feed {path.rpartition('/')[2]!r} does not report its power")
            total, counted = total + power_w, counted + 1
        if not counted:
            raise MeterError(f"no feed of {self._section.equipment} is enabled")
        return total, None

    def _parse_equipment(self, body: dict[str, Any]) -> tuple[Decimal | None, Decimal | None]:
        energy = body.get("EnergykWh")
        energy = energy if isinstance(energy, dict) else {}
        if not self._energy_key and (
            kept := [key for key in ("LifetimeReading", "Reading") if number(energy.get(key)) is not None]
        ):
            self._energy_key = kept[0]  # the first is not reset by anybody
        energy_kwh = number(energy.get(self._energy_key))
        if self._energy_key and energy_kwh is None:
            raise MeterError(f"{self._section.equipment} no longer reports its EnergykWh.{self._energy_key}")
        return sensor(body, "PowerWatts"), energy_kwh

    def _present(self, path: str) -> dict[str, Any]:
        body = self._get(path)
        if (state := _state(body)) in _AWAY:
            raise MeterError(f"{path} is {state}")
        return body

    def _member(self, equipment: dict[str, Any], collection: str, wanted: str) -> str:
        path = link(equipment, collection)
        if path is None:
            raise MeterError(f"{self._section.equipment} has no {collection}")
        paths = members(self._get(path), 1_000)
        for each in paths:
            if each.rstrip("/").rpartition("/")[2] == wanted:
                return each
        ids = ", ".join(each.rstrip("/").rpartition("/")[2] for each in paths[:20]) or "none"
        raise MeterError(f"{self._section.equipment} has no {wanted!r} among its {collection}; available: {ids[:_TEXT_MAX]}")


def _state(body: dict[str, Any]) -> str:
    status = body.get("Status")
    state = status.get("State") if isinstance(status, dict) else None
    return state if isinstance(state, str) else ""


SPEC = FacilitySource("a PDU, power shelf, outlet or CDU by Redfish", EquipmentRedfishConfig, RedfishEquipmentMeter)
