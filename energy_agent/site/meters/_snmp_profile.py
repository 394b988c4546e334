"""What is read of a meter by SNMP: registers, from a profile in `snmp_profiles/` or as somebody wrote them down.

A profile is one JSON file: the MIB it is taken from, the numbers that fill its OIDs, and for energy and power an OID, its unit,
scale, step and wrap, each with where the fact is from. What could not be verified is named in `unverified`.
"""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, field_validator

from energy_agent.config.messages import explain
from energy_agent.config.section import Section
from energy_agent.site.meters._source import ENERGY_UJ

FOLDER: Final = Path(__file__).with_name("snmp_profiles")
PDU_MAX: Final = 64
"""Objects in one request: more do not fit the datagrams that small devices take."""

ROW_MAX: Final = (1 << 32) - 1
"""The maximum that a number in an OID can be."""

_OID = re.compile(r"\.?[0-2](\.(\d{1,10}|\{[a-z]{1,16}\})){1,127}")
_PLACE = re.compile(r"\{([a-z]+)\}")

Unit = Literal["J", "kJ", "MJ", "Wh", "kWh", "MWh", "GWh", "W", "kW", "MW"]
Index = Mapping[str, int | tuple[int, ...]]


def checked_oid(oid: str) -> str:
    """An OID in dotted numbers, some of them perhaps `{names}` that an index fills.

    Raises:
        ValueError: it is not an OID.
    """
    if len(oid) > 512 or not _OID.fullmatch(oid):
        raise ValueError(f"expected an OID in numbers, such as 1.3.6.1.4.1.318.1.1.26.4.3.1.9.1, got {oid[:60]!r}")
    return oid.removeprefix(".")


def checked_index(index: Any) -> Any:
    """The numbers that fill an OID, each alone or a list of them; what is no mapping is not for this to refuse.

    Raises:
        ValueError: one is no number that an OID can have.
    """
    for name, value in index.items() if isinstance(index, dict) else ():
        rows = value if isinstance(value, list | tuple) else [value]
        if any(not isinstance(row, int) or isinstance(row, bool) or not 0 <= row <= ROW_MAX for row in rows):
            raise ValueError(f"{str(name)[:40]!r}: expected a whole number from 0 to {ROW_MAX}, or a list of them")
    return index


class Register(Section):
    """A register of a device."""

    oid: str = Field(description="OID in numbers, with the index of the row; a {name} in it is replaced from `index`")
    unit: Unit = Field(description="unit of the value after multiplication by `scale`")
    scale: float = Field(1.0, gt=0, le=1e9, description="factor from counts to the unit: 0.1 if the register counts tenths")
    step: float | None = Field(None, gt=0, le=1e9, description="resolution of the register in the unit; default: one count")
    wrap: int | None = Field(
        None,
        ge=2,
        le=1 << 64,
        description="count at which the register wraps to 0, such as 4294967296; default: as of its type",
    )

    @field_validator("oid")
    @classmethod
    def _check_oid(cls, oid: str) -> str:
        return checked_oid(oid)

    @property
    def is_energy(self) -> bool:
        """Its unit is one of energy, not of power."""
        return self.unit in ENERGY_UJ

    @property
    def title(self) -> str:
        """What a message calls it."""
        return self.oid


class RegisterCheck(Section):
    """An object that must have this value, or the register is rejected."""

    name: str = Field(max_length=80)
    oid: str
    value: int
    meaning: str = Field(max_length=80)

    @field_validator("oid")
    @classmethod
    def _check_oid(cls, oid: str) -> str:
        return checked_oid(oid)


class ProfileRegister(Register):
    """A register of a profile.

    `digits_oid` has its number of decimal digits, `step_oid` its resolution in the same digits; `absent` is the value of a
    register that the device does not measure.
    """

    name: str = Field(max_length=80)
    absent: int | None = None
    digits_oid: str | None = None
    step_oid: str | None = None
    checks: tuple[RegisterCheck, ...] = ()
    source: str = Field(min_length=1)
    unverified: tuple[Literal["oid", "unit", "scale", "step", "wrap"], ...] = ()

    @field_validator("digits_oid", "step_oid")
    @classmethod
    def _check_optional_oid(cls, oid: str | None) -> str | None:
        return None if oid is None else checked_oid(oid)

    @property
    def title(self) -> str:
        """What a message calls it."""
        return self.name


class OidIndex(Section):
    """A number that fills a profile's OIDs."""

    default: int | None = Field(None, ge=0, le=ROW_MAX)
    meaning: str = Field(max_length=120)


class SnmpProfile(Section):
    """A kind of device."""

    title: str = Field(max_length=120)
    mib: str
    index: dict[str, OidIndex] = Field({})
    energy: ProfileRegister | None = None
    power: ProfileRegister | None = None


@dataclass(frozen=True, slots=True)
class BoundRegister:
    """A register of one device, its OIDs filled."""

    register: Register
    oid: str
    digits_oid: str | None = None
    step_oid: str | None = None
    checks: tuple[RegisterCheck, ...] = ()

    @property
    def oids(self) -> tuple[str, ...]:
        """All OIDs that it needs."""
        more = (self.digits_oid, self.step_oid, *(check.oid for check in self.checks))
        return (self.oid, *(oid for oid in more if oid is not None))


def names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def load(name: str) -> SnmpProfile:
    """A profile by its name.

    Raises:
        ValueError: no profile has this name; the message names the nearest.
    """
    profiles = names()
    if name not in profiles:
        near = difflib.get_close_matches(name, profiles, 1, 0.4)
        raise ValueError(
            f"unknown profile {name[:40]!r}; " + (f"did you mean {near[0]!r}?" if near else f"available: {', '.join(profiles)}")
        )
    try:
        return SnmpProfile.model_validate_json((FOLDER / f"{name}.json").read_bytes())
    except ValidationError as error:
        raise ValueError(f"profile {name!r}: {'; '.join(explain(error, SnmpProfile))}") from None


def filled(profile: SnmpProfile | None, given: Index, registers: Iterable[Register]) -> Index:
    """The index with a profile's defaults, for the placeholders that these registers have.

    Raises:
        ValueError: a number is missing, or one is given that nothing needs.
    """
    wanted = sorted({name for register in registers for oid in _oids(register) for name in _PLACE.findall(oid)})
    unknown = sorted(set(given) - set(wanted))
    if unknown:
        raise ValueError(
            f"index {unknown[0]!r} is not used; {'there is: ' + ', '.join(wanted) if wanted else 'the OIDs have no {name}'}"
        )
    numbers: dict[str, int | tuple[int, ...]] = {}
    for name in wanted:
        place = profile.index.get(name) if profile is not None else None
        value = given.get(name, None if place is None else place.default)
        if value is None:
            meaning = f" ({place.meaning})" if place is not None else ""
            raise ValueError(f"index {name!r} is missing{meaning}")
        if value == ():
            raise ValueError(f"index {name!r} is an empty list")
        numbers[name] = value
    return numbers


def bind_register(register: Register, index: Index) -> tuple[BoundRegister, ...]:
    """The register, once for each of the numbers that the index lists: their values are added.

    Raises:
        ValueError: a list for a register that wraps, whose sum nobody could follow.
    """
    used = sorted({name for oid in _oids(register) for name in _PLACE.findall(oid)})
    choices = [value if isinstance(value, tuple) else (value,) for value in (index[name] for name in used)]
    rows = list(itertools.islice(itertools.product(*choices), PDU_MAX + 1))
    if len(rows) > 1 and register.is_energy:
        raise ValueError(
            f"the rows of {register.title} cannot be added, because each register wraps and resets separately; declare a "
            "meter for each, or set read: power"
        )
    return tuple(_bind_row(register, dict(zip(used, row, strict=True))) for row in rows)


def _bind_row(register: Register, row: Mapping[str, int]) -> BoundRegister:
    def fill(oid: str) -> str:
        return _PLACE.sub(lambda match: str(row[match[1]]), oid)

    if not isinstance(register, ProfileRegister):
        return BoundRegister(register, fill(register.oid))
    return BoundRegister(
        register,
        fill(register.oid),
        None if register.digits_oid is None else fill(register.digits_oid),
        None if register.step_oid is None else fill(register.step_oid),
        tuple(check.model_copy(update={"oid": fill(check.oid)}) for check in register.checks),
    )


def _oids(register: Register) -> tuple[str, ...]:
    if not isinstance(register, ProfileRegister):
        return (register.oid,)
    return tuple(o for o in (register.oid, register.digits_oid, register.step_oid, *(c.oid for c in register.checks)) if o)


def exact(value: float) -> Decimal:
    """The decimal that a person wrote as a float."""
    return Decimal(repr(value))
