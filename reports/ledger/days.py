"""The compacted days of a report: the newest statement per site and UTC day, on any fsspec URL.

Every file that a figure is made of is in the manifest of its day with its hash; a day whose files differ from its manifest is
refused.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from energy_agent.core.units import NS_PER_DAY, NS_PER_S
from energy_agent.ledger.fleet.day_sums import DAY_COLUMNS
from energy_agent.ledger.fleet.remote import open_url

DAY_NS: Final = NS_PER_DAY
MANIFEST_MAX_B: Final = 64 << 20
DAY_SUMS: Final = 1
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK_B: Final = 4 << 20
_READERS: Final = 4


class EmptyPeriodError(WattlensError):
    """The ledger holds nothing of a period."""


@dataclass(frozen=True, slots=True)
class Day:
    """One site's UTC day as it was stated last.

    Args:
        start_ns: its midnight, UTC ns.
        statement: 0 for the first; each later one restates it.
        folder: where its files are, as `DayStorage` opens them.
        inputs_sha256: of the segments that it was made of.
        files: name -> SHA-256.
        energy_uj: of every cell, meters of the building included.
        faults: of the chains, which were accepted when it was compacted.
        segments: how many.
        reason: why it was restated; "": it was not.
    """

    site: str
    start_ns: int
    statement: int
    folder: str
    inputs_sha256: str
    files: Mapping[str, str]
    energy_uj: int
    simulated: bool
    faults: tuple[str, ...] = ()
    segments: int = 0
    reason: str = ""

    @property
    def day(self) -> date:
        """The day, UTC."""
        return datetime.fromtimestamp(self.start_ns // NS_PER_S, UTC).date()

    @property
    def end_ns(self) -> int:
        """The midnight after it."""
        return self.start_ns + DAY_NS

    def path(self, name: str) -> str:
        """One of its files."""
        return f"{self.folder}/{name}"


class DayStorage:
    """A file system with compacted days, accessed by fsspec."""

    def __init__(self, url: str) -> None:
        """Open `url`.

        Raises:
            UsageError: no such protocol, its package is not installed, or nothing is there.
        """
        self.url = url
        self.fs, self.root = open_url(url)
        try:
            exists = self.fs.isdir(self.root)
        except Exception as error:  # noqa: BLE001 - its file systems raise whatever their libraries raise
            raise UsageError(f"--ledger {url}: cannot be opened: {error}") from None
        if not exists:
            raise UsageError(f"--ledger {url}: no such folder")
        self.protocol = self.fs.protocol if isinstance(self.fs.protocol, str) else self.fs.protocol[0]

    @property
    def local(self) -> bool:
        """Files of this machine."""
        return str(self.protocol) in ("file", "local")

    def address(self, path: str) -> str:
        """A path as DuckDB opens it."""
        return path if self.local else f"{self.protocol}://{path}"

    def manifests(self) -> dict[tuple[str, str, int], str]:
        """Every day's manifest below the root by site, day and number of its statement; finished ones alone."""
        manifests = {}
        for path in sorted(self.fs.glob(f"{self.root.rstrip('/')}/*/*/r[0-9]*/manifest.json")):
            site, day, statement = path.split("/")[-4:-1]
            if not day.startswith("."):
                manifests[site, day, int(statement[1:]) if statement[1:].isdigit() else -1] = path
        return manifests

    def read(self, path: str, most: int) -> bytes:
        """A small file.

        Raises:
            ChainError: it cannot be read, or is larger than `most`.
        """
        with self._opened(path) as file:
            raw: bytes = file.read(most + 1)
        if len(raw) > most:
            raise ChainError(f"{path}: is larger than {most >> 20} MiB")
        return raw

    def sha256(self, path: str) -> str:
        """The hash of a file.

        Raises:
            ChainError: it cannot be read.
        """
        hasher = hashlib.sha256()
        with self._opened(path) as file:
            while chunk := file.read(_CHUNK_B):
                hasher.update(chunk)
        return hasher.hexdigest()

    @contextmanager
    def _opened(self, path: str) -> Iterator[Any]:
        try:
            with self.fs.open(path, "rb") as file:
                yield file
        except Exception as error:  # noqa: BLE001 - as above
            raise ChainError(f"{path}: cannot be read: {error}") from None


def find_days(system: DayStorage, pinned: Mapping[tuple[str, str], int] | None = None) -> list[Day]:
    """Every day of every site, the newest statement of each.

    Args:
        system: where.
        pinned: the statements to take instead, by (site, day), and no other day: those of a report that is rebuilt.

    Raises:
        ChainError: a manifest is damaged, or a pinned statement is not there.
        WattlensError: there are no compacted days, or one was compacted before there were day sums.
    """
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for (site, day, number), path in system.manifests().items():
        wanted = None if pinned is None else pinned.get((site, day))
        if pinned is not None and number != wanted:
            continue
        if number > newest.get((site, day), (-1, ""))[0]:
            newest[site, day] = number, path
    for (site, day), number in sorted((pinned or {}).items()):
        if (site, day) not in newest:
            raise ChainError(f"{system.url}: statement {number} of {site} on {day} is missing; the report was created from it")
    if not newest:
        raise WattlensError(f"{system.url}: no compacted days; create them with `wattlens ledger compact`")
    return [_day(system, site, day, *newest_manifest) for (site, day), newest_manifest in sorted(newest.items())]


def overlapping(days: Iterable[Day], start_ns: int, end_ns: int) -> list[Day]:
    """The days of which a part lies in a window."""
    return [d for d in days if d.start_ns < end_ns and d.end_ns > start_ns]


def verify_files(system: DayStorage, days: Sequence[Day], names: Sequence[str]) -> None:
    """Check that these files of the days are what the manifests say.

    Raises:
        ChainError: one is missing or changed; the message names it.
    """
    wanted = [(day, name) for day in days for name in names if name in day.files]
    with ThreadPoolExecutor(_READERS) as pool:
        digests = pool.map(lambda each: system.sha256(each[0].path(each[1])), wanted)
        for (day, name), digest in zip(wanted, digests, strict=True):
            if digest != day.files[name]:
                pool.shutdown(cancel_futures=True)
                raise ChainError(f"{day.path(name)}: differs from its manifest; restore it, or compact the day again")


def _day(system: DayStorage, site: str, day: str, number: int, path: str) -> Day:
    try:
        raw: Any = json.loads(system.read(path, MANIFEST_MAX_B))
        start_ns = int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * NS_PER_S
        if raw["site"] != site or raw["day"] != day or raw["statement"] != number:
            raise ValueError("it belongs to another day")
        if raw.get("day_sums") != DAY_SUMS:
            raise WattlensError(
                f"{path}: was compacted by a version without day sums; run `wattlens ledger compact` over its segments again"
            )
        files = {str(name): str(digest) for name, digest in raw["files"].items()}
        if not all(_HEX.fullmatch(digest) for digest in (*files.values(), raw["inputs_sha256"])):
            raise ValueError("a hash is not valid")
        if any("/" in name for name in files):
            raise ValueError("a file name contains a slash")
        if missing := sorted({f"{kind}.parquet" for kind in DAY_COLUMNS} - files.keys()):
            raise ValueError(f"{missing[0]} is missing")
        faults, reason = tuple(str(f) for f in raw["faults"]), str(raw["reason"])
        return Day(
            site, start_ns, number, path.removesuffix("/manifest.json"), raw["inputs_sha256"], files, int(raw["energy_uj"]),
            bool(raw["simulated"]), faults, len(raw["inputs"]), reason,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ChainError(
            f"{path}: is corrupted ({error}); restore it, or move its folder away and compact the day again"
        ) from None
