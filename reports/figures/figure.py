"""A figure: a value with its unit, method, boundary, coverage, interval and sources; and conversion of integers to its text.

Values are exact decimals. Energy is exact (whole uJ). A quotient is rounded once, here, half to even. The bounds of an
interval are rounded outwards, so rounding never narrows an interval. A missing value has a reason instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Literal

from energy_agent.core.quantity import Quantity
from energy_agent.core.units import UJ_PER_J, UJ_PER_KWH, decimal
from reports.figures.energy import UNSEEN, BoundedEnergy

LEDGER = ("ledger",)
"""Source of a figure that needs the ledger alone."""

STAND_IN = "stand_in"
"""Dimension of a figure in which a substitute replaces the required quantity, in whole or, with ESTIMATED_J, in part."""
IMPUTED_J, ESTIMATED_J = "imputed_j", "estimated_j"
"""Dimensions with a part of an energy in J: imputed for gaps of meters, and estimated by the supplier."""
IMPUTED_BY = "imputed_by"
"""Dimension of a building's energy: what its imputed part follows from, with the kWh of each."""
ESTIMATED_SHARE = "estimated_share"
"""Dimension of CO2e: the share of its value that follows from substitutes and imputed energy."""

QUOTIENT_DIGITS = 9
"""Significant digits of a quotient such as J/token: far below any sensor's error, and the same on every machine."""


Rounding = Literal["nearest", "down", "up"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the report. `dims` says of what (device, workload, model, state, reason)."""

    id: str
    value: Fraction | None
    unit: str
    method: str
    boundary: str  # gpu | gpu+cpu | node | it | facility | grid | embodied; mixed: of several
    coverage: Fraction | None = None  # share of the period's device time that was seen
    low: Fraction | None = None
    high: Fraction | None = None
    sources: tuple[str, ...] = ()
    factor_ids: tuple[str, ...] = ()
    dims: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None  # why the value is absent

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"figure {self.id} needs either a value or the reason for its absence")

    @property
    def text(self) -> str:
        """The value as plain decimal text; "" where it is absent."""
        return plain(self.value)

    @property
    def estimated(self) -> Fraction:
        """The part of the value that no meter read: all of a substitute, unless a dimension states its part."""
        if self.value is not None and ESTIMATED_SHARE in self.dims:
            return self.value * Fraction(self.dims[ESTIMATED_SHARE])
        if self.value is None or (STAND_IN in self.dims and ESTIMATED_J not in self.dims):
            return self.value or Fraction(0)
        return sum((Fraction(self.dims.get(key, "0")) for key in (IMPUTED_J, ESTIMATED_J)), Fraction(0))


def metered(imputed: Mapping[str, int]) -> tuple[str, dict[str, str]]:
    """Return (method, dims) of energy of the building's meters.

    Args:
        imputed: the part for time in which a meter was not read, in uJ, by what it follows from.
    """
    if not imputed:
        return "metered", {}
    parts = "; ".join(f"{basis}: {quotient_text(Fraction(uj, UJ_PER_KWH))} kWh" for basis, uj in imputed.items())
    return "metered, in part imputed", {IMPUTED_J: energy_text(sum(imputed.values())), IMPUTED_BY: parts}


def amount_figure(
    identity: str,
    amount: Quantity,
    unit: str,
    method: str,
    within: str,
    *,
    coverage: Fraction | None = None,
    sources: tuple[str, ...] = LEDGER,
    factor_ids: tuple[str, ...] = (),
    dims: Mapping[str, str] | None = None,
) -> Figure:
    """The figure of an amount, rounded once, its bounds outwards; absent with the amount's reason.

    Raises:
        ValueError: the amount is in another unit that does not convert to the figure's.
    """
    amount = amount.to(unit)
    value = None if amount.value is None else rounded(amount.value)
    low = None if amount.low is None else rounded(amount.low, "down")
    high = None if amount.high is None else rounded(amount.high, "up")
    coverage, why = (coverage, None) if amount.value is not None else (None, amount.reason or "not known")
    return Figure(identity, value, unit, method, within, coverage, low, high, sources, factor_ids, dims or {}, why)


def energy_figure(
    identity: str,
    energy: BoundedEnergy,
    method: str,
    within: str,
    coverage: Fraction | None = None,
    dims: Mapping[str, str] | None = None,
) -> Figure:
    """The figure of a sum of the ledger, in J to the last uJ."""
    low = None if energy.low_uj is None else Fraction(energy.low_uj, UJ_PER_J)
    high = None if energy.high_uj is None else Fraction(energy.high_uj, UJ_PER_J)
    value, reason = (None, UNSEEN) if energy.unseen else (Fraction(energy.energy_uj, UJ_PER_J), None)
    return Figure(identity, value, "J", method, within, coverage, low, high, LEDGER, dims=dims or {}, reason=reason)


def energy_text(energy_uj: int) -> str:
    """Energy in J, exactly."""
    return decimal(energy_uj, UJ_PER_J)


def microjoules(figure: Figure) -> int:
    """The energy of a figure in J as whole uJ; 0 where it is absent."""
    return int((figure.value or 0) * UJ_PER_J)


def plain(value: Fraction | None) -> str:
    """A decimal as plain text; "" where it is absent."""
    if value is None:
        return ""
    scale = 10 ** value.denominator.bit_length()  # no decimal has more places than that
    whole = value * scale
    if whole.denominator != 1:
        raise ValueError(f"{value} has no finite decimal form")
    return decimal(whole.numerator, scale)


def quotient_text(value: Fraction, mode: Rounding = "nearest", digits: int = QUOTIENT_DIGITS) -> str:
    """`rounded` as plain text.

    >>> quotient_text(Fraction(1, 3), "down", 3)
    '0.333'
    """
    return plain(rounded(value, mode, digits))


def rounded(value: Fraction, mode: Rounding = "nearest", digits: int = QUOTIENT_DIGITS) -> Fraction:
    """`value` with `digits` significant digits.

    Args:
        value: exact value.
        mode: nearest (half to even) | down (towards minus infinity) | up.
        digits: significant digits to keep.
    """
    if not value:
        return Fraction(0)
    scale = Fraction(10) ** (digits - _magnitude(abs(value)))
    scaled = value * scale
    return (floor(scaled) if mode == "down" else ceil(scaled) if mode == "up" else round(scaled)) / scale


def _magnitude(value: Fraction) -> int:
    """Digits before the decimal point of `value` > 0; zero or less for values below 0.1."""
    magnitude = len(str(value.numerator)) - len(str(value.denominator))
    return magnitude + 1 if value >= Fraction(10) ** magnitude else magnitude
