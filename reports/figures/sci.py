"""Software Carbon Intensity per token: (E x I + M) / R, ISO/IEC 21031:2024, unit of SCI for AI. Pure, exact.

E is all energy of reserved hardware, busy or idle, with the facility's share. I is the intensity of the grid at the location;
certificates, contracts and offsets do not count. M is the embodied share of the reserved time. R is the number of tokens. If
a term is unknown, SCI has no value, with the reason.

Worked by hand: 1,000 kWh at 381 g/kWh are 381,000 g; with M of 19,000 g to 39,000 g and 4 x 10^9 tokens that is
400,000 / 4 x 10^9 = 0.0001 g to 420,000 / 4 x 10^9 = 0.000105 g per token, or 100 g to 105 g for 10^6 tokens. (The examples
printed in SCI for AI are off by powers of ten and prove nothing: 6,500 kg over 50 x 10^9 tokens are 130 g for 10^6.)
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.factors.basis import Accounting, Basis
from energy_agent.factors.embodied import EmbodiedEmissions

FACILITY: Final = "facility"


@dataclass(frozen=True, slots=True)
class Sci:
    """SCI of one token in g CO2e, least to most: (E x I + M) / R; None for `reason`. `note`: what the boundary leaves out."""

    per_token: tuple[Fraction, Fraction] | None
    reason: str = ""
    note: str = ""


def sci_per_token(
    energy_uj: Fraction | None,
    boundary: str,
    g_per_kwh: Fraction | None,
    basis: Basis | None,
    embodied: EmbodiedEmissions | None,
    tokens: int | None,
) -> Sci:
    """SCI of a token.

    Args:
        energy_uj: E in uJ, reserved and idle time included; None: not known.
        boundary: where E is measured; with another than FACILITY the SCI is a lower bound and says so.
        g_per_kwh: I, the mean over the same energy; None: not known.
        basis: what I counts; None where there is no I.
        embodied: M of the time reserved; None: not known.
        tokens: R; None: not known.

    Raises:
        UsageError: I is not that of the location, so that the SCI would hold a market instrument.
    """
    if basis is not None and basis.accounting is not Accounting.LOCATION:
        raise UsageError(
            f"SCI uses the location-based grid intensity, but this intensity is {basis}: pass the location-based one"
        )
    note = "" if boundary == FACILITY else f"energy at the {boundary} boundary: facility overhead is not included"
    missing = []
    if energy_uj is None:
        missing.append("no energy with bounds (E)")
    if g_per_kwh is None:
        missing.append("no location-based intensity (I)")
    if embodied is None or embodied.low_g is None or embodied.high_g is None:
        missing.append(f"no embodied emissions (M){': ' + embodied.reason if embodied else ''}")
    if not tokens:
        missing.append("no tokens were counted (R)" if tokens is None else "no token was generated (R)")
    if missing or energy_uj is None or g_per_kwh is None or embodied is None or not tokens:
        return Sci(None, "; ".join(missing), note)
    operational = energy_uj * g_per_kwh / UJ_PER_KWH
    low, high = ((operational + (embodied_g or 0)) / tokens for embodied_g in (embodied.low_g, embodied.high_g))
    return Sci((low, high), note=note)
