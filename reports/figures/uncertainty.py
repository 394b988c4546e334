"""How errors combine (JCGM 100:2008): of a product of energy and factor, of sums over sites, and what a factor may err. Pure.

Relative errors of a product that are independent combine as the root of the summed squares (5.1.6). In a sum, errors with one
cause are correlated and add linearly (5.2.2, note 1): sensors of one board model, sites with one factor. Independent ones, such
as the building meters of different sites, combine as the root of the summed squares (5.1.2). All are 95 % bounds.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import Quantity, Unit, about, independent_product

FACTOR_ERROR: Final[Mapping[int, Fraction]] = {
    1: Fraction(2, 100),
    2: Fraction(5, 100),
    3: Fraction(7, 100),
    4: Fraction(10, 100),
    5: Fraction(15, 100),
}
"""Assumed relative 95 % error of a factor by its quality class: metered supplier (1) to annual country average (5).

No publisher of the factors states one. Published direct factors of one country and year differ by 10 to 26 % with vintage and
method, so that an annual country average is class 5 with 15 %. `grid.factor_uncertainty_percent` replaces the assumption.
"""


def times_factor(energy: Quantity, per_unit: Fraction, relative: Fraction) -> Quantity:
    """Energy times a factor with a relative error, in g where the energy is in uJ."""
    unit = Unit.G_PER_UJ if energy.unit is Unit.UJ else Unit.UNSTATED
    return independent_product(energy, about(per_unit, per_unit * relative, unit))
