"""The building around a simulated node as a scenario has it: keys, defaults, ranges, and which meters stand in it.

Every value is assumed unless energy_agent/sim/README.md says otherwise; it says what each means physically too.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from energy_agent.core.errors import UsageError
from energy_agent.core.meters.facility import Position, Role
from energy_agent.core.units import NS_PER_S
from energy_agent.sim.building import faults as facility_faults
from energy_agent.sim.building.faults import MeterFault
from energy_agent.sim.scenario_model import Positive, Ratio, ScenarioSection, Seconds, unknown

Watts = Annotated[float, Field(ge=0.0, le=1e8)]
Losses = Annotated[float, Field(ge=0.0, le=0.2)]

NODE_MAX_W: Final = 12_000.0
"""The maximum that a node can draw where nobody says it; it sizes the UPS."""
_RESERVE: Final = 1.25  # of the UPS over the maximum that its IT can draw
_UPS: Final = {"air": (0.012, 0.020, 0.015), "liquid": (0.004, 0.004, 0.002)}  # double conversion; eco mode
_PDU: Final = {"air": 0.015, "liquid": 0.005}  # with a transformer; a busway
_LETTERS: Final = "abcdefgh"


@dataclass(frozen=True, slots=True)
class MeterPosition:
    """Where a meter stands. `parent` "": nothing above it."""

    id: str
    role: Role
    position: Position | None = None
    parent: str = ""


class MeterModel(ScenarioSection):
    """How one meter differs from the others."""

    absent: bool = False  # the building has no such meter
    accuracy_percent: float = Field(default=1.0, gt=0.0, le=20.0)  # its class
    gain: float | None = Field(default=None, ge=0.5, le=2.0)  # what it reads for each true joule; None: drawn within its class
    energy_step_wh: int = Field(default=1, ge=1, le=1_000_000)  # one count of the energy register; 100 is 0.1 kWh
    power_step_w: int = Field(default=1, ge=1, le=100_000)
    refresh_s: float = Field(default=1.0, ge=0.1, le=3600.0)  # how often its registers change
    start_wh: int | None = Field(default=None, ge=0, le=2**53)  # what its register holds at the start; None: drawn


class TimedMeterFault(ScenarioSection):
    """A fault of a meter at `at_s` after the start. With `for_s` it is cleared again; kind `clear` clears all of the meter."""

    at_s: Seconds
    meter: str
    kind: str
    value: int = 0
    for_s: Positive | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> "TimedMeterFault":
        try:
            once = self.kind == "clear" or facility_faults.check(self.kind, self.value).once
        except UsageError as error:
            raise ValueError(str(error)) from error
        if self.for_s is not None and once:
            raise ValueError(f"{self.kind!r} happens once: for_s is not allowed")
        return self


class FacilityModel(ScenarioSection):
    """A small data centre that holds the node, some more like it and other equipment, with a meter at each of its parts."""

    cooling: Literal["air", "liquid"] = "air"
    it_scale: int = Field(default=4, ge=1, le=100_000)  # nodes that draw what this one does
    other_it_w: Watts = 6_000.0  # equipment besides, on average
    other_it_swing: Ratio = 0.15  # its swing over the day, and its noise a tenth of that
    pdu_weights: tuple[Positive, ...] = Field(default=(3.0, 2.0), min_length=1, max_length=len(_LETTERS))  # shares of the load
    cable_loss_ratio: Losses = 0.003  # between PDU and equipment
    pdu_loss_ratio: Losses | None = None  # of what leaves the PDU; None: 0.015, with liquid cooling 0.005
    ups_rated_w: Annotated[float, Field(gt=0.0, le=1e9)] | None = None  # None: 1.25 times the maximum that the IT can draw
    ups_fixed_ratio: Losses | None = None  # loss at no load, of the rating; None: 0.012, with liquid cooling 0.004 (eco mode)
    ups_linear_ratio: Losses | None = None  # and in proportion to the load; None: 0.020, 0.004
    ups_square_ratio: Losses | None = None  # and to its square; None: 0.015, 0.002
    cop: float = Field(default=4.0, ge=1.0, le=30.0)  # air: heat that the chiller moves for each joule, at 25 degrees outside
    cop_per_k: float = Field(default=0.1, ge=0.0, le=1.0)  # air: less of it for each degree more outside
    fan_ratio: Ratio = 0.06  # air: fans, for each watt of heat
    pump_ratio: Ratio = 0.010  # liquid: pumps, for each watt of heat
    dry_cooler_ratio: Ratio = 0.015  # liquid: the dry cooler at 35 degrees outside
    cooling_lag_s: Positive = 300.0  # time constant between heat and the power of cooling
    outside_mean_c: float = Field(default=11.0, ge=-30.0, le=45.0)
    outside_season_k: float = Field(default=9.0, ge=0.0, le=40.0)  # July above the year's mean, January below
    outside_day_k: float = Field(default=5.0, ge=0.0, le=30.0)  # the afternoon above the day's mean, the night below
    latitude_deg: float = Field(default=50.0, ge=-66.0, le=66.0)
    lighting_w: Watts = 150.0  # from 7 to 19 o'clock
    lighting_night_w: Watts = 20.0
    pv_peak_w: Watts = 0.0  # photovoltaics; 0: none
    reused_heat_ratio: Ratio = 0.0  # share of the heat that goes to somebody who uses it; 0: none
    starts_at: datetime | None = None  # local time at the start; None: the node's UTC
    modbus_port: int = Field(default=0, ge=0, le=65535)  # of the gateway in front of the meters; 0: one that is free
    meters: dict[str, MeterModel] = Field(default_factory=dict, max_length=64)
    faults: tuple[TimedMeterFault, ...] = Field(default=(), max_length=10_000)

    @field_validator("starts_at")
    @classmethod
    def _check_local_time(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is not None:
            raise ValueError("expected the building's local time without a time zone")
        return value

    @model_validator(mode="after")
    def _check_meter_names(self) -> "FacilityModel":
        meter_ids = [point.id for point in self.all_points]
        for meter in self.meters:
            if meter not in meter_ids:
                raise ValueError(f"meters: {unknown('meter', meter, meter_ids)}")
        point_ids = [point.id for point in self.points]
        for fault in self.faults:
            if fault.meter not in point_ids:
                raise ValueError(f"faults: {unknown('meter', fault.meter, point_ids)}")
        return self

    @property
    def all_points(self) -> tuple[MeterPosition, ...]:
        """Where a meter could stand, from the top down."""
        points = [
            MeterPosition("main", Role.TOTAL),
            MeterPosition("ups-loss", Role.UPS_LOSS, None, "main"),
            MeterPosition("ups", Role.IT, Position.UPS_OUTPUT, "main"),
        ]
        for letter in _LETTERS[: len(self.pdu_weights)]:
            points += [
                MeterPosition(f"pdu-{letter}", Role.IT, Position.PDU_OUTPUT, "ups"),
                MeterPosition(f"it-{letter}", Role.IT, Position.IT_INPUT, f"pdu-{letter}"),
            ]
        points += [MeterPosition("cooling", Role.COOLING, None, "main"), MeterPosition("lighting", Role.LIGHTING, None, "main")]
        points += [MeterPosition("pv", Role.RENEWABLE, None, "main")] if self.pv_peak_w else []
        return (*points, *([MeterPosition("heat", Role.REUSED_HEAT)] if self.reused_heat_ratio else []))

    @property
    def points(self) -> tuple[MeterPosition, ...]:
        """Where meters stand. The parent of one is the next above it that is there."""
        every = {point.id: point for point in self.all_points}
        positions = []
        for point in every.values():
            parent = point.parent
            while parent and self.meter(parent).absent:
                parent = every[parent].parent
            if not self.meter(point.id).absent:
                positions.append(MeterPosition(point.id, point.role, point.position, parent))
        return tuple(positions)

    def meter(self, meter_id: str) -> MeterModel:
        """How this meter is."""
        return self.meters.get(meter_id, MeterModel())

    @property
    def rated_w(self) -> float:
        """Rating of the UPS."""
        return self.ups_rated_w or self.sized(NODE_MAX_W).rated_w

    def sized(self, node_max_w: float) -> "FacilityModel":
        """The same with a UPS for nodes that can draw so much, unless it has a rating."""
        most_w = self.it_scale * node_max_w + self.other_it_w * (1 + 2 * self.other_it_swing)
        return self if self.ups_rated_w else self.model_copy(update={"ups_rated_w": _RESERVE * most_w})

    @property
    def ups_ratios(self) -> tuple[float, float, float]:
        """Losses of the UPS: at no load, in proportion to the load, to its square."""
        given = (self.ups_fixed_ratio, self.ups_linear_ratio, self.ups_square_ratio)
        fixed, linear, square = (d if g is None else g for g, d in zip(given, _UPS[self.cooling], strict=True))
        return fixed, linear, square

    @property
    def pdu_ratio(self) -> float:
        """Loss of a PDU for each watt that leaves it."""
        return _PDU[self.cooling] if self.pdu_loss_ratio is None else self.pdu_loss_ratio

    def fault_events(self) -> list[MeterFault]:
        """The timeline of faults in order, each `for_s` as an event that clears; clears come first among equals."""
        events = []
        for fault in self.faults:
            at_ns, clears = round(fault.at_s * NS_PER_S), fault.kind == "clear"
            events.append(MeterFault(at_ns, fault.meter, "" if clears else fault.kind, fault.value, clears))
            if fault.for_s is not None:
                events.append(MeterFault(at_ns + round(fault.for_s * NS_PER_S), fault.meter, fault.kind, clear=True))
        return sorted(events, key=lambda e: (e.at_ns, not e.clear))
