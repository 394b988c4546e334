"""Write one site's day: files of rows, day sums and a manifest, in a folder that appears whole or not at all.

`OUT/<site>/<day>/r0000/{cell,span,...}.parquet`, `{holder_day,span_day,workload_cell}.parquet` and `manifest.json`. Nothing is
overwritten: changed input for a written day becomes the next statement (r0001, ...), with the reason. Each run writes a folder
of its own and renames it, so any number of runs may write the same day at a time.
"""

import fcntl
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Container, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TextIO

from energy_agent.core.errors import ChainError, WattlensError
from energy_agent.ledger.chain import ChainFault, split_name
from energy_agent.ledger.claims import Refused, Who
from energy_agent.ledger.fleet import day_sums
from energy_agent.ledger.fleet.heads import ChainHead
from energy_agent.ledger.fleet.parquet import Writer, columns_of, file_name, read_devices
from energy_agent.ledger.fleet.sites import checked_site
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.segment import Header
from energy_agent.ledger.segments.table import Columns

MANIFEST: Final = "manifest.json"
_FOLDER: Final = re.compile(r"\S*/(?=[^/\s]+" + re.escape(segment.SUFFIX) + ")")
"""Where a segment lay: its name alone stands in a manifest, so that the same input gives the same bytes anywhere."""


@dataclass(frozen=True, slots=True)
class SiteDay:
    """One site's day as written, or as it already was."""

    site: str
    day: date
    folder: Path
    number: int
    written: bool
    reason: str
    inputs: int
    rows: int
    energy_uj: int
    gap_bound_uj: int
    heads: tuple[ChainHead, ...] = ()  # of the chains that it was made of; none where it stays for `kept_for`
    kept_for: tuple[str, ...] = ()  # nodes that have faults now: a new statement would be without rows that this one has


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a segment holds of one day and site."""

    header: Header
    kinds: Mapping[str, Columns]
    name: str
    sha256: str


class NodePart:
    """One node's rows of one day and site, with their sums. Segments come in the order of the chain."""

    def __init__(self, header: Header) -> None:
        self._sums = day_sums.NodeDay(header.cluster, header.node)
        self.pieces: list[_Piece] = []
        self.sums: Mapping[str, day_sums.Columns] = {}

    def add(self, header: Header, kinds: Mapping[str, Columns], name: str, digest: str) -> None:
        """Add what a segment holds of this day and site."""
        self.pieces.append(_Piece(header, kinds, name, digest))
        self._sums.add(kinds)

    def sum_up(self) -> None:
        """Set `sums`; raises ChainError where they are not those of the rows, or past int64."""
        self.sums = self._sums.columns()


@dataclass(frozen=True, slots=True)
class DayGaps:
    """What is not in a day's statements, and why. Nodes are named as their files begin.

    Args:
        faults: what is wrong with the day's segments.
        left_out: nodes without any row.
        refused: cells of a node's devices that another chain measured too.
        unsigned: how many segments of a node are unsigned, or have a signature that cannot be checked here.
        accepted: somebody looked at the faults: a day may be stated again without rows that it had.
    """

    faults: Sequence[ChainFault]
    left_out: Sequence[str] = ()
    refused: Mapping[str, Refused] = field(default_factory=dict)
    unsigned: Mapping[str, int] = field(default_factory=dict)
    accepted: bool = False

    def lost(self, before: Mapping[str, Any]) -> tuple[str, ...]:
        """Nodes of which an earlier statement has rows that this one has not, by a fault that nobody accepted."""
        if self.accepted:
            return ()
        nodes = {split_name(Path(name))[0] for name in dict(before["inputs"])}
        earlier_cells = {
            (node, device, cell)
            for node, device, start_ns, end_ns in before.get("refused", ())
            for cell in range(start_ns, end_ns, CELL_NS)
        }
        return tuple(sorted(nodes & {*self.left_out, *(node for node, *_ in self._cells() - earlier_cells)}))

    def ranges(self) -> list[tuple[str, str, int, int]]:
        """The refused cells as (node, device, start_ns, end_ns)."""
        ranges: list[tuple[str, str, int, int]] = []
        for node, device, cell in sorted(self._cells()):
            if ranges and ranges[-1][:2] == (node, device) and ranges[-1][3] == cell:
                ranges[-1] = (node, device, ranges[-1][2], cell + CELL_NS)
            else:
                ranges.append((node, device, cell, cell + CELL_NS))
        return ranges

    def _cells(self) -> set[tuple[str, str, int]]:
        return {
            (node, device, cell)
            for node, devices in self.refused.items()
            for device, cells in devices.items()
            for cell in cells
        }


class Draft:
    """A statement in the making. Nodes come one after the other."""

    def __init__(self, out: Path, site: str, day: date) -> None:
        """Make the folder that it is written into.

        Raises:
            UsageError: the site's name cannot be a folder.
            OSError: it cannot be written.
        """
        checked_site(site)
        self._site, self._day, self._home = site, day, out / site / day.isoformat()
        self._folder = out / site / f".{day}.{secrets.token_hex(8)}.tmp"
        _remove_leftovers(self._home)
        self._manifest = _make_locked(self._folder)
        self._writers = {kind: self._writer(kind, columns) for kind, columns in day_sums.DAY_COLUMNS.items()}
        self._inputs: dict[str, str] = {}
        self._heads: dict[tuple[str, str], ChainHead] = {}
        self._rows = self._energy_uj = self._gap_bound_uj = 0
        self._simulated = False

    def _writer(self, kind: str, columns: Mapping[str, str]) -> Writer:
        return Writer(self._folder / f"{kind}.parquet", columns)

    def discard(self) -> None:
        """Leave nothing behind of what is not published."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._manifest.close()

    def add(self, node: NodePart) -> None:
        """Add a node's rows and sums."""
        for piece in node.pieces:
            self._add(piece)
        for kind, columns in node.sums.items():
            self._writers[kind].add(columns)

    def _add(self, piece: _Piece) -> None:
        who, kinds = piece.header, piece.kinds
        self._inputs[piece.name] = piece.sha256
        self._heads[who.cluster, who.node] = ChainHead(who.cluster, who.node, who.sequence, piece.sha256)
        self._simulated |= who.simulated
        whose = {"cluster": who.cluster, "node": who.node, "simulated": who.simulated, "sequence": who.sequence}
        for kind, columns in kinds.items():
            if kind not in self._writers:
                self._writers[kind] = Writer(self._folder / file_name(kind), columns_of(kind))
            self._writers[kind].add(columns, whose)
            self._rows += len(next(iter(columns.values())))
        if "cell" in kinds:
            self._energy_uj += sum(kinds["cell"]["energy_uj"])
        if "gap" in kinds:
            self._gap_bound_uj += sum(kinds["gap"]["bound_uj"])

    def publish(self, reason: str, account: DayGaps) -> SiteDay:
        """Rename the finished folder into its place, unless the newest statement was made of the same input.

        Args:
            reason: why the day is stated again; by default what changed in the input.
            account: what is not in it; the newest statement stays where it would lose rows by that.
        """
        inputs = sorted(self._inputs.items())
        digest = segment.sha256(json.dumps(inputs).encode())
        stated, number, changed = self._compare(digest, account)
        if stated is not None:
            return stated
        reason = reason or changed
        facts = {"site": self._site, "day": self._day.isoformat(), "inputs_sha256": digest, "statement": str(number)}
        for kind, writer in self._writers.items():
            writer.close({f"wattlens.{key}": value for key, value in ({"kind": kind} | facts).items()})
        manifest = {
            "site": self._site,
            "day": self._day.isoformat(),
            "statement": number,
            "reason": reason,
            "simulated": self._simulated,
            "inputs_sha256": digest,
            "rows": self._rows,
            "energy_uj": str(self._energy_uj),
            "gap_bound_uj": str(self._gap_bound_uj),
            "day_sums": day_sums.VERSION,
            "files": {path.name: _digest(path) for path in sorted(self._folder.glob("*.parquet"))},
            "faults": [_FOLDER.sub("", fault.line) for fault in account.faults],
            "left_out": list(account.left_out),
            "refused": account.ranges(),
            "unsigned": dict(account.unsigned),
            "inputs": inputs,
        }
        self._manifest.write(json.dumps(manifest, sort_keys=True, indent=0) + "\n")
        self._manifest.flush()
        self._home.mkdir(parents=True, exist_ok=True)
        folder = self._home / f"r{number:04d}"
        try:
            self._folder.rename(folder)
        except OSError:
            if not (folder / MANIFEST).exists():
                raise
            stated, _, changed = self._compare(digest, account)  # another run was first
            if stated is None:
                raise WattlensError(f"{folder}: another run wrote it meanwhile ({changed}); run the command again") from None
            return stated
        return self._site_day(folder, number, reason, written=True)

    def _compare(self, digest: str, account: DayGaps) -> tuple[SiteDay | None, int, str]:
        """The newest statement where it stays; else the number of the next statement, and what changed."""
        numbers = [int(p.name[1:]) for p in self._home.glob("r[0-9]*") if (p / MANIFEST).exists()]
        number = max(numbers, default=-1)
        if not numbers:
            return None, 0, ""
        folder = self._home / f"r{number:04d}"
        before = read_manifest(folder / MANIFEST)
        same = (before["inputs_sha256"], before["energy_uj"], before["rows"]) == (digest, str(self._energy_uj), self._rows)
        stated = self._site_day(folder, number, str(before["reason"]), written=False)
        if same and before.get("day_sums") == day_sums.VERSION:
            return stated, number, ""
        lost = account.lost(before)
        if lost:
            rows, energy_uj, gap_bound_uj = (int(before[name]) for name in ("rows", "energy_uj", "gap_bound_uj"))
            sums = replace(stated, rows=rows, energy_uj=energy_uj, gap_bound_uj=gap_bound_uj)
            return replace(sums, inputs=len(before["inputs"]), heads=(), kept_for=lost), number, ""
        return None, number + 1, "day sums were added" if same else _difference(dict(before["inputs"]), self._inputs)

    def _site_day(self, folder: Path, number: int, reason: str, *, written: bool) -> SiteDay:
        sums = (len(self._inputs), self._rows, self._energy_uj, self._gap_bound_uj)
        return SiteDay(self._site, self._day, folder, number, written, reason, *sums, tuple(self._heads.values()))


def _make_locked(folder: Path) -> TextIO:
    """Make a draft's folder; its manifest, which stays open and locked while the run lives. Raises OSError."""
    new = folder.with_suffix(".new")  # nobody takes it for a leftover before it is locked
    new.mkdir(parents=True)
    file = (new / MANIFEST).open("x", encoding="ascii")
    with suppress(OSError):  # a file system without locks keeps its leftovers
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    new.rename(folder)
    return file


def _remove_leftovers(home: Path) -> None:
    """Remove the drafts of a day whose runs were killed."""
    for path in home.parent.glob(f".{home.name}.*.tmp/{MANIFEST}"):
        with suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent)


def statements(out: Path) -> Callable[[date], tuple[Path, ...]]:
    """The statements that are there now: of each site the newest of the latest day up to a given one."""
    newest: dict[tuple[str, str], Path] = {}
    for path in sorted(out.glob(f"[!.]*/*/r[0-9]*/{MANIFEST}"), key=lambda path: int(path.parent.name[1:])):
        site, day, _ = path.parts[-4:-1]
        newest[site, day] = path.parent

    def up_to(day: date) -> tuple[Path, ...]:
        latest: dict[str, Path] = {}
        for (site, of_day), folder in sorted(newest.items()):
            if of_day <= day.isoformat():
                latest[site] = folder
        return tuple(latest.values())

    return up_to


@lru_cache(1)
def read_owners(folders: tuple[Path, ...]) -> Mapping[str, set[Who]]:
    """The chains that each device has in statements; those of a statement that cannot be read are not known."""
    owners: dict[str, set[Who]] = {}
    for folder in folders:
        with suppress(ChainError, OSError):
            for device, who in read_devices(folder / "span_day.parquet"):
                owners.setdefault(device, set()).add(who)
    return owners


def emptied(out: Path, day: date, stated: Container[str], inputs: Set[str]) -> list[str]:
    """Sites that lost all of their day: what it was made of is among `inputs`, whose rows all stand elsewhere now.

    Args:
        out: the folder of compacted days.
        day: which day.
        stated: the sites that have rows of it.
        inputs: names of the segments that were read.
    """
    emptied_sites = []
    for home in sorted(out.glob(f"[!.]*/{day.isoformat()}")):
        newest = max(home.glob(f"r[0-9]*/{MANIFEST}"), key=lambda path: int(path.parent.name[1:]), default=None)
        if home.parent.name in stated or newest is None:
            continue
        made_of = dict(read_manifest(newest)["inputs"])
        if made_of and made_of.keys() <= inputs:
            emptied_sites.append(home.parent.name)
    return emptied_sites


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a statement's manifest; raises ChainError where it is invalid."""
    try:
        value = json.loads(path.read_text(encoding="ascii"))
        if isinstance(value, dict) and {"inputs", "inputs_sha256", "energy_uj", "rows", "reason"} <= value.keys():
            return value
    except (ValueError, RecursionError):
        pass  # the error below covers every cause
    raise ChainError(f"{path}: is corrupted; restore it, or move its folder away to create a new statement of the day")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(before: dict[str, str], now: dict[str, str]) -> str:
    added, gone = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    changed = sum(now[name] != before[name] for name in now.keys() & before.keys())
    return f"input changed: {added} segments added, {gone} removed, {changed} changed, or devices moved between sites"
