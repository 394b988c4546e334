"""Store of grid intensities: append-only files, one per zone, source, basis and month.

`FOLDER/ZONE/SOURCE.BASIS/2026-11.jsonl` has one line per published value (factors/series_record.py), with the SHA-256 of the
source bytes. An unchanged value is not written again; a changed one is a further line. The next append closes a line that a
crash tore off, with a mark that states its length; readers report it and continue.
"""

import fcntl
import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from energy_agent.core.errors import JournalError
from energy_agent.core.units import NS_PER_S
from energy_agent.factors import series_record
from energy_agent.factors.series import About, IntensityPoint, IntensitySeries, series
from energy_agent.factors.series_record import SeriesFileContent

FILE_MAX_B: Final = 256 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MONTH: Final = re.compile(r"\d{4}-\d{2}\.jsonl")


@dataclass(frozen=True, slots=True)
class Read:
    """A series as the files have it.

    Args:
        torn: what was left of lines that a crash tore off, a line of text for each.
    """

    series: IntensitySeries
    torn: tuple[str, ...]


class GridStore:
    """The files below `folder`. One process writes; others may read at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pages: dict[Path, tuple[int, SeriesFileContent]] = {}

    def append(self, about: About, points: Iterable[IntensityPoint]) -> int:
        """Keep what is new of these points, on the disk when this returns; the number of points written.

        Raises:
            JournalError: a file cannot be written or read, or is damaged in its middle.
        """
        by_month: dict[Path, list[IntensityPoint]] = {}
        for point in sorted(set(points), key=lambda p: (p.known_ns, p.start_ns, p.end_ns, p.g_per_kwh, p.estimated, p.method)):
            by_month.setdefault(self._path(about, point.start_ns), []).append(point)
        return sum(self._append(path, about, own_points) for path, own_points in sorted(by_month.items()))

    def read(self, about: About) -> Read:
        """Every telling of a zone by a source, and who it is by in the words of the newest file.

        Raises:
            JournalError: a file cannot be read, or is damaged in its middle; the line names the file and the line.
        """
        points: list[IntensityPoint] = []
        torn: list[str] = []
        newest = about
        for path in _months(self._place(about)):
            page = self._load(path)
            points += page.points
            torn += page.torn
            if page.torn_b:
                torn.append(f"{path}: the last line is incomplete ({page.torn_b} bytes)")
            newest = page.about or newest
        return Read(series(newest, points), tuple(torn))

    def list_series(self) -> tuple[About, ...]:
        """Whose series there are; raises as `read` does."""
        series_list = []
        for place in sorted(self._folder.glob("*/*")):
            pages = [self._load(path).about for path in _months(place)]
            series_list += [about for about in pages if about is not None][-1:]
        return tuple(series_list)

    def _path(self, about: About, start_ns: int) -> Path:
        month = datetime.fromtimestamp(start_ns // NS_PER_S, UTC).strftime("%Y-%m")
        return self._place(about) / f"{month}.jsonl"

    def _place(self, about: About) -> Path:
        for name in (about.zone, about.id):
            if not _NAME.fullmatch(name):
                raise JournalError(f"{name[:80]!r}: the name of this zone or source cannot be used as a folder name")
        return self._folder / about.zone / f"{about.id}.{about.basis.name}"

    def _append(self, path: Path, about: About, points: list[IntensityPoint]) -> int:
        try:
            with _lock_file(path, self._folder) as handle:
                page = self._load(path)
                fresh = _fresh(page.points, points)
                if not fresh:
                    return 0
                text = "\n" if page.torn_b or page.unended else ""
                text += series_record.torn_line(page.torn_b) if page.torn_b else ""
                text += series_record.about_line(about) if page.about != about else ""
                _write(handle, (text + "".join(map(series_record.point_line, fresh))).encode("ascii"))
                return len(fresh)
        except OSError as error:
            raise JournalError(f"{path}: cannot be written: {error.strerror}; existing records are not affected") from None

    def _load(self, path: Path) -> SeriesFileContent:
        """What a file holds. A file of the same size is the same file: nothing in it ever changes."""
        try:
            with path.open("rb") as source:
                size = os.fstat(source.fileno()).st_size
                entry = self._pages.get(path)
                if entry is not None and entry[0] == size:
                    return entry[1]
                raw = source.read(FILE_MAX_B + 1)
        except OSError as error:
            raise JournalError(f"{path}: cannot be read: {error.strerror}") from None
        if len(raw) > FILE_MAX_B:
            raise JournalError(f"{path}: is larger than {FILE_MAX_B} bytes, the maximum of a month")
        page = series_record.parse(raw, str(path))
        self._pages[path] = (len(raw), page)
        return page


def _fresh(stored_points: Iterable[IntensityPoint], points: Iterable[IntensityPoint]) -> list[IntensityPoint]:
    """The points that differ from the latest point of their interval; points older than that are dropped."""
    newest: dict[tuple[int, int], IntensityPoint] = {}
    for point in stored_points:
        before = newest.get((point.start_ns, point.end_ns))
        if before is None or before.known_ns <= point.known_ns:
            newest[point.start_ns, point.end_ns] = point
    fresh = []
    for point in points:
        before = newest.get((point.start_ns, point.end_ns))
        if before is None or (before.content != point.content and before.known_ns <= point.known_ns):
            newest[point.start_ns, point.end_ns] = point
            fresh.append(point)
    return fresh


def _months(place: Path) -> list[Path]:
    try:
        return sorted(path for path in place.iterdir() if _MONTH.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise JournalError(f"{place}: cannot be read: {error.strerror}") from None


@contextmanager
def _lock_file(path: Path, root: Path) -> Generator[int]:
    """The file, open for appending and held against a second writer; its name is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if fresh:
            for folder in (path.parent, path.parent.parent, root):
                _sync_folder(folder)
        yield handle
    finally:
        os.close(handle)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
    os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
