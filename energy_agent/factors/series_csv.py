"""A grid's intensity in a CSV file: our own columns, or those of Electricity Maps' data portal. Pure.

Ours: `ts_utc,zone,g_per_kwh,kind,estimated,method,source`, of which the first four must be there. `kind` is direct or
life-cycle. The portal's file has both side by side; its heads have changed their capital letters over the years, so case is not
looked at. An interval begins at its time stamp and lasts as long as the file's smallest step, at most an hour.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.core.text import separator_hint
from energy_agent.core.units import NS_PER_S
from energy_agent.factors.basis import EmissionBoundary
from energy_agent.factors.series import DIGITS_MAX, MOST_G, IntensityPoint
from energy_agent.factors.set_file import MISSING

ROWS_MAX: Final = 1_200_000
"""Eleven years of five minutes."""
STEPS_S: Final = (300, 900, 1800, 3600)

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,16})?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.0{1,9})?)?(Z|\+00:00| UTC)?")
_PORTAL: Final = {
    EmissionBoundary.DIRECT: re.compile(r"carbon intensity gco.{1,3}eq/kwh \(direct\)"),
    EmissionBoundary.LIFE_CYCLE: re.compile(r"carbon intensity gco.{1,3}eq/kwh \((life cycle|lca)\)"),
}
_KINDS: Final = {
    "direct": EmissionBoundary.DIRECT,
    "life-cycle": EmissionBoundary.LIFE_CYCLE,
    "lifecycle": EmissionBoundary.LIFE_CYCLE,
}
_YES: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


@dataclass(frozen=True, slots=True)
class ZoneIntensities:
    """The intensities of a zone in a file.

    Args:
        missing: intervals that are in the file without a value.
        skipped: rows of other zones or of the other kind.
    """

    points: tuple[IntensityPoint, ...]
    missing: int
    skipped: int


def parse(raw: bytes, name: str, zone: str, boundary: EmissionBoundary, known_ns: int, raw_sha256: str = "") -> ZoneIntensities:
    """The points of a zone in a file.

    Args:
        raw: the file.
        name: its name, for messages.
        zone: the zone to return, as spelled in the file.
        boundary: which emissions to return.
        known_ns: when the file was received, UTC ns.
        raw_sha256: of the file.

    Raises:
        UsageError: the file has another format, or no rows of the zone; the message names the file and the line.
    """
    rows: dict[int, _Row] = {}
    zones: Counter[str] = Counter()
    skipped = 0
    for row in _rows(raw, name, boundary):
        zones[row.zone] += 1
        if row.zone != zone or row.other_kind:
            skipped += 1
            continue
        before = rows.setdefault(row.start_ns, row)
        if before.content != row.content:
            raise UsageError(f"{name}, line {row.line}: its value differs from line {before.line}, which has the same time")
    if not rows:
        zone_names = ", ".join(z[:32] for z, _ in zones.most_common(5)) or "none"
        raise UsageError(f"{name} has no {boundary} row of zone {zone[:40]!r}; its zones: {zone_names}")
    step_ns = _step_ns(sorted(rows), name)
    points, missing = [], 0
    for start_ns, row in sorted(rows.items()):
        # No plant is built of nothing: over a life cycle a 0 is a gap. Of chimneys alone it can be true.
        if row.value is None or (not row.value and boundary is EmissionBoundary.LIFE_CYCLE):
            missing += 1
            continue
        points.append(IntensityPoint(start_ns, start_ns + step_ns, row.value, row.estimated, known_ns, row.method, raw_sha256))
    return ZoneIntensities(tuple(points), missing, skipped)


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    start_ns: int
    zone: str
    value: Decimal | None
    estimated: bool
    method: str
    other_kind: bool

    @property
    def content(self) -> tuple[Decimal | None, bool, str]:
        return self.value, self.estimated, self.method


@dataclass(frozen=True, slots=True)
class _Columns:
    time: int
    zone: int
    value: int
    kind: int | None
    estimated: int | None
    method: int | None


def _rows(raw: bytes, name: str, boundary: EmissionBoundary) -> Iterator[_Row]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not UTF-8 text") from None
    reader = csv.reader(text.split("\n"), strict=True)
    try:
        head = next(reader, [])
        at = _columns(head, name, boundary)
        for number, cells in enumerate(reader):
            if number >= ROWS_MAX:
                raise UsageError(f"{name} has more than {ROWS_MAX} rows")
            if cells:
                yield _row(
                    [c.strip() for c in cells], len(head), at, boundary, f"{name}, line {reader.line_num}", reader.line_num
                )
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: {error}") from None


def _columns(head: Sequence[str], name: str, boundary: EmissionBoundary) -> _Columns:
    low = [h.strip().lower() for h in head]
    place = {h: i for i, h in enumerate(low)}
    if len(place) < len(low):
        raise UsageError(f"{name}, line 1: duplicate column")
    if "ts_utc" in place:
        missing = [key for key in ("zone", "g_per_kwh", "kind") if key not in place]
        if missing:
            raise UsageError(f"{name}, line 1: column {', '.join(missing)} is missing")
        return _Columns(
            place["ts_utc"], place["zone"], place["g_per_kwh"], place["kind"], place.get("estimated"), place.get("method")
        )
    value = next((i for i, h in enumerate(low) if _PORTAL[boundary].fullmatch(h)), None)
    if "datetime (utc)" in place and "zone id" in place and value is not None:
        estimated, method = place.get("data estimated"), place.get("data estimation method")
        return _Columns(place["datetime (utc)"], place["zone id"], value, None, estimated, method)
    raise UsageError(
        f"{name}, line 1: expected the columns ts_utc,zone,g_per_kwh,kind,estimated,method,source, or those of "
        f"Electricity Maps with the {boundary} intensity{separator_hint(head)}"
    )


def _row(cells: Sequence[str], wide: int, at: _Columns, boundary: EmissionBoundary, where: str, line: int) -> _Row:
    if len(cells) != wide:
        raise UsageError(f"{where}: {len(cells)} cells, but the header has {wide}")
    kind = boundary if at.kind is None else _KINDS.get(cells[at.kind].lower())
    if kind is None and at.kind is not None:
        raise UsageError(f"{where}: kind: expected direct or life-cycle, got {cells[at.kind][:40]!r}")
    estimated = _YES.get("" if at.estimated is None else cells[at.estimated].lower())
    if estimated is None and at.estimated is not None:
        raise UsageError(f"{where}: estimated: expected true or false, got {cells[at.estimated][:40]!r}")
    return _Row(
        line,
        _time_ns(cells[at.time], where),
        cells[at.zone],
        _value(cells[at.value], where),
        bool(estimated),
        "" if at.method is None else printable(cells[at.method]),
        kind is not boundary,
    )


def _time_ns(text: str, where: str) -> int:
    if not _TIME.fullmatch(text):
        raise UsageError(f"{where}: expected a UTC time such as 2026-01-31T23:00:00Z, got {text[:40]!r}")
    try:
        moment = datetime.fromisoformat(text[:19].replace(" ", "T").removesuffix("Z").removesuffix("+00")).replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"{where}: the time {text[:40]!r} does not exist") from None
    if moment.year < 1990:
        raise UsageError(f"{where}: expected a time from 1990 on, got {text[:40]!r}")
    return int(moment.timestamp()) * NS_PER_S


def _value(text: str, where: str) -> Decimal | None:
    if text.lower() in MISSING:
        return None
    if not _NUMBER.fullmatch(text) or len(text) > DIGITS_MAX:
        raise UsageError(f"{where}: expected an intensity in g/kWh, got {text[:40]!r}")
    value = Decimal(text)
    if value > MOST_G:
        raise UsageError(f"{where}: {text[:40]} g/kWh is more than any grid emits; is the value in g/kWh?")
    return value


def printable(text: str) -> str:
    """What a publisher calls a method, bounded: letters, digits, '_', '-', '.', ':' and spaces."""
    return "".join(c for c in text[:80] if c.isascii() and (c.isalnum() or c in "_-.: "))


def _step_ns(starts: Sequence[int], name: str) -> int:
    gaps = [b - a for a, b in pairwise(starts)]
    step_ns = min(gaps, default=3600 * NS_PER_S)
    if step_ns not in [s * NS_PER_S for s in STEPS_S]:
        raise UsageError(
            f"{name}: expected time stamps 5, 15, 30 or 60 minutes apart, got {step_ns / NS_PER_S:g} s; for a value per "
            "day, month or year add a factor file, see docs/factors.md"
        )
    if any(gap % step_ns for gap in gaps):
        raise UsageError(f"{name}: its time stamps are not multiples of {step_ns // NS_PER_S} s apart")
    return step_ns
