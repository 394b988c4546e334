"""Compaction: the segments of many nodes for one UTC day become immutable Parquet per site and day.

`OUT/<site>/<day>/r0000/{cell,span,...}.parquet` and `manifest.json`. Never overwritten: other input for a day that is already
written becomes the next statement (r0001, ...) with the reason. Nodes are read one after the other, so memory is bounded by one
node's day and the waiting row groups; sums are Python integers.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from energy_agent.core.errors import ChainError, UsageError
from energy_agent.core.types import Action, WorkloadFacts
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger import chain, segments
from energy_agent.ledger.chain import Chain, Fault, Progress
from energy_agent.ledger.parquet import Writer, columns_of, file_name, located_columns
from energy_agent.ledger.reading import Located
from energy_agent.ledger.rows import Cell, DeviceFacts, GapRow, Row, StepRow, TokenRow
from energy_agent.ledger.sites import Sites

_DAY_NS: Final = 86_400 * NS_PER_S
MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Statement:
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


@dataclass(slots=True)
class _Site:
    """A statement in the making."""

    folder: Path
    writers: dict[str, Writer] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    energy_uj: int = 0
    gap_bound_uj: int = 0
    simulated: bool = False


def compact(
    paths: Sequence[Path],
    out: Path,
    day: date,
    sites: Sites,
    *,
    reason: str = "",
    accept_faults: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Statement], list[Fault]]:
    """Write one UTC day of every site that `paths` hold segments of.

    Args:
        paths: segment files, or folders that are searched to the bottom.
        out: the folder of compacted days.
        day: which day, UTC.
        sites: where each device stood.
        reason: why a day is restated; by default what changed in the input.
        accept_faults: write although a chain is broken; the faults stand in the manifest, damaged files are left out.
        progress: called with (done, all) files.

    Returns:
        The statements, and the faults that were accepted.

    Raises:
        ChainError: a chain is broken; the first fault and how many more.
        UsageError: no site for a device, no such path, or the output cannot be written.
    """
    files = chain.find(paths)
    made: dict[str, _Site] = {}
    faults: list[Fault] = []
    done = 0
    try:
        for prefix, group in groupby(files, key=lambda p: chain.split_name(p)[0]):
            node = Chain(prefix, "")
            for path in group:
                if progress is not None:
                    progress(done, len(files))
                done += 1
                _take_file(node, path, day, sites, out, made)
            faults += node.faults
            if faults and not accept_faults:
                more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
                raise ChainError(f"{faults[0].line}{more}")
        statements = [_publish(out, site, day, made[site], reason, faults) for site in sorted(made)]
    except OSError as error:
        raise UsageError(f"{error.filename or out}: cannot be written: {error.strerror}") from None
    finally:
        for site in made.values():
            shutil.rmtree(site.folder, ignore_errors=True)
    return statements, faults


def _take_file(node: Chain, path: Path, day: date, sites: Sites, out: Path, made: dict[str, _Site]) -> None:
    start_ns = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_S
    sequence = chain.split_name(path)[1]
    if sequence is not None and sequence not in node.seen and _of_other_day(node, path, sequence, start_ns):
        return
    content = chain.add_file(node, path, sequence)
    if content is None:
        return
    who = content.header
    for site, rows in _by_site(content, start_ns, sites).items():
        located = [Located(who.cluster, who.node, who.simulated, who.sequence, row) for row in rows]
        _append(_site(made, out, site, day), located, path.name, content.sha256)


def _of_other_day(node: Chain, path: Path, sequence: int, start_ns: int) -> bool:
    """Whether a segment is of another day altogether: its number counts for the chain, its rows need not be read."""
    try:
        header = segments.peek(path)
    except ChainError:
        return False  # reading it whole says what is wrong
    if sequence != header.sequence or (header.from_ns < start_ns + _DAY_NS and header.to_ns >= start_ns):
        return False
    chain.extend(node, sequence, "", header.previous, path)
    return True


def _by_site(content: segments.Content, start_ns: int, sites: Sites) -> dict[str, list[Row]]:
    """The day's rows by site, each site's with the facts of what they name."""
    who = content.header
    by_site: dict[str, list[Row]] = {}
    names: dict[str, set[tuple[type, str]]] = {}
    for row in content.rows:
        if isinstance(row, WorkloadFacts | DeviceFacts):
            continue
        t_ns = row.t_ns if isinstance(row, Action) else row.cell_start_ns
        if not start_ns <= t_ns < start_ns + _DAY_NS:
            continue
        device = "" if isinstance(row, TokenRow | StepRow) else row.device
        workload = "" if isinstance(row, GapRow) else row.workload
        site = sites.site_of(who.cluster, who.node, device, t_ns)
        by_site.setdefault(site, []).append(row)
        names.setdefault(site, set()).update({(DeviceFacts, device), (WorkloadFacts, workload)})
    for row in content.rows:
        if isinstance(row, WorkloadFacts | DeviceFacts):
            name = row.workload if isinstance(row, WorkloadFacts) else row.uuid
            for site, rows in by_site.items():
                if (type(row), name) in names[site]:
                    rows.append(row)
    return by_site


def _site(made: dict[str, _Site], out: Path, site: str, day: date) -> _Site:
    if site not in made:
        if "/" in site or site.startswith("."):
            raise UsageError(f"site {site!r}: a site's name becomes a folder; it cannot have a slash or begin with a dot")
        folder = out / site / f".{day}.tmp"
        shutil.rmtree(folder, ignore_errors=True)  # left over from a run that was killed
        folder.mkdir(parents=True)
        made[site] = _Site(folder)
    return made[site]


def _append(site: _Site, rows: list[Located], name: str, digest: str) -> None:
    site.inputs[name] = digest
    for kind, columns in located_columns(rows).items():
        if kind not in site.writers:
            site.writers[kind] = Writer(site.folder / file_name(kind), columns_of(kind))
        site.writers[kind].add(columns)
    for located in rows:
        site.simulated |= located.simulated
        if isinstance(located.row, Cell):
            site.energy_uj += located.row.energy_uj
        elif isinstance(located.row, GapRow):
            site.gap_bound_uj += located.row.bound_uj


def _publish(out: Path, name: str, day: date, site: _Site, reason: str, faults: list[Fault]) -> Statement:
    """Rename the finished folder into its place, unless the newest statement was made of the same input."""
    inputs = sorted(site.inputs.items())
    digest = segments.sha256(json.dumps(inputs).encode())
    home = out / name / day.isoformat()
    numbers = [int(p.name[1:]) for p in home.glob("r[0-9]*") if (p / MANIFEST).exists()]
    number = max(numbers, default=-1) + 1
    for kind, writer in site.writers.items():
        facts = {"kind": kind, "site": name, "day": day.isoformat(), "inputs_sha256": digest, "statement": str(number)}
        writer.close({f"wattlens.{key}": value for key, value in facts.items()})
    rows = sum(writer.rows for writer in site.writers.values())
    sums = (len(inputs), rows, site.energy_uj, site.gap_bound_uj)
    if numbers:
        folder = home / f"r{number - 1:04d}"
        before = _manifest(folder / MANIFEST)
        if (before["inputs_sha256"], before["energy_uj"], before["rows"]) == (digest, str(site.energy_uj), rows):
            return Statement(name, day, folder, number - 1, False, str(before["reason"]), *sums)
        reason = reason or _difference(dict(before["inputs"]), site.inputs)
    manifest = {
        "site": name,
        "day": day.isoformat(),
        "statement": number,
        "reason": reason,
        "simulated": site.simulated,
        "inputs_sha256": digest,
        "rows": rows,
        "energy_uj": str(site.energy_uj),
        "gap_bound_uj": str(site.gap_bound_uj),
        "faults": [fault.line for fault in faults],
        "inputs": inputs,
    }
    (site.folder / MANIFEST).write_text(json.dumps(manifest, sort_keys=True, indent=0) + "\n", encoding="ascii")
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"r{number:04d}"
    site.folder.rename(folder)
    return Statement(name, day, folder, number, True, reason, *sums)


def _manifest(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="ascii"))
        if isinstance(value, dict) and {"inputs", "inputs_sha256", "energy_uj", "rows", "reason"} <= value.keys():
            return value
    except (ValueError, RecursionError):
        pass  # told below
    raise ChainError(f"{path}: is corrupted; restore it, or move its folder away to state the day anew")


def _difference(before: dict[str, str], now: dict[str, str]) -> str:
    added, gone = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    changed = sum(now[name] != before[name] for name in now.keys() & before.keys())
    return f"input changed: {added} segments more, {gone} fewer, {changed} other, or devices moved between sites"


def days(files: Sequence[Path]) -> Iterator[date]:
    """The UTC days that segments touch, by their headers; damaged files are passed over."""
    found: set[date] = set()
    for path in files:
        try:
            header = segments.peek(path)
        except ChainError:
            continue
        first, last = header.from_ns // _DAY_NS, max(header.from_ns, header.to_ns - 1) // _DAY_NS
        found.update(datetime.fromtimestamp(n * 86_400, UTC).date() for n in range(first, min(last, first + 366) + 1))
    yield from sorted(found)
