"""Read and check a segment as columns, without an object per row, as compaction of a fleet's days requires.

Lines are matched by patterns generated from `FIELDS` that accept only the canonical form: fields in order, numbers without sign
or leading zero. Values are then checked column by column. Any irregular segment is read again row by row (`segments.decode`),
which reports the error with its line.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import le, lt
from pathlib import Path
from typing import Any, Final

from energy_agent.core.boundary import is_meter, site_and_meter
from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.errors import ChainError
from energy_agent.ledger.rows.kinds import DeviceFacts, Form, Row, key_of, kind_of
from energy_agent.ledger.rows.text import FIELDS, KEYS, TEXT_MAX, canonical, check, from_json, to_json
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.segment import Content, Header

Columns = dict[str, Sequence[Any]]
"""Values by field, all of equal length; states and methods are text, labels are canonical JSON text."""
_NUMBERS: Final = (Form.COUNT, Form.SIGNED, Form.CELL, Form.RATIO)
_NUMBER: Final = "(0|[1-8][0-9]{0,18}|9[0-9]{0,17})"
"""From 0 to a little less than int64; the few beyond are read row by row."""
_SIGNED: Final = "(0|-?[1-8][0-9]{0,18}|-?9[0-9]{0,17})"
_PLAIN: Final = r'"([ !#-\[\]-~]*+)"'
_ESCAPED: Final = r'"([ !#-\[\]-~]*+(?:\\.[ !#-\[\]-~]*+)*+)"'
"""A text as a line has it; what is escaped is compared afterwards with how it must be."""


def _line(kind: str, text: str) -> tuple[list[str], re.Pattern[str]]:
    """A kind's fields in the order of a line, and the pattern of a whole line."""
    forms = FIELDS[kind]
    shapes = dict.fromkeys(Form, text) | dict.fromkeys(_NUMBERS, _NUMBER)
    shapes |= {Form.SIGNED: _SIGNED, Form.LABELS: r"(\{.*\})"}
    parts = (f'"{name}":' + (f'"{kind}"' if name == "kind" else shapes[forms[name]]) for name in sorted([*forms, "kind"]))
    return sorted(forms), re.compile(r"^\{" + ",".join(parts) + r"\}$", re.ASCII | re.MULTILINE)


_KIND: Final = re.compile('"kind":"([a-z]*)"')
_LINES: Final = {(kind, text): _line(kind, text) for kind in FIELDS for text in (_PLAIN, _ESCAPED)}


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """A segment that was read: the rows of each kind as columns, in the order of the file.

    `strange` are (line, what is wrong) of rows that parse but cannot be: a key twice, outside of the header's time, or anything
    of a building's meter from another than the site's process, which is a node with the site's name.
    """

    header: Header
    sha256: str
    columns: Mapping[str, Columns]
    strange: tuple[tuple[int, str], ...] = ()
    signature: str = ""  # as hex
    signed_sha256: bytes = b""  # what it is over

    def rows(self) -> Iterator[Row]:
        """The rows, kind by kind."""
        for kind, columns in self.columns.items():
            for values in zip(*columns.values(), strict=True):
                row = dict(zip(columns, values, strict=True)) | {"kind": kind}
                yield from_json(row | {"labels": json.loads(row["labels"])} if "labels" in row else row)


def read(path: Path) -> SegmentTable:
    """Read and check a segment file; raises ChainError naming file and line."""
    return decode(segment.load(path), str(path))


def decode(data: bytes, where: str) -> SegmentTable:
    """Read uncompressed bytes back.

    Raises:
        ChainError: not a canonical segment; the message starts with `where:line`.
    """
    table = at_once(data)
    if table is not None:
        return table
    content = segment.decode(data, where)
    strange = tuple(strange_rows(content))
    return SegmentTable(
        content.header, content.sha256, columns_of(content.rows), strange, content.signature, content.signed_sha256
    )


def at_once(data: bytes) -> SegmentTable | None:
    """The segment, where nothing about it is odd."""
    try:
        head, line_break, body = data.decode("ascii").partition("\n")
        header = segment.header_of(head, "")
        lines = body.split("\n")
        if not line_break or lines.pop():
            return None
        signed: tuple[str, bytes, str] | None = ("", b"", "")
        if header.key:
            signature = lines.pop()
            signed, body = segment.split_signature(data, signature), body[: -len(signature) - 1]
        if signed is None or len(lines) != header.rows or not all(map(lt, lines, lines[1:])):
            return None
        kinds = _KIND.findall(body)  # a text with quotes in it has them escaped
        if len(kinds) != len(lines):
            return None
        plain, short = "\\" not in body, max(map(len, lines), default=0) <= TEXT_MAX
        by_kind: dict[str, list[str]] = {}
        for kind, line in zip(kinds, lines, strict=True):
            if kind in by_kind:
                by_kind[kind].append(line)
            else:
                by_kind[kind] = [line]
        columns = {kind: _columns(kind, mine, plain=plain, short=short) for kind, mine in by_kind.items()}
    except (ChainError, ValueError, KeyError, IndexError, RecursionError):
        return None
    if not all(_sound(kind, columns[kind], header) for kind in columns):
        return None
    names = {name for rows in columns.values() for name in set(rows.get("device", ()))}
    names.update(columns["workload"]["workload"] if "workload" in columns else ())
    if any(is_meter(name) and site_and_meter(name)[0] != header.node for name in names):
        return None
    signature, signed_sha256, digest = signed
    return SegmentTable(header, digest or segment.sha256(data), columns, (), signature, signed_sha256)


def _columns(kind: str, lines: list[str], *, plain: bool, short: bool) -> Columns:
    """Lines of one kind as columns.

    Args:
        kind: which.
        lines: their text, strange or not.
        plain: nothing in it is escaped.
        short: no line is longer than a text may be.

    Raises:
        ValueError, KeyError: a line is not exactly a row of this kind, or there is no such kind.
    """
    fields, (names, line) = FIELDS[kind], _LINES[kind, _PLAIN if plain else _ESCAPED]
    matches = line.findall("\n".join(lines))
    if len(matches) != len(lines):  # each match is a whole line
        raise ValueError
    columns: Columns = dict(zip(names, zip(*matches, strict=True), strict=True))
    for name, form in fields.items():
        if form in _NUMBERS:
            columns[name] = _numbers(columns[name])
            sound = form in (Form.COUNT, Form.SIGNED) or all(check(form, value) for value in set(columns[name]))
        elif form is Form.LABELS:
            values = {text: json.loads(text) for text in set(columns[name])}
            sound = all(check(form, value) and canonical(value) == text for text, value in values.items())
        elif plain:
            sound = (short and form is Form.TEXT) or all(check(form, text) for text in set(columns[name]))
        else:
            words = {text: json.loads(f'"{text}"') for text in set(columns[name])}
            columns[name] = [words[text] for text in columns[name]]
            sound = all(check(form, value) and canonical(value) == f'"{text}"' for text, value in words.items())
        if not sound:
            raise ValueError
    return {name: columns[name] for name in fields}


def _numbers(texts: Sequence[str]) -> list[int]:
    """Numbers of their digits; each read once where most are there again, as edges of cells are."""
    once = set(texts)
    if 4 * len(once) > len(texts):
        return list(map(int, texts))
    return list(map({text: int(text) for text in once}.__getitem__, texts))


def _sound(kind: str, columns: Columns, header: Header) -> bool:
    """Whether no key is there twice, and no interval ends before it starts or is outside of the header's."""
    if kind not in KEYS:
        return True
    starts, ends = columns["start_ns"], columns["end_ns"]
    keys = set(zip(*(columns[name] for name in KEYS[kind]), strict=True))
    inside = min(starts) >= header.from_ns and max(ends) <= header.to_ns
    return inside and len(keys) == len(starts) and all(map(le, starts, ends))


def columns_of(rows: Iterable[Row]) -> dict[str, Columns]:
    """Rows as columns, by kind."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        value = to_json(row)
        if "labels" in value:
            value["labels"] = canonical(value["labels"])
        by_kind.setdefault(value["kind"], []).append(value)
    return {kind: {name: [row[name] for row in values] for name in FIELDS[kind]} for kind, values in by_kind.items()}


def strange_rows(content: Content) -> list[tuple[int, str]]:
    """(line, what is wrong) of rows that parse but cannot be: see `SegmentTable`."""
    keys: set[tuple[object, ...]] = set()
    misplaced: set[str] = set()
    strange = []
    for line, row in enumerate(content.rows, 2):
        name = row.uuid if isinstance(row, DeviceFacts) else row.workload if isinstance(row, WorkloadFacts) else ""
        name = getattr(row, "device", name)
        if is_meter(name) and site_and_meter(name)[0] != content.header.node and name not in misplaced:
            misplaced.add(name)
            strange.append((line, f"{name[:80]} is a building meter: only the site process may write its rows"))
        kind, key = kind_of(row), key_of(row)
        if kind.name not in KEYS:
            continue
        if key in keys:
            strange.append((line, "duplicate key"))
        keys.add(key)
        start, end = kind.start_ns(row), kind.end_ns(row)
        if start < content.header.from_ns or end > content.header.to_ns or end < start:
            strange.append((line, "outside the interval of the segment"))
    return strange
