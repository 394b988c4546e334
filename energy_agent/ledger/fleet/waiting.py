"""Compact buffer of columns to write: eight bytes per number, each distinct text once. Pure."""

from array import array
from collections.abc import Sequence
from typing import Any


class Numbers:
    """Integers within int64, or None."""

    def __init__(self) -> None:
        self._values: array[int] | list[int | None] = array("q")

    def add(self, values: Sequence[int | None]) -> None:
        """Add values; raises OverflowError past int64."""
        if isinstance(self._values, array):
            try:
                self._values += array("q", values)  # type: ignore[arg-type]
                return
            except TypeError:  # an array cannot store None
                self._values = list(self._values)
        self._values += values

    def repeat(self, value: int, count: int) -> None:
        """Add a value so many times."""
        if isinstance(self._values, array):
            self._values += array("q", (value,)) * count
        else:
            self._values += [value] * count

    def take(self, count: int) -> "array[int] | list[int | None]":
        """Remove and return the first `count` values."""
        taken = self._values[:count]
        del self._values[:count]
        return taken


class Texts:
    """Texts, each kept once."""

    def __init__(self) -> None:
        self._words = _Words()
        self._codes = array("i")

    def add(self, values: Sequence[str]) -> None:
        """Add values."""
        self._codes += array("i", map(self._words.__getitem__, values))

    def repeat(self, value: str, count: int) -> None:
        """Add a value so many times."""
        self._codes += array("i", [self._words[value]]) * count

    def take(self, count: int) -> tuple["array[int]", list[str]]:
        """(place in the words, words) of the first so many, which then wait no more."""
        taken, words = self._codes[:count], list(self._words)
        rest = [words[code] for code in self._codes[count:]]
        self._words, self._codes = _Words(), array("i")
        self.add(rest)
        return taken, words


class Values:
    """Anything else."""

    def __init__(self) -> None:
        self._values = list[Any]()

    def add(self, values: Sequence[Any]) -> None:
        """Add values."""
        self._values += values

    def repeat(self, value: Any, count: int) -> None:
        """Add a value so many times."""
        self._values += [value] * count

    def take(self, count: int) -> list[Any]:
        """Remove and return the first `count` values."""
        taken = self._values[:count]
        del self._values[:count]
        return taken


class _Words(dict[str, int]):
    """The place of each text, in the order in which they came."""

    def __missing__(self, word: str) -> int:
        place = self[word] = len(self)
        return place
