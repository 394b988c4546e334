"""A workbook's archive, looked at before anything reads it: how large its parts are, and that no XML in it is a bomb.

Every part is scanned by expat once: a document type is refused before it is read (entities that expand, files that are
fetched), and so are more elements or a deeper nesting than a table has. Parts of no use here are left out of the copy.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from energy_agent.core.errors import UsageError

FILE_MAX_B: Final = 20 << 20
PARTS_MAX: Final = 500
PART_MAX_B: Final = 96 << 20
ALL_MAX_B: Final = 128 << 20
OF_ONE_MAX: Final = 100_000
ELEMENTS_MAX: Final = 12_000_000
DEPTH_MAX: Final = 40
_BLOCK_B: Final = 1 << 16
_READ: Final = (".xml", ".rels")
_NOT_READ: Final = ("xl/media/", "xl/drawings/", "xl/embeddings/", "xl/charts/", "customxml/", "xl/printersettings/")


@dataclass(frozen=True, slots=True)
class Archive:
    """A workbook whose parts were looked at.

    Args:
        parts: bytes by name, of what is read.
        formulas_without_value: whether a cell of it has a formula and no value.
    """

    parts: dict[str, bytes]
    formulas_without_value: bool

    def copy(self) -> io.BytesIO:
        """The archive anew, of these parts alone."""
        found = io.BytesIO()
        with zipfile.ZipFile(found, "w", zipfile.ZIP_STORED) as archive:
            for name, data in self.parts.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        found.seek(0)
        return found


def checked(raw: bytes, book: str) -> Archive:
    """The workbook's parts.

    Raises:
        UsageError: it is no archive, a part is too large or hostile.
    """
    if len(raw) > FILE_MAX_B:
        raise UsageError(f"{book} is larger than {FILE_MAX_B >> 20} MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return _looked_at(archive, book)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, OSError, ValueError) as error:
        raise UsageError(f"{book}: is no .xlsx workbook, or a damaged one: {' '.join(str(error).split())[:120]}") from None


def _looked_at(archive: zipfile.ZipFile, book: str) -> Archive:
    entries = archive.infolist()
    if len(entries) > PARTS_MAX:
        raise UsageError(f"{book}: has more than {PARTS_MAX} parts")
    names = [entry.filename.casefold() for entry in entries]
    if len(set(names)) < len(names):
        raise UsageError(f"{book}: a part is there twice: {next(n for n in names if names.count(n) > 1)[:80]}")
    wanted = [e for e in entries if e.filename.casefold().endswith(_READ) and not e.filename.casefold().startswith(_NOT_READ)]
    parts: dict[str, bytes] = {}
    lacking = False
    total_b = 0
    for entry in wanted:
        if entry.flag_bits & 1:
            raise UsageError(f"{book}: is encrypted; save it without a password")
        data = _read(archive, entry, min(PART_MAX_B, ALL_MAX_B - total_b), book)
        total_b += len(data)
        lacking = _scan(data, entry.filename, book) or lacking
        parts[entry.filename] = data
    return Archive(parts, lacking)


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most_b: int, book: str) -> bytes:
    """A part's bytes, never more than `most_b` of them, whatever its head says."""
    found = bytearray()
    with archive.open(entry) as source:
        while block := source.read(_BLOCK_B):
            found += block
            if len(found) > most_b:
                part = entry.filename[:80]
                raise UsageError(f"{book}: part {part} unpacks to more than {most_b >> 20} MiB; that is no list of inputs")
    return bytes(found)


class _HostileError(Exception):
    """A part that is no table's."""


class _Scan:
    """What a part is made of. openpyxl forgets a row, and a text that cells share, once it was read: those are bounded."""

    def __init__(self) -> None:
        self.depth = self.elements = self.of_one = 0
        self.has_formula = self.has_value = self.in_value = self.lacking = False

    def doctype(self, *_: object) -> None:
        raise _HostileError("has a document type, which no workbook needs")

    def start(self, tag: str, _: dict[str, str]) -> None:
        self.depth += 1
        self.elements += 1
        self.of_one += 1
        name = tag.rpartition(":")[2]
        if name in ("row", "si"):
            self.of_one = 0
        elif name == "c":
            self.has_formula = self.has_value = False
        elif name == "f":
            self.has_formula = True
        self.in_value = name in ("v", "t")
        if self.depth > DEPTH_MAX or self.of_one > OF_ONE_MAX or self.elements > ELEMENTS_MAX:
            raise _HostileError(f"has {OF_ONE_MAX} elements in a row, {ELEMENTS_MAX} in all or {DEPTH_MAX} in each other")

    def text(self, _: str) -> None:
        self.has_value = self.has_value or self.in_value

    def end(self, tag: str) -> None:
        self.depth -= 1
        self.in_value = False
        if self.has_formula and not self.has_value and tag.rpartition(":")[2] == "c":
            self.lacking = True


def _scan(data: bytes, part: str, book: str) -> bool:
    """Whether a cell has a formula and no value.

    Raises:
        UsageError: the part is no XML, or none of a workbook's.
    """
    scan = _Scan()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = scan.doctype
    parser.EntityDeclHandler = scan.doctype
    parser.StartElementHandler = scan.start
    parser.EndElementHandler = scan.end
    parser.CharacterDataHandler = scan.text
    try:
        for begin in range(0, len(data), _BLOCK_B):
            parser.Parse(data[begin : begin + _BLOCK_B], begin + _BLOCK_B >= len(data))
    except _HostileError as error:
        raise UsageError(f"{book}: part {part[:80]} {error}; it is not read") from None
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise UsageError(f"{book}: part {part[:80]} is no XML: {error}") from None
    return scan.lacking
