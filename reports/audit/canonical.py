"""Canonical JSON, and typed parsing of untrusted JSON; each error is one line with file and key. Pure.

Canonical: sorted keys, an indent of 1, ASCII, one trailing newline; so a document has one form, and that form has one hash.
"""

import json
import re
from collections.abc import Callable, Hashable
from fractions import Fraction
from typing import Annotated, Any, Final, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from energy_agent.core.errors import WattlensError
from energy_agent.core.text import is_printable, printable

TEXT_MAX: Final = 1 << 20
_DECIMAL: Final = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,60})?")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def canonical(document: object) -> bytes:
    """The one form of a document of JSON types."""
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def form(value: object) -> str:
    """The one form of a value as text."""
    return canonical(value).decode().strip()


def exact(text: object) -> Fraction | None:
    """Parse a plain decimal of bounded length; return None for other text, such as `1e999999999`."""
    return Fraction(text) if isinstance(text, str) and _DECIMAL.fullmatch(text) else None


def _number(text: object) -> Fraction | None:
    number = exact(text)
    if number is None and text is not None:
        raise ValueError("expected a decimal number as text")
    return number


def _printable(text: str) -> str:
    if not is_printable(text):
        raise ValueError("expected a printable text")
    return text


Text = Annotated[str, StringConstraints(strict=True, max_length=TEXT_MAX), AfterValidator(_printable)]
"""Names and sentences: not endless, and without control characters."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
EditionNumber = Annotated[int, Field(strict=True, ge=1, lt=1 << 63), AfterValidator(lambda number: number - 1)]
"""Number of an edition in a document, which counts from 1: the number of editions before it."""
Number = Annotated[Fraction | None, BeforeValidator(_number)]


class ExtensibleObject(BaseModel):
    """A JSON object that keeps unknown keys, so that they can be compared."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def rest(self) -> dict[str, Any]:
        """What stands under other keys."""
        return self.model_extra or {}


Model = TypeVar("Model", bound=ExtensibleObject)
Item = TypeVar("Item")


Items = Annotated[tuple[Item, ...], FailFast()]
"""A list whose first wrong item ends the reading: a hostile file has millions, and each takes a kilobyte to describe."""


def _key_by_key(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    if not isinstance(value, dict):
        return read(value)
    return {name: item for key in value for name, item in read({key: value[key]}).items()}


KEY_BY_KEY: Final = WrapValidator(_key_by_key)
"""The same for an object with any keys."""


def once(key: Callable[[Item], Hashable]) -> AfterValidator:
    """Items of a list that are there once, by their key."""

    def check(items: tuple[Item, ...]) -> tuple[Item, ...]:
        keys: set[Hashable] = set()
        for item in items:
            if key(item) in keys:
                raise ValueError(f"duplicate {key(item)!r}")
            keys.add(key(item))
        return items

    return AfterValidator(check)


def read_as(model: type[Model], raw: bytes, file: str) -> Model:
    """A document as its model; the first key that is wrong is named.

    Raises:
        WattlensError: as `parse`, or a key is missing or of another type.
    """
    try:
        return model.model_validate(parse(raw, file))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        fault = min(faults, key=lambda each: each["loc"] != ("schema",))  # of another version everything may be wrong
        way = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:80]}" for part in fault["loc"]).lstrip(".")
        what = fault["msg"].removeprefix("Value error, ")
        message = ": ".join(filter(None, (file, printable(way), what)))
        raise WattlensError(f"{message}; the file was changed, or another version wrote it") from None


def parse(raw: bytes, file: str) -> dict[str, Any]:
    """A document that is one JSON object.

    Raises:
        WattlensError: it is not; a key stands twice; a number is not finite; a text cannot be written as UTF-8.
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_finite)
        if _SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        if not isinstance(value, dict):
            raise ValueError("expected a JSON object")
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else str(error).splitlines()[0][:120]
        raise WattlensError(f"{file}: not a file that a report writes: {why}") from None
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    json_object = dict(pairs)
    if len(json_object) < len(pairs):
        raise ValueError("duplicate key in an object")
    return json_object


def _finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")
