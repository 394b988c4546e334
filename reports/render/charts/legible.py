"""Texts from outside as a reader can see them: what has no picture, or would turn words around, is spelled out. Pure."""

import unicodedata
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")
_JOINERS = frozenset("\u200c\u200d")
_STYLES = frozenset("\ufe0e\ufe0f")


def legible(text: str) -> str:
    """The text, with line ends as spaces and control, bidirectional and private characters as [U+202E]."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_make_legible(letter) for letter in text)


def spelled(letter: str) -> str:
    """The code of a character that has no picture here."""
    return f"[U+{ord(letter):04X}]"


def _make_legible(letter: str) -> str:
    if letter in "\n\r\t\u2028\u2029\u0085":
        return " "
    if letter in _STYLES:
        return ""
    if letter not in _JOINERS and unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cn", "Cs"):
        return spelled(letter)
    return letter


def over_texts(value: T, change: Callable[[str], str]) -> T:
    """The same blocks, with every text in them changed."""
    return _over(value, change)  # type: ignore[no-any-return]


def _over(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_over(v, change) for v in value)
    if isinstance(value, dict):
        changed: dict[Any, Any] = {}
        for key, item in value.items():
            name = _over(key, change)
            while name in changed:  # two names that look the same are two names
                name += " "
            changed[name] = _over(item, change)
        return changed
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: _over(getattr(value, f.name), change) for f in fields(value)})
    return value
