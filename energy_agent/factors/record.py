"""What a factor is: one dated value with everything an auditor needs to find it again."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Factor:
    """One emission factor, as published; a newer value is a new record, never an edit."""

    id: str  # unique over zones, years and editions; what figures refer to
    value: Decimal  # exactly as published
    unit: str
    zone: str  # ISO 3166-1 alpha-3
    zone_name: str
    year: int  # of the electricity mix that the value describes
    gases: str
    gwp_set: str  # of the IPCC report that CO2e was computed with, such as AR5
    boundary: str  # life-cycle | direct
    basis: str  # production | consumption
    accounting: str  # location-based | market-based
    publisher: str
    edition: str  # package and release that the value was taken from
    published: str  # date of that publication
    source: str  # address of the file it was taken from
    source_sha256: str  # of that file
    fetched: str  # date on which it was retrieved
    evidence: str  # official file | package | secondary source | own file
    licence: str
    attribution: str
    uncertainty: str  # as the publisher states it, or that it does not
    quality: int  # 1 (metered supplier) to 5 (annual country average)
