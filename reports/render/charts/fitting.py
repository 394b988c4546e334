"""How long a text will be, before any font is known, and how it is broken or shortened to fit. Pure.

Widths are those of DejaVu Sans, the widest of the common fonts, rounded up: a text that fits here fits in every other font.
"""

import re
import unicodedata
from math import fsum

_NARROW = frozenset("iIljtfr.,:;!|'()[]/\\ -\u00b7\u202f\u2009\u00a0")
_BROAD = frozenset("mwMWO@%#&\u2030\u2026")
_PARTS = re.compile(r"(?<=[-_/.:@=])(?!(?<=\d[.:])\d)")
"""Where a name may break; never within a number."""
_ENDLESS = re.compile(r"\w{16,}")
_BREAK_AFTER = frozenset(" -_/.,:;@\u3001\u3002\uff0c")


def ems(text: str) -> float:
    """Width in units of the font's size; never less than in DejaVu Sans for the letters of Latin, Greek, Cyrillic, CJK."""
    return fsum(map(_em, text))  # the same on every Python: `sum` of floats rounds otherwise from 3.12 on


def _em(letter: str) -> float:
    if letter in _NARROW:
        return 0.43
    if letter in _BROAD:
        return 1.03
    if unicodedata.combining(letter):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF" or ord(letter) > 0x2FFF:
        return 1.0
    if letter.isascii():
        return 0.79 if letter.isupper() else 0.84 if letter in "+=<>~^" else 0.66
    return 1.1 if letter.isupper() else 0.9


def pieces(text: str) -> list[str]:
    """The text in pieces between which a line may break: after signs that join parts of a name, and anywhere in a long word."""
    parts = [part for part in _PARTS.split(text) if part]
    return [piece for part in parts for piece in (part if _ENDLESS.search(part) else [part])] or [""]


def shorten(text: str, size: float, width: float) -> str:
    """Return the text, or its beginning and end joined by an ellipsis: the ends distinguish names."""
    if ems(text) * size <= width:
        return text
    room = width / size - ems("\u2026")
    head, tail = "", ""
    while True:
        grown = (text[: len(head) + 1], tail) if len(head) <= len(tail) else (head, text[-(len(tail) + 1) :])
        if ems(grown[0]) + ems(grown[1]) > room:
            return f"{head.rstrip()}\u2026{tail.lstrip()}"
        head, tail = grown


def wrap(text: str, size: float, width: float, most: int) -> list[str]:
    """At most `most` lines, broken where words or parts of a name end; what is too long is shortened."""
    lines: list[str] = []
    rest = text.strip()
    while rest:
        if len(lines) == most - 1 or ems(rest) * size <= width:
            lines.append(shorten(rest, size, width))
            break
        end = _longest(rest, size, width)
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return lines or [""]


def _longest(text: str, size: float, width: float) -> int:
    """How many letters fit on a line: up to the last place to break, or as many as there is room for."""
    used, fits, last = 0.0, 0, 0
    for place, letter in enumerate(text, start=1):
        used += _em(letter) * size
        if used > width:
            break
        fits = place
        in_number = letter in ".,:" and text[place - 2 : place - 1].isdigit() and text[place : place + 1].isdigit()
        if (letter in _BREAK_AFTER and not in_number) or unicodedata.east_asian_width(letter) in "WF":
            last = place
    return last or max(fits, 1)
