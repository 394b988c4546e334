"""`wattlens ledger`: verify, export, ship, compact and import the book of record."""

from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.boundary import UNBOUNDED, boundary, is_meter
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import list_first, printable
from energy_agent.core.units import NS_PER_S, UJ_PER_J, UJ_PER_KWH, decimal
from wattlens.cli._command import Command, CommandOptions, print_json, warn
from wattlens.cli._options import add_period, day, number
from wattlens.cli.ledger import heads, history_import, ship
from wattlens.cli.ledger.signer import open_signer
from wattlens.terminal_line import count_progress

if TYPE_CHECKING:
    from energy_agent.ledger.chain import Chain, ChainFault
    from energy_agent.ledger.export import CellFilter
    from energy_agent.ledger.rows.kinds import SourcedRow


def _configure_verify(add: CommandOptions) -> None:
    add("paths PATH", "a state folder, or segment files or folders", nargs="+")
    add("--journal FILE", "also check sums against this journal (a state folder has its own)")
    add("--inventory CSV", "inventory that lists the public keys of the segments' signers")
    heads.configure_verify(add)


def _configure_export(add: CommandOptions) -> None:
    add("source SOURCE", "a state folder, a folder of segments, or compacted days", type=Path)
    add("--format", "default csv", choices=("csv", "jsonl", "parquet"), default="csv")
    add("--out FILE", "file to create (default: standard output)")
    add_period(add)
    add("--device UUID", "export only this device")
    add("--workload NAME", "export only this workload")
    what = add.exclusive()
    what("--sum", "print one total with its bounds instead of the cells")
    for name, (_, text) in _KINDS.items():
        what(f"--{name}", f"export {text} instead of the cells")


def _configure_compact(add: CommandOptions) -> None:
    add("paths PATH", "segment files or folders", nargs="+")
    add("--out DIR", "folder of the compacted days", required=True)
    which = add.exclusive()
    which("--day DAY", "one UTC day (default: every complete day)", type=day)
    which("--days N", "the last N complete UTC days, for a nightly job", type=number(int, 1, 3660))
    add("--inventory CSV", "sites of devices over time: cluster,node,uuid,sku,site,from,to[,key]")
    add("--site NAME", "site of devices that are not in the inventory")
    add("--reason TEXT", "reason for restating a day (default: a list of input changes)", default="")
    add("--accept-faults", "skip only damaged files, instead of all rows of their node on that day, and exit with 0")
    add("--jobs N", "parallel processes; the output is the same (default 1)", type=number(int, 1, 256), default=1)
    heads.configure_compact(add)


NO_KEYS = (
    "WARNING: no signing keys are enrolled, so anybody who can write the segments can add energy in the name of any node: "
    "do not audit these days; add the column key to --inventory"
)
_KINDS = {
    "actions": ("action", "settings that DVFS applied and reverted"),
    "pairs": ("pair", "pairs of blocks that measure the DVFS saving"),
    "analyses": ("analysis", "analyses of these pairs, with the claimable saving"),
}
"""Options of `export` that choose rows of a kind."""


def _action(summary: str, declare: Callable[[CommandOptions], None], run: Callable[[Namespace], int]) -> Command:
    def configure(add: CommandOptions) -> None:
        add("--json", "print a JSON object")
        declare(add)

    return Command(summary, configure, run)


def _segments_of(path: Path) -> Path:
    """The segments of a state folder; anything else as it is."""
    return path / "segments" if (path / "journal.db").exists() and (path / "segments").is_dir() else path


def _verify(arguments: Namespace) -> int:
    from energy_agent.ledger import chain
    from energy_agent.ledger.fleet.heads import check
    from energy_agent.ledger.fleet.sites import Sites, read_inventory
    from energy_agent.ledger.journal.view import read_journal

    journal = arguments.journal
    if journal is None and len(arguments.paths) == 1 and (arguments.paths[0] / "journal.db").exists():
        journal = arguments.paths[0] / "journal.db"
    view = read_journal(journal) if journal is not None else None
    sites = Sites({}) if arguments.inventory is None else read_inventory(arguments.inventory)
    signed = heads.read(arguments.heads, arguments.heads_key)
    for notice in sites.notices:
        warn(notice)
    paths, skus = [_segments_of(p) for p in arguments.paths], None if arguments.inventory is None else sites.skus
    report = chain.verify(paths, view, count_progress("verified"), sites.keys, skus)
    if view is None and not report.files:
        raise UsageError(f"{arguments.paths[0]}: expected segments or a journal, found neither")
    if signed:
        only = None if view is None else (view.identity.cluster, view.identity.node)
        report = check(report, signed, arguments.heads_key or "", only)
    if arguments.json:
        chains = [
            {
                "cluster": c.cluster,
                "node": c.node,
                "file": str(c.file) if c.file else None,
                "segments": c.count,
                "first": c.first,
                "last": c.last,
                "head": c.head,
                "simulated": c.simulated,
                "key": c.key,
                "unsigned": c.unsigned,
                "heads": [{"day": day.isoformat(), "sequence": sequence} for day, sequence in c.heads],
                "faults": [asdict(fault) for fault in c.faults],
            }
            for c in report.chains
        ]
        answer = {"ok": report.ok, "files": report.files, "journal": str(journal) if journal else None, "chains": chains}
        if signed:
            answer["heads"] = [{"file": str(s.path), "site": s.site, "day": s.day.isoformat(), "key": s.key} for s in signed]
            answer["faults"] = [asdict(fault) for fault in report.further]
        print_json(answer, None)
    else:
        for c in report.chains:
            what = "ok" if not c.faults else f"{len(c.faults)} fault{'s' * (len(c.faults) > 1)}"
            print(printable(f"{c.name}: {_numbers(c)}: {what}{' [simulated]' if c.simulated else ''}"))
        for key in sorted({s.key for s in signed}):
            vouched = "" if arguments.heads_key else "; compare it with the key that the site has published"
            print(f"heads: {sum(s.key == key for s in signed)} files signed with key {key}{vouched}")
        _tell(report.faults)
        if view is not None and report.ok:
            total = sum(view.book.totals.energy.values())
            print(f"journal: cells and open rows add up to its totals exactly: {decimal(total, UJ_PER_J)} J")
    return 0 if report.ok else 1


def _numbers(chain: "Chain") -> str:
    if not chain.node:
        return "not readable"
    if not chain.count:
        return "no segment yet"
    signed = f", signed by {chain.key}" if chain.key else ""
    unsigned = f", {chain.unsigned} unsigned" if chain.unsigned else ""
    signed_heads = f", {len(chain.heads)} signed heads match, the latest of {max(chain.heads)[0]}" if chain.heads else ""
    return f"{chain.count} segments ({chain.first} to {chain.last}), head {chain.head[:12]}{signed}{unsigned}{signed_heads}"


def _tell(faults: Iterable["ChainFault"]) -> None:
    for fault in faults:
        warn(f"{fault.kind}: {fault.line}")


def _export(arguments: Namespace) -> int:
    from energy_agent.ledger import export, reading
    from energy_agent.ledger.fleet.parquet import columns_of

    end = int(arguments.end.timestamp()) * NS_PER_S if arguments.end else None
    start = int(arguments.start.timestamp()) * NS_PER_S if arguments.start else 0
    choice = export.CellFilter(start, end, arguments.device, arguments.workload)
    located = reading.read_rows(arguments.source)
    if arguments.sum:
        return _export_sum(arguments, choice, located)
    form = "jsonl" if arguments.json else arguments.format
    name = next((name for name in _KINDS if getattr(arguments, name)), "cells")
    if name in _KINDS:
        kind = _KINDS[name][0]
        count = export.write(export.of_kind(located, kind, choice), form, arguments.out, columns_of(kind), name)
    else:
        count = export.write(export.table(located, choice), form, arguments.out)
    if not count:
        try:
            _refuse_unknown(arguments)
        except WattlensError:
            if arguments.out is not None:  # written above, without rows: the corrected command needs the name
                arguments.out.unlink()
            raise
    if arguments.out is not None:
        print(f"{count} {name} in {arguments.out}")
    return 0


def _export_sum(arguments: Namespace, choice: "CellFilter", located: "Iterable[SourcedRow]") -> int:
    """Print one total with its bounds; 1 if a device is left out of it."""
    from energy_agent.ledger import summary
    from energy_agent.ledger.rows.kinds import Cell, DeviceFacts, EdgeRow, GapRow

    if choice.from_ns and choice.to_ns is not None and choice.to_ns <= choice.from_ns:
        raise UsageError("--to: expected a time after --from")
    rows = [
        row
        for row in (item.row for item in located)
        if isinstance(row, DeviceFacts) or (isinstance(row, Cell | EdgeRow | GapRow) and choice.in_time(row.cell_start_ns))
    ]
    uuids = {row.uuid for row in rows if isinstance(row, DeviceFacts)}
    chosen = {row.device for row in rows if isinstance(row, Cell) and choice.takes(row.cell_start_ns, row.device, row.workload)}
    if not chosen:
        _refuse_unknown(arguments)
        asked = {"device": arguments.device, "workload": arguments.workload, "from": arguments.start, "to": arguments.end}
        named = ", ".join(f"{key} {value}" for key, value in asked.items() if value)
        raise WattlensError(f"{arguments.source}: no energy found{f' ({named})' if named else ''}")
    unknown = sorted(chosen - uuids)
    for device in unknown:
        warn(f"{device}: skipped, because the ledger has no row with its uncertainty")
    if arguments.device in unknown:
        return 1
    rows = [row for row in rows if isinstance(row, DeviceFacts) or row.device in uuids]
    bounds = summary.bounds(rows, workload=arguments.workload, device=arguments.device)
    devices = {device for device in chosen & uuids if arguments.device is not None or not is_meter(device)}
    unbounded = {r.device for r in rows if isinstance(r, GapRow) and r.reason.startswith(UNBOUNDED)} & devices
    within = "meter" if all(map(is_meter, devices)) else boundary(devices).value
    if arguments.json:
        high_uj = None if unbounded else bounds.high_uj
        print_json(asdict(bounds) | {"high_uj": high_uj, "unbounded_devices": len(unbounded), "boundary": within}, None)
    else:
        low, high = decimal(bounds.low_uj, UJ_PER_J), decimal(bounds.high_uj, UJ_PER_J)
        gaps = f"{len(unbounded)} device{'s' * (len(unbounded) > 1)} with a gap of unbounded energy"
        upper = f"no upper bound ({gaps})" if unbounded else f"at most {high} J"
        kwh = f"{bounds.energy_uj / UJ_PER_KWH:.6g} kWh"
        print(f"{decimal(bounds.energy_uj, UJ_PER_J)} J, at least {low} J, {upper}; {kwh}, boundary {within}")
    return 1 if unknown else 0


def _refuse_unknown(arguments: Namespace) -> None:
    """Raise WattlensError with the names that the ledger has, where it has none of that workload or device."""
    from energy_agent.ledger import reading
    from energy_agent.ledger.rows.kinds import Cell

    for kind in ("workload", "device"):
        name = getattr(arguments, kind)
        if name is None:
            continue
        rows = (located.row for located in reading.read_rows(arguments.source))
        names = {getattr(row, kind) for row in rows if isinstance(row, Cell)} - {""}
        if name not in names:
            listed = list_first(sorted(names), 50) or "none"
            raise WattlensError(f"{arguments.source}: --{kind} {name!r}: not found; the ledger has: {listed}")


def _ship(arguments: Namespace) -> int:
    from energy_agent.ledger import chain

    return ship.run(arguments, lambda: chain.find([_segments_of(arguments.source)]), count_progress)


def _compact(arguments: Namespace) -> int:
    from energy_agent.ledger.chain import ChainFault
    from energy_agent.ledger.fleet import index
    from energy_agent.ledger.fleet.compact import SiteDay, compact_days
    from energy_agent.ledger.fleet.sites import Sites, read_inventory

    signer = None if arguments.sign_heads is None else open_signer("--sign-heads", arguments.sign_heads)
    sites = Sites({}, arguments.site)
    if arguments.inventory is not None:
        sites = read_inventory(arguments.inventory, arguments.site)
    for notice in sites.notices:
        warn(notice)
    wanted = [arguments.day] if arguments.day else None
    segments = index.build([_segments_of(p) for p in arguments.paths], count_progress("read the headers of"), sites.keys)
    if wanted is None:
        today = datetime.now(UTC).date()
        if (
            not segments.faults
            and all(day >= today for day in segments.days)
            and (len(segments) or _all_empty(arguments.paths))
        ):
            print("[]" if arguments.json else "nothing to compact yet: a UTC day can be compacted after its end")
            return 0
        first = today - timedelta(days=arguments.days) if arguments.days else date.min
        wanted = [day for day in segments.days if first <= day < today]
    if not len(segments) and segments.faults:
        _tell(dict.fromkeys(segments.faults))
        return 0 if arguments.accept_faults else 1
    if not len(segments) or not wanted:
        raise UsageError(f"{arguments.paths[0]}: has no segments of a complete UTC day; select another day with --day")
    answer, faults = list[SiteDay](), dict.fromkeys(segments.faults)
    left_out, unsigned = defaultdict[str, list[date]](list), Counter[str]()
    unsound = list[ChainFault]()  # signed heads of earlier runs
    for result in compact_days(
        segments,
        arguments.out,
        wanted,
        sites,
        reason=arguments.reason,
        accept_faults=arguments.accept_faults,
        jobs=arguments.jobs,
        progress=count_progress("compacted"),
    ):
        answer += result.statements
        faults |= dict.fromkeys(result.faults)
        if signer is not None:
            unsound += [ChainFault("head", text) for s in result.statements if (text := heads.sign(s, signer))]
        unsigned.update(result.unsigned)
        for node in result.left_out:
            left_out[node].append(result.day)
    if arguments.json:
        print_json(
            [
                asdict(replace(s, heads=()))
                | {"folder": str(s.folder), "day": str(s.day), "energy_uj": str(s.energy_uj), "heads": len(s.heads)}
                for s in answer
            ],
            None,
        )
    else:
        for s in answer:
            done = f"statement {s.number}" if s.written else f"unchanged (statement {s.number})"
            why = f", {s.reason}" if s.reason else ""
            what = f"{decimal(s.energy_uj, UJ_PER_J)} J in {s.rows} rows of {s.inputs} segments"
            print(f"{s.site} {s.day}: {what}: {done}{why}: {s.folder}")
        if signer is not None:
            print(f"heads: signed by {signer.key}")
        if unsigned:
            print(f"unsigned: {unsigned.total()} segments of {len(unsigned)} nodes; each manifest lists them")
    if answer and not sites.keys.enrolled:
        warn(NO_KEYS)
    _tell([*faults, *unsound])
    for s in answer:
        if s.kept_for:
            warn(
                f"{s.site} {s.day}: statement {s.number} is kept, because it has rows of {', '.join(s.kept_for)}; "
                "--accept-faults replaces it"
            )
    for node, days in left_out.items():
        span = f"{days[0]}" if len(days) == 1 else f"{len(days)} days from {days[0]} to {days[-1]}"
        warn(f"{node}: skipped for {span}; all other nodes are written")
    return 1 if unsound or (faults and not arguments.accept_faults) else 0


def _all_empty(paths: Iterable[Path]) -> bool:
    """Whether the folders have no file, as before the first segment is shipped. A folder with others is the wrong one."""
    return not any(path.is_file() for folder in paths for path in folder.rglob("*"))


SPEC = Command(
    "verify, export, ship, compact and import the energy ledger",
    actions={
        "verify": _action("check that every segment exists once, unchanged and in order", _configure_verify, _verify),
        "export": _action("write cells with their uncertainty as a table", _configure_export, _export),
        "ship": _action("copy segments to a folder or object store; never overwrites a file", ship.configure, _ship),
        "compact": _action("turn the segments of many nodes into Parquet per site and UTC day", _configure_compact, _compact),
        "import": _action(
            "create segments from the Prometheus history of dcgm-exporter, at lower quality",
            history_import.configure,
            history_import.run,
        ),
    },
)
