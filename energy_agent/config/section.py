"""Base model of configuration sections: unknown keys are errors, values are immutable, booleans are not numbers."""

import re
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    ValidationInfo,
    field_validator,
)
from pydantic_core.core_schema import no_info_wrap_validator_function

from energy_agent.config.key_values import leaves
from energy_agent.core.text import is_printable


def no_bool(value: object) -> object:
    """The value, unless it is a truth value, which would pass for 0 or 1: YAML reads yes, no, on and off as such.

    Raises:
        ValueError: it is one.
    """
    if isinstance(value, bool):
        raise ValueError(
            f"expected a number, got {'true' if value else 'false'} (YAML reads yes, no, on and off as true or false)"
        )
    return value


_TWO_MEANINGS = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")


def no_ambiguous_text(value: object) -> object:
    """The value, unless it is text such as "1.200", which is 1.2 in one country and 1200 in another.

    Raises:
        ValueError: it is such text.
    """
    if isinstance(value, str) and _TWO_MEANINGS.fullmatch(value.strip()):
        plain = value.strip()
        raise ValueError(f"expected a number without quotes: {plain!r} may be {float(plain):g} or {plain.replace('.', '')}")
    return value


FACTS = ("team", "project", "model", "precision", "class", "group")
"""Facts of a workload that its scheduler's labels may fill."""


def _known_fact(name: str) -> str:
    if name not in FACTS:
        raise ValueError(f"expected one of {', '.join(FACTS)}, got {name[:80]!r}")
    return name


Fact = Annotated[str, AfterValidator(_known_fact)]
Off = BeforeValidator(lambda value: "off" if value is False else value)
"""YAML reads a bare off as false."""


def _exact(value: Any, read: Any) -> Decimal:
    """The number that YAML or a workbook has as a float, with the digits as written."""
    return value if isinstance(value, Decimal) else Decimal(repr(read(value)))


Exact = Annotated[Decimal, GetPydanticSchema(lambda _, schema: no_info_wrap_validator_function(_exact, schema(float)))]
"""A number with its limits and messages as of a float, kept exactly."""
Ratio = Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=0.5)]


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _day(value: Any, first_year: int = 1990) -> Any:
    """A day as YAML has it, or as text: a number would pass for seconds since 1970."""
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        day = value
    elif isinstance(value, str) and _DATE.fullmatch(value):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"the day {value} does not exist") from None
    else:
        raise ValueError(f"expected a day such as 2026-01-31, got {str(value)[:40]!r}")
    if day is not None and not first_year <= day.year <= 2200:
        raise ValueError(f"expected a year from {first_year} to 2200, got {day}")
    return day


Day = Annotated[date, BeforeValidator(_day)]
PlantDay = Annotated[date, BeforeValidator(partial(_day, first_year=1850))]
"""Hydropower plants are older than any contract."""


class Section(BaseModel):
    """A section of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _check_plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        if not (info.field_name or "").endswith("query"):  # a language of several lines
            _refuse_unprintable(value)
        return checked_numbers(cls, value, info.field_name)


def _refuse_unprintable(value: object) -> None:
    """Check that a text, or each text of a list, is one line of printable characters: names are printed."""
    for text in value if isinstance(value, list | tuple) else (value,):
        if isinstance(text, str) and not is_printable(text):
            raise ValueError(f"expected one line without control characters, got {text[:80]!r}")


def checked_numbers(model: type[BaseModel], value: Any, key: str | None) -> Any:
    """The value of a key before it is read; a truth value or ambiguous text where it takes numbers is refused.

    Raises:
        ValueError: it is one, or the list has one.
    """
    annotation = model.model_fields[key].annotation if key is not None and key in model.model_fields else None
    if is_number(annotation):
        return no_ambiguous_text(no_bool(value))
    if get_origin(annotation) is tuple and is_number(get_args(annotation)[0]) and isinstance(value, list | tuple):
        return [no_ambiguous_text(no_bool(each)) for each in value]
    return value


def is_number(annotation: Any) -> bool:
    """Whether a key takes a number, or a number or nothing."""
    types = [leaf for leaf, _ in leaves(annotation)]
    return bool not in types and any(number in types for number in (int, float, Decimal))
