"""Numbers in Modbus registers: 16-bit words become an exact number, its resolution, and where it goes on at 0. Pure."""

import math
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal

Type = Literal["uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]

_FORMATS: Final[dict[str, str]] = {
    "uint16": ">H", "int16": ">h", "uint32": ">I", "int32": ">i", "uint64": ">Q", "int64": ">q",
    "float32": ">f", "float64": ">d",
}  # fmt: skip
_FLOAT32_MANTISSA_BITS: Final = 24  # with the one that is not stored; IEEE 754 binary32
_FLOAT32_LEAST_EXPONENT: Final = -149
_ROUND_BITS: Final = 32  # a wider register does not come round within the life of a building


def words_of(kind: str) -> int:
    """How many registers a number takes."""
    return struct.calcsize(_FORMATS[kind]) // 2


def number(words: Sequence[int], kind: str, *, little: bool) -> Decimal:
    """The number in `words`, each of 16 bits with its high byte first; `little`: the low word comes first.

    Floats are exact, NaN and infinities among them.
    """
    ordered = reversed(words) if little else words
    (value,) = struct.unpack(_FORMATS[kind], b"".join(word.to_bytes(2, "big") for word in ordered))
    return Decimal(value)


def resolution(value: Decimal, kind: str) -> Decimal:
    """Step from one number of this type to the next at the size of `value`; 1 for integers.

    A float that is not finite has none; it is refused elsewhere.
    """
    if not kind.startswith("float") or not value.is_finite():
        return Decimal(1)
    if kind == "float64":
        return Decimal(math.ulp(float(value)))
    exponent = math.frexp(float(value))[1] - _FLOAT32_MANTISSA_BITS if value else _FLOAT32_LEAST_EXPONENT
    return Decimal(2) ** max(exponent, _FLOAT32_LEAST_EXPONENT)


def range_of(kind: str) -> Decimal | None:
    """Where a register of this type goes on at 0: the end of its range. None: it does not get there."""
    bits = 16 * words_of(kind)
    if kind.startswith("float") or bits > _ROUND_BITS:
        return None
    return Decimal(2) ** (bits if kind.startswith("u") else bits - 1)
