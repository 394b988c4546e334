"""Canonical JSON, and reading JSON that anybody may have written: typed, with one line that names file and key. Pure.

Canonical: sorted keys, an indent of 1, ASCII, one trailing newline; so a document has one form, and that form has one hash.
"""

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final, NoReturn

from energy_agent.core.errors import WattlensError

SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,60})?")
_LONGEST: Final = 4096
"""Characters of a text: names and sentences are shorter."""
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def canonical(document: object) -> bytes:
    """The one form of a document of JSON types."""
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def exact(text: str) -> Fraction | None:
    """The number that a plain decimal of bounded length is; None: the text is none, `1e999999999` for one."""
    return Fraction(text) if _DECIMAL.fullmatch(text) else None


class Found:
    """A value that was found in a document, with the way to it; everything that is not as it should be is one clear line.

    Args:
        value: as JSON gives it.
        file: what it was read from, for messages.
        way: keys down to it, such as `inputs.days[3].site`.
    """

    __slots__ = ("file", "value", "way")

    def __init__(self, value: object, file: str, way: str = "") -> None:
        self.value, self.file, self.way = value, file, way

    def wrong(self, wanted: str) -> NoReturn:
        """Say what should stand here.

        Raises:
            WattlensError: always.
        """
        what = f"{self.way}: " if self.way else ""
        raise WattlensError(f"{self.file}: {what}{wanted} is wanted; the file was changed, or is of another version")

    def at(self, key: str) -> "Found":
        """What stands under `key` of this object; it has to be there."""
        if key not in self._object():
            Found(None, self.file, self._below(key)).wrong("a value")
        return Found(self._object()[key], self.file, self._below(key))

    def maybe(self, key: str) -> "Found | None":
        """Like `at`; None where nothing or null stands."""
        value = self._object().get(key)
        return None if value is None else Found(value, self.file, self._below(key))

    def items(self) -> Iterator["Found"]:
        """Each of a list."""
        if not isinstance(self.value, list):
            self.wrong("a list")
        return (Found(each, self.file, f"{self.way}[{n}]") for n, each in enumerate(self.value))

    def pairs(self) -> Iterator[tuple[str, "Found"]]:
        """Key and value of each of an object."""
        return ((key, Found(each, self.file, self._below(key))) for key, each in self._object().items())

    def text(self, longest: int = _LONGEST) -> str:
        """A text that is not endless and has no control characters."""
        if not isinstance(self.value, str) or len(self.value) > longest or not self.value.isprintable():
            self.wrong(f"a printable text of at most {longest} characters")
        return self.value

    def count(self) -> int:
        """A whole number from 0."""
        if type(self.value) is not int or not 0 <= self.value < 1 << 63:
            self.wrong("a whole number from 0")
        return self.value

    def sha256(self) -> str:
        """A hash as 64 lower-case digits."""
        if not isinstance(self.value, str) or not SHA256.fullmatch(self.value):
            self.wrong("a SHA-256 in 64 lower-case hexadecimal digits")
        return self.value

    def _object(self) -> dict[str, object]:
        if not isinstance(self.value, dict):
            self.wrong("an object")
        return self.value

    def _below(self, key: str) -> str:
        shown = key if key.isprintable() and len(key) < 80 else repr(key[:80])
        return f"{self.way}.{shown}" if self.way else shown


def parse(raw: bytes, file: str) -> Found:
    """A document that is one JSON object.

    Raises:
        WattlensError: it is not; a key stands twice; a number is not finite; a text cannot be written as UTF-8.
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_finite)
        if _SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else str(error).splitlines()[0][:120]
        raise WattlensError(f"{file}: is not the JSON that a report writes: {why}") from None
    if not isinstance(value, dict):
        raise WattlensError(f"{file}: is not the JSON that a report writes: no object")
    return Found(value, file)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
