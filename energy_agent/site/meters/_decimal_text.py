"""Parse a number exactly, within bounds. Pure."""

from decimal import Decimal
from typing import Final

from energy_agent.core.meters.reading import MeterError

_LONGEST: Final = 64
_LARGEST_EXPONENT: Final = 308  # of a float64; 1e999999999 would fill the memory once it is a whole number


def decimal_of(text: object) -> Decimal:
    """The number in `text`. NaN and infinities are numbers here: the caller rejects them with its own reason.

    Raises:
        MeterError: it is not a number.
    """
    excerpt = repr(text)[:40]
    if not isinstance(text, str) or len(text) > _LONGEST or not text.isascii() or "_" in text:
        raise MeterError(f"expected a number, got {excerpt}")
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise MeterError(f"expected a number, got {excerpt}") from None
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and max(abs(exponent), abs(value.adjusted())) > _LARGEST_EXPONENT:
        raise MeterError(f"expected a number of moderate size, got {excerpt}")
    return value
