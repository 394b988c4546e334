"""Write segments of imported data: a folder takes all of them or none, and never energy that it already has.

The header identifies a chain of imported segments: its `boot_id` is `import:prometheus:<from>`. Each device in it has a fact of
kind `import`, which compacted days keep. It is a separate chain: an agent numbers its segments from 0 too, so the same cluster
and node in one folder would be two chains of one name.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from energy_agent.core.energy import Identity, Method, State, WorkloadFacts
from energy_agent.core.errors import ChainError, UsageError
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger import chain
from energy_agent.ledger.journal.book import Batch, Book
from energy_agent.ledger.journal.sealing import take
from energy_agent.ledger.rows.kinds import CELL_NS, Cell, GapRow, Row
from energy_agent.ledger.rows.totals import Tally
from energy_agent.ledger.segments import segment as segments
from energy_agent.ledger.segments.files import RealFiles
from energy_agent.ledger.segments.segment import Header, Signer

MARK: Final = "import:prometheus:"
"""Prefix of the `boot_id` of imported segments."""
KIND: Final = "import"
"""Kind of the metadata that accompanies an imported device."""
_STAGED: Final = ".import-unfinished"
Progress = Callable[[int, int], None]


def utc(t_ns: int) -> str:
    """An instant for a message, to the minute."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(t_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%MZ")


@dataclass
class SegmentContents:
    """What one node's segments hold. Energy in uJ."""

    cluster: str
    node: str
    segments: int = 0
    rows: int = 0
    devices: set[str] = field(default_factory=set)
    by_method: dict[Method, int] = field(default_factory=dict)
    by_state: dict[State, int] = field(default_factory=dict)
    gap_bound_uj: int = 0
    unbounded_gaps: int = 0
    from_ns: int | None = None
    to_ns: int = 0

    @property
    def energy_uj(self) -> int:
        """All of it."""
        return sum(self.by_method.values())

    def add(self, header: Header, rows: tuple[Row, ...]) -> None:
        """A segment's."""
        self.segments, self.rows = self.segments + 1, self.rows + header.rows
        self.from_ns = header.from_ns if self.from_ns is None else min(self.from_ns, header.from_ns)
        self.to_ns = max(self.to_ns, header.to_ns)
        for row in rows:
            if isinstance(row, Cell):
                self.devices.add(row.device)
                self.by_method[row.method] = self.by_method.get(row.method, 0) + row.energy_uj
                self.by_state[row.state] = self.by_state.get(row.state, 0) + row.energy_uj
            elif isinstance(row, GapRow):
                self.gap_bound_uj += row.bound_uj
                self.unbounded_gaps += row.reason.startswith("no bound known")


class SegmentFolder:
    """A folder of segments over [start_ns, end_ns), which are edges of cells.

    Args:
        folder: created if it is missing.
        dry: check everything and write nothing.
        signer: signs the segments; None: they are unsigned.

    Raises:
        UsageError: the folder is an agent's own state folder, or the times are not edges of cells.
    """

    def __init__(
        self,
        folder: Path,
        start_ns: int,
        end_ns: int,
        *,
        dry: bool = False,
        signer: Signer | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._signer = signer
        self._folder, self._dry, self.start_ns, self.end_ns = folder, dry, start_ns, end_ns
        self._staged: list[tuple[Path, Path]] = []
        self._segments: list[tuple[Path, Header]] = []
        self._recorded: dict[str, list[tuple[int, int, str]]] = {}  # device -> intervals and who has them
        if start_ns % CELL_NS or end_ns % CELL_NS or start_ns >= end_ns:
            raise UsageError("the imported period must start and end on a quarter of an hour")
        if not folder.exists():
            return
        if not folder.is_dir() or (folder / "journal.db").exists():
            raise UsageError(
                f"{folder}: expected a separate folder for imported segments, got a file or the state folder of an agent"
            )
        files = chain.find([folder])
        for number, path in enumerate(files):
            if progress is not None:
                progress(number, len(files))
            header = segments.peek(path)
            self._segments.append((path, header))
            if header.from_ns < end_ns and header.to_ns > start_ns:
                self._note(path)

    def _note(self, path: Path) -> None:
        content = segments.read(path)
        who = f"{content.header.cluster}/{content.header.node}"
        times: dict[str, tuple[int, int]] = {}
        for row in content.rows:
            if isinstance(row, Cell) and row.run.start_ns < self.end_ns and row.run.end_ns > self.start_ns:
                first, last = times.get(row.device, (row.run.start_ns, row.run.end_ns))
                times[row.device] = (min(first, row.run.start_ns), max(last, row.run.end_ns))
        for device, (first, last) in times.items():
            self._recorded.setdefault(device, []).append((first, last, f"{who} ({path.name})"))

    def open(self, identity: Identity) -> "NodeTarget":
        """The chain of one node.

        Raises:
            UsageError: the folder has rows of it in this time, a chain of its name that was not imported, or one that another
                key signed.
            ChainError: its last segment is damaged.
        """
        who = f"{identity.cluster}/{identity.node}"
        sequence, previous, key = 0, segments.FIRST_PREVIOUS, ""
        for path, header in self._segments:
            if (header.cluster, header.node) != (identity.cluster, identity.node):
                continue
            if not header.boot_id.startswith(MARK):
                raise UsageError(
                    f"{path}: {who} already has a chain from its own agent; import under another name, such as --cluster "
                    f"{identity.cluster}-imported"
                )
            if header.simulated != identity.simulated:
                raise UsageError(
                    f"{path}: the folder has {who} with another value of `simulated` than this import; use another folder"
                )
            if header.from_ns < self.end_ns and header.to_ns > self.start_ns:
                raise UsageError(
                    f"{path}: already has {who} from {utc(header.from_ns)} to {utc(header.to_ns)}, and importing it "
                    "again would count its energy twice: import another period, or into another folder"
                )
            if header.sequence >= sequence:
                sequence, previous, key = header.sequence + 1, segments.read(path).sha256, header.key
        if key and (self._signer is None or self._signer.key != key):
            ways = "sign with that key, or import into another folder"
            raise UsageError(f"{self._folder}: the last segment of {who} is signed by {key[:16]}; {ways}")
        return NodeTarget(self, identity, sequence, previous, self._signer)

    def claim(self, device: str, first_ns: int, last_ns: int, who: str) -> None:
        """A device's interval is this node's alone.

        Raises:
            UsageError: another one has it: the same energy would be there twice.
        """
        for begin, end, other in self._recorded.get(device, ()):
            if other != who and begin < last_ns and end > first_ns:
                both = f"{utc(max(begin, first_ns))} to {utc(min(end, last_ns))}"
                raise UsageError(
                    f"{who}: {device} from {both} is also in {other}, which would count its energy twice: select one "
                    "with --match, --node-label or --dedup-label"
                )
        intervals = self._recorded.setdefault(device, [])
        if intervals and intervals[-1][2] == who and intervals[-1][1] == first_ns:
            intervals[-1] = (intervals[-1][0], last_ns, who)
        else:
            intervals.append((first_ns, last_ns, who))

    def stage(self, name: str, body: bytes) -> None:
        """Put a segment aside until all of them are there."""
        if self._dry:
            return
        aside = self._folder / _STAGED
        try:
            if not self._staged:
                shutil.rmtree(aside, ignore_errors=True)  # left over from an import that was killed
                aside.mkdir(parents=True)
            path = aside / f"{len(self._staged)}.staged"
            RealFiles().write(path, body)
        except OSError as error:
            raise UsageError(f"{self._folder}: cannot be written: {error.strerror}") from None
        self._staged.append((path, self._folder / name))

    def publish(self) -> None:
        """Give every segment its name."""
        if not self._staged:
            return
        files = RealFiles()
        for _, target in self._staged:
            if target.exists():
                raise ChainError(f"{target}: already exists; no file was overwritten, and nothing was imported")
        try:
            for path, target in self._staged:
                files.rename(path, target)
            files.sync_folder(self._folder)
        except OSError as error:
            raise UsageError(f"{self._folder}: cannot be written: {error.strerror}") from None
        self.discard()

    def discard(self) -> None:
        """Leave nothing half-written."""
        if self._staged:
            shutil.rmtree(self._folder / _STAGED, ignore_errors=True)
        self._staged = []


class NodeTarget:
    """One node's rows on their way into segments, one for each UTC day."""

    def __init__(
        self, target: SegmentFolder, identity: Identity, sequence: int, previous: str, signer: Signer | None = None
    ) -> None:
        self._target, self._identity, self._signer = target, identity, signer
        self._sequence, self._previous = sequence, previous
        self._book = Book()
        self.written = SegmentContents(identity.cluster, identity.node)

    def book(self, batch: Batch) -> None:
        """Take a batch; what of it lies outside of the time that is imported is another import's."""
        self._book.add(batch)
        start_ns, end_ns = self._target.start_ns, self._target.end_ns
        outside = [
            row for row in self._book.rows.values()
            if hasattr(row, "cell_start_ns") and not start_ns <= row.cell_start_ns <= end_ns - CELL_NS
        ]  # fmt: skip
        self._book = replace(self._book.without(outside), totals=Tally())

    def seal(self, up_to_ns: int | None) -> None:
        """Make a segment of what ends by then."""
        sealed = take(self._book, up_to_ns, self._identity, self._sequence, self._previous, self._signer)
        if sealed is None:
            return
        header = sealed.header
        who = f"{header.cluster}/{header.node}"
        times: dict[str, tuple[int, int]] = {}
        for row in sealed.rows:
            if isinstance(row, Cell):
                first, last = times.get(row.device, (row.run.start_ns, row.run.end_ns))
                times[row.device] = (min(first, row.run.start_ns), max(last, row.run.end_ns))
        for device, (first, last) in times.items():
            self._target.claim(device, first, last, who)
        self._target.stage(segments.file_name(header.cluster, header.node, header.sequence), sealed.body)
        self._book = self._book.without(sealed.rows)
        self.written.add(header, sealed.rows)
        self._sequence, self._previous = self._sequence + 1, sealed.sha256


def mark(device: str, since_ns: int, origin: str, **more: str) -> WorkloadFacts:
    """The fact that says that a device's rows were imported."""
    return WorkloadFacts(device, since_ns, KIND, {"from": origin, **more})
