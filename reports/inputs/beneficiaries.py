"""Names for which certificates may be retired: those of the reporting organisation, and others that it accepts. Pure.

The Scope 2 Guidance (2015, table 7.1, criterion 3) counts an instrument only if it was retired by the organisation or on its
behalf. A retirement for somebody else is another's claim, unless the organisation states that it was made on its behalf, as by
a landlord or a supplier.
"""

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Beneficiaries:
    """Names that may be the beneficiary of a retirement.

    Args:
        entities: the organisation and its legal entities; empty: they are not known, and no name is compared.
        accepted: others who retire on its behalf.
    """

    entities: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()

    def objection(self, beneficiary: str) -> str:
        """Why certificates retired for a name may not be claimed; "": they may."""
        if not self.entities or _compared(beneficiary) in map(_compared, (*self.entities, *self.accepted)):
            return ""
        return f"retired for {beneficiary!r}, which is neither the organisation nor an accepted beneficiary"

    def accepts_other(self, beneficiary: str) -> bool:
        """Whether a name is one of others who retire on behalf of the organisation."""
        return (
            bool(self.entities)
            and _compared(beneficiary) not in map(_compared, self.entities)
            and not self.objection(beneficiary)
        )


def _compared(name: str) -> str:
    """A name without case, punctuation and width, which registries write in several ways; its legal form stays."""
    text = unicodedata.normalize("NFKC", name).casefold().replace(".", "").replace("'", "")
    return " ".join("".join(each if each.isalnum() else " " for each in text).split())
