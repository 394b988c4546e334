"""Units: energy as integers, and its only conversion to text.

The ledger counts whole microjoules (uJ), so that conservation is tested with `==`. Python integers do not overflow. The energy
of a fleet in a quarter (about 8e19 uJ) exceeds int64, so sums over several nodes never use numpy, pandas or pyarrow arithmetic.
"""

from functools import lru_cache
from typing import NewType

Microjoules = NewType("Microjoules", int)
"""Energy in uJ, the ledger's only unit."""

Nanoseconds = NewType("Nanoseconds", int)
"""A duration, or an instant as UTC ns since 1970, in ns."""

UJ_PER_MJ = 1_000
UJ_PER_J = 1_000_000
UJ_PER_KWH = 3_600_000_000_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_H = 3_600 * NS_PER_S
NS_PER_DAY = 24 * NS_PER_H
J_PER_KWH = 3_600_000
HZ_PER_MHZ = 1_000_000


def joules(energy_uj: int) -> float:
    """Energy in J as a float, for people and rates; never for sums that must conserve."""
    return energy_uj / UJ_PER_J


def decimal(value: int, scale: int) -> str:
    """Exact decimal text of `value / scale`, where `scale` is a power of ten.

    >>> decimal(1_234_500, 1_000_000)
    '1.2345'
    """
    whole, part = divmod(abs(value), scale)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{str(scale + part)[1:]}".rstrip("0") if part else f"{sign}{whole}"


def micro(value: int) -> str:
    """Text of millionths, such as J of uJ."""
    return decimal(value, UJ_PER_J)


# Readings of GPUs repeat, so their texts are kept.


@lru_cache(maxsize=4_096)
def milli(value: int) -> str:
    """Text of thousandths, such as W of mW."""
    return decimal(value, 1_000)


@lru_cache(maxsize=4_096)
def nano(value: int) -> str:
    """Text of billionths, such as s of ns."""
    return decimal(value, NS_PER_S)


@lru_cache(maxsize=4_096)
def hertz(value_mhz: int) -> str:
    """Text of a clock in Hz."""
    return str(value_mhz * HZ_PER_MHZ)


@lru_cache(maxsize=256)
def percent(value: float) -> str:
    """Text of a ratio of whole percent."""
    return decimal(int(value), 100)


def real(value: float) -> str:
    """The shortest text of a float that gives the same float."""
    return repr(float(value))


def split_integer(total: int, weights: list[int]) -> list[int]:
    """Split `total` in proportion to non-negative `weights` by largest remainder; the parts sum to `total` exactly.

    Ties go to the earlier part, so the split depends on nothing but its arguments. All weights zero: equal shares.

    Raises:
        ValueError: no weights, a negative weight or a negative total.
    """
    if not weights or min(weights) < 0 or total < 0:
        raise ValueError(f"cannot split {total} by {weights}")
    base = sum(weights)
    if base == 0:
        weights, base = [1] * len(weights), len(weights)
    parts = [total * w // base for w in weights]
    remainder = total - sum(parts)
    if remainder:
        for i in sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % base), i))[:remainder]:
            parts[i] += 1
    return parts
