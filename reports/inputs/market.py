"""The market within which an instrument may be claimed: by the Scope 2 Guidance (2015), and by its draft revision. Pure.

The Scope 2 Guidance (2015, chapter 7) lets an instrument count in the market in which the electricity is used. RE100's criteria
(RE100/TAG/2019/02 of 27 May 2019) state these markets: a country is one, except that the European single market (European Union
and European Economic Area without Iceland, which has no connection to the mainland's grid) is one, and the United States
with Canada. The United Kingdom, which left both, is a market of its own. The draft revision of the guidance
(consultation of 20 October to 19 December 2025) requires deliverable electricity: here that of the same zone.
"""

import re
from enum import StrEnum
from typing import Final

EUROPE: Final = frozenset(
    "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE NO LI".split()  # noqa: SIM905
)
"""ISO 3166-1 alpha-2 codes of the European single market for guarantees of origin."""
NORTH_AMERICA: Final = frozenset({"US", "CA"})
_COUNTRY: Final = re.compile(r"([A-Z]{2})(?![A-Z])")


class MarketBoundary(StrEnum):
    """The rule for the place of generation."""

    GUIDANCE_2015 = "2015"
    REVISION = "revision"

    def accepts(self, site_zone: str, other: str) -> bool:
        """Whether electricity of a zone may be claimed at a site."""
        return other == site_zone or (self is MarketBoundary.GUIDANCE_2015 and market_of(other) == market_of(site_zone))

    @property
    def objection(self) -> str:
        """Why electricity that it does not accept covers nothing."""
        return "another market" if self is MarketBoundary.GUIDANCE_2015 else "another zone"


def market_of(zone: str) -> str:
    """Return the market of a zone such as DE, NO1 or US-CA; a zone whose country is unknown is a market of its own."""
    match = _COUNTRY.match(zone)
    if match is None:
        return zone
    country = match[1]
    if country in EUROPE:
        return "Europe"
    return "North America" if country in NORTH_AMERICA else country
