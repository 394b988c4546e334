"""A PDU, a UPS or any other meter by SNMP v2c or v3: one GET a poll, which asks for every register at once.

Registers come from a profile (`snmp_profiles/`) or from the configuration. A register that is not there, has another type, says
that it is not available or is negative is a reason, never a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from energy_agent.core.meters.reading import MeterError, MeterReading
from energy_agent.core.ports import Clock
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters import _snmp_profile as profiles
from energy_agent.site.meters._snmp_profile import BoundRegister, Register
from energy_agent.site.meters._snmp_session import Session, SnmpAccess, Value
from energy_agent.site.meters._source import FacilitySource, reading

_DIGITS_MAX: Final = 9


class Snmp(SnmpAccess):
    """A meter by SNMP. With v2c readings and community cross the network in the clear."""

    profile: str | None = Field(None, description="kind of device: name of a file in snmp_profiles, such as apc-rpdu2")
    index: dict[str, int | tuple[int, ...]] = Field({}, description="number of the PDU, inlet, outlet or line: see the profile")
    energy: Register | None = Field(None, description="energy register, instead of a profile")
    power: Register | None = Field(None, description="power register, instead of a profile")
    read: Literal["both", "energy", "power"] = Field("both", description="readings of the profile to use")

    @field_validator("index", mode="before")
    @classmethod
    def _check_rows(cls, value: Any) -> Any:
        return profiles.checked_index(value)

    @model_validator(mode="after")
    def _check_objects(self) -> Self:
        has_own_objects = self.energy is not None or self.power is not None
        if has_own_objects == (self.profile is not None):
            raise ValueError("set either a profile or your own energy and power" + (", not both" if has_own_objects else ""))
        asked = sum(len(each.oids) for rows in self.plan.values() for each in rows)
        if asked > profiles.PDU_MAX:
            raise ValueError(f"{asked} objects in one request; the maximum is {profiles.PDU_MAX}")
        return self

    @property
    def plan(self) -> dict[str, tuple[BoundRegister, ...]]:
        """The registers of energy and power; the values of several rows are added.

        Raises:
            ValueError: profile, index and registers do not fit together.
        """
        profile = None if self.profile is None else profiles.load(self.profile)
        have = profile or self
        registers = {"energy": have.energy, "power": have.power}
        chosen = {name: r for name, r in registers.items() if r is not None and self.read in ("both", name)}
        if not chosen:
            raise ValueError(
                f"read: {self.read}, but the only register is {next(n for n, r in registers.items() if r is not None)}"
            )
        for name, register in chosen.items():
            if register.is_energy != (name == "energy"):
                raise ValueError(f"{name}.unit: expected a unit of {name}, got {register.unit}")
        index = profiles.filled(profile, self.index, chosen.values())
        return {name: profiles.bind_register(register, index) for name, register in chosen.items()}


@dataclass(frozen=True, slots=True)
class _RegisterValue:
    """A quantity, its resolution and where its register goes on at 0, in its unit."""

    value: Decimal
    step: Decimal
    wrap: Decimal | None
    unit: str


class SnmpMeter:
    """One meter of a device."""

    def __init__(self, section: Snmp, meter: MeterConfig, clock: Clock) -> None:
        self._meter, self._clock, self._plan = meter, clock, section.plan
        self._oids = tuple(dict.fromkeys(oid for rows in self._plan.values() for row in rows for oid in row.oids))
        self._session = Session(section, meter.timeout_s, f"meters.{meter.id}.snmp.")

    def read(self) -> tuple[MeterReading, ...]:
        """Everything in one request."""
        answers = self._session.get(self._oids)
        energy, power = (self._sum_rows(name, answers) for name in ("energy", "power"))
        more: dict[str, Any] = {}
        if energy is not None:
            more |= {"energy": energy.value, "energy_unit": energy.unit, "energy_step": energy.step, "wrap": energy.wrap}
        if power is not None:
            more |= {"power": power.value, "power_unit": power.unit, "power_step": power.step}
        return (reading(self._meter, self._clock, **more),)

    def close(self) -> None:
        """Release socket and event loop."""
        self._session.close()

    def _sum_rows(self, name: str, answers: Mapping[str, Value]) -> _RegisterValue | None:
        rows = [decode_row(row, answers) for row in self._plan.get(name, ())]
        if not rows:
            return None
        # Each row is rounded by itself, so that a sum is as coarse as all of them together.
        total, step = sum((row.value for row in rows), Decimal(0)), sum((row.step for row in rows), Decimal(0))
        return _RegisterValue(total, step, rows[0].wrap if len(rows) == 1 else None, rows[0].unit)


def decode_row(row: BoundRegister, answers: Mapping[str, Value]) -> _RegisterValue:
    """The value of one register.

    Raises:
        MeterError: the value is not plausible, or the device does not measure it.
    """
    register = row.register
    for check in row.checks:
        number = answers[check.oid].number
        if number != check.value:
            raise MeterError(f"{register.title}: {check.name}: expected {check.value} ({check.meaning}), got {number}")
    value = answers[row.oid]
    if isinstance(register, profiles.ProfileRegister) and value.number == register.absent:
        raise MeterError(
            f"the device does not measure {'energy' if register.is_energy else 'power'} ({register.title} is "
            f"{value.number}); set read: {'power' if register.is_energy else 'energy'}"
        )
    if value.number < 0:
        raise MeterError(f"implausible reading: {register.title} is {value.number}")
    digits = 0 if row.digits_oid is None else answers[row.digits_oid].number
    if not 0 <= digits <= _DIGITS_MAX:
        raise MeterError(f"{register.title}: implausible number of {digits} decimal digits")
    count = profiles.exact(register.scale).scaleb(-digits)
    step = count if register.step is None else profiles.exact(register.step)
    if row.step_oid is not None:
        step = count * max(1, answers[row.step_oid].number)
    wrap = register.wrap or (value.range if register.is_energy else None)
    return _RegisterValue(value.number * count, step, None if wrap is None else wrap * count, register.unit)


SPEC = FacilitySource("a PDU, UPS or meter with SNMP v2c or v3", Snmp, SnmpMeter)
