"""Fonts of the PDF, and an error if a letter is missing in all of them. Pure except `folders`.

typst's wheel brings fonts for Latin, Greek and Cyrillic script. For others a folder of fonts is needed; Debian's package
fonts-noto-cjk has Chinese, Japanese and Korean, and is found by itself.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.errors import UsageError

DEBIAN = Path("/usr/share/fonts/opentype/noto")
"""Where Debian's package fonts-noto-cjk puts its fonts."""

BASE = ("Libertinus Serif", "New Computer Modern", "DejaVu Sans Mono")
"""Families within typst's wheel, in the order in which a letter is looked for."""

Missing = Callable[[Sequence[str], str], str]
"""Which of the letters have no glyph in any of the families."""


@dataclass(frozen=True, slots=True)
class FontChoice:
    """The fonts of one text.

    Args:
        families: all of them, in the order in which a letter is looked for.
        special: letters that the wheel's families lack and others have.
        undrawn: signs, not letters, that no font has: they are spelled out.
    """

    families: tuple[str, ...]
    special: str
    undrawn: str

    def order(self, text: str) -> Sequence[str]:
        """Families for a text of a picture, in which typst looks no further than the first; so the one that it needs leads."""
        special = bool(set(text) & set(self.special))
        return [f for f in self.families if f not in BASE] + list(BASE) if special else self.families


def choose(letters: str, families: Iterable[str], missing: Missing) -> FontChoice:
    """Families for a text: those of the wheel, and as few others as cover the rest.

    Args:
        letters: every letter and sign of the text.
        families: that the folders of fonts have.
        missing: asks which letters families lack.

    Raises:
        UsageError: letters that no font has.
    """
    uncovered = special = missing(BASE, letters)
    chosen: list[str] = []
    others = sorted(set(families) - set(BASE), key=_liking)
    while uncovered and others:
        remaining = {family: missing([family], uncovered) for family in others}
        best = min(others, key=lambda family: (len(remaining[family]), _liking(family)))
        if len(remaining[best]) == len(uncovered):
            break
        chosen.append(best)
        others.remove(best)
        uncovered = remaining[best]
    needed = "".join(letter for letter in uncovered if unicodedata.category(letter)[0] in "LMN")
    if needed:
        raise UsageError(refusal(needed))
    return FontChoice((BASE[0], *chosen, *BASE[1:]), "".join(c for c in special if c not in uncovered), uncovered)


def refusal(letters: str) -> str:
    """One line that says which letters have no font, and what to do."""
    some = ", ".join(f"{letter} (U+{ord(letter):04X})" for letter in letters[:3]) + (", \u2026" if len(letters) > 3 else "")
    return (
        f"the PDF needs a font for {len(letters)} {'letter' if len(letters) == 1 else 'letters'} that no available font has: "
        f"{some}; install Debian's package fonts-noto-cjk, or pass a folder of fonts with --font-dir"
    )


def folders(given: Sequence[Path]) -> tuple[Path, ...]:
    """The folders that are looked through: those given, else Debian's where it is there.

    Raises:
        UsageError: a given folder is not there.
    """
    for folder in given:
        if not folder.is_dir():
            raise UsageError(f"--font-dir {folder}: no such folder")
    return tuple(given) or ((DEBIAN,) if DEBIAN.is_dir() else ())


def _liking(family: str) -> tuple[bool, bool, bool, bool, str]:
    """Order of families that have the same letters: first a proportional serif with Chinese forms, like the text around."""
    words = family.split()
    foreign = bool({"JP", "KR", "TC", "HK"} & set(words)) or "Last Resort" in family
    return foreign, "Mono" in words, "Serif" not in words, "SC" not in words, family
