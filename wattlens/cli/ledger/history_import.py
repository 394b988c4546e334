"""`wattlens ledger import`: a ledger of lower quality from what a Prometheus kept of Wattlens or of dcgm-exporter."""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError
from energy_agent.core.text import printable
from energy_agent.core.units import NS_PER_S, UJ_PER_J, decimal
from wattlens.cli._moments import day_or_time
from wattlens.cli._progress import Progress
from wattlens.cli.ledger.signer import open_signer

if TYPE_CHECKING:
    from energy_agent.ledger.history_import.segments import Written
    from wattlens.history_import.request import Request
    from wattlens.history_import.run import Result
    from wattlens.prometheus.history import History

SUMMARY = "make segments from the history that a Prometheus has of Wattlens or dcgm-exporter, at lower quality"
_QUARTER_S = 900
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens ledger import`."""
    parser.add_argument("--prometheus", required=True, metavar="URL", help="its address, or that of what speaks its HTTP API")
    parser.add_argument("--from", dest="origin", required=True, choices=("wattlens", "dcgm"), help="whose series to read")
    parser.add_argument(
        "--start",
        metavar="TIME",
        help="UTC day or quarter of an hour: 2026-07-01, 2026-07-01T12:15 (default: the first day with series)",
    )
    parser.add_argument("--end", metavar="TIME", help="the first that is not imported (default: the last quarter of an hour)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("imported"),
        metavar="DIR",
        help="folder of the imported segments (default: %(default)s)",
    )
    parser.add_argument("--cluster", metavar="NAME", help="cluster of the segments (default: imported, or CLUSTER-imported)")
    parser.add_argument("--node", action="append", default=[], metavar="NAME", help="this node alone; may be repeated")
    parser.add_argument(
        "--node-label", metavar="LABEL", help="dcgm: names the node (default: Hostname, hostname, node, instance)"
    )
    parser.add_argument(
        "--match", action="append", default=[], metavar="LABEL=VALUE", help="series with this label alone; may be repeated"
    )
    parser.add_argument(
        "--dedup-label", default="replica", metavar="LABEL", help="tells replicas of a Prometheus apart (default replica)"
    )
    parser.add_argument("--slice", default="6h", metavar="SPAN", help="how much is asked for at a time (default 6h)")
    parser.add_argument(
        "--collect-interval", metavar="SPAN", help="how old a scraped reading can be (default 30s of dcgm, 2.5s of wattlens)"
    )
    parser.add_argument(
        "--gain-percent",
        default="5",
        metavar="PERCENT",
        help="systematic error of a board's counter, where no series tells (default 5)",
    )
    parser.add_argument(
        "--max-power-w", metavar="W", help="power limit of every board, where neither series nor its kind tells"
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to check the service's with")
    parser.add_argument("--bearer-token-file", type=Path, metavar="FILE", help="file with a token")
    parser.add_argument("--user-file", type=Path, metavar="FILE", help="file with the user's name")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="file with the password")
    parser.add_argument("--insecure", action="store_true", help="send the secret over http:// although others can read it")
    parser.add_argument("--timeout", default="120s", metavar="SPAN", help="how long one answer may take (default 120s)")
    parser.add_argument(
        "--signing-key", type=Path, metavar="KEYFILE", help="sign the segments with this Ed25519 key (PEM; default: unsigned)"
    )
    parser.add_argument("--dry-run", action="store_true", help="read and count everything, write nothing")


def run(arguments: argparse.Namespace) -> int:
    """Import, and tell what was."""
    from wattlens.history_import.run import run as do
    from wattlens.prometheus.access import Access
    from wattlens.prometheus.history import History

    signer = None if arguments.signing_key is None else open_signer("--signing-key", arguments.signing_key)
    access = Access(
        arguments.prometheus,
        _seconds(arguments.timeout, "--timeout"),
        arguments.ca_file,
        arguments.bearer_token_file,
        arguments.user_file,
        arguments.password_file,
        arguments.insecure,
    )
    history = History(access)
    request = _request(arguments, history)
    result = do(request, history, arguments.output, dry=arguments.dry_run, signer=signer, progress=_progress())
    for note in result.notes:
        print(printable(f"wattlens: {note}"), file=sys.stderr)
    if arguments.json:
        print(json.dumps(_json(request, result, arguments)))
        return 0
    for node in result.nodes:
        print(printable(f"{node.cluster}/{node.node}: {_told(node)}"))
    total = sum(node.energy_uj for node in result.nodes)
    done = "would be imported into" if arguments.dry_run else "imported into"
    count = sum(node.segments for node in result.nodes)
    print(f"{decimal(total, UJ_PER_J)} J of {len(result.nodes)} nodes in {count} segments {done} {arguments.output}")
    return 0


def _request(arguments: argparse.Namespace, history: "History") -> "Request":
    from wattlens.history_import.request import Request
    from wattlens.history_import.run import first_day_ns

    now_s = int(time.time())
    start_s = _time(arguments.start, "--start") if arguments.start else None
    end_s = _time(arguments.end, "--end") if arguments.end else now_s - now_s % _QUARTER_S
    if start_s is not None and end_s <= start_s:
        raise UsageError("--end is not after --start")
    if end_s > now_s:
        raise UsageError(f"--end {arguments.end}: is in the future")
    slice_s = _seconds(arguments.slice, "--slice")
    if not 60 <= slice_s <= 86_400:
        raise UsageError(f"--slice {arguments.slice}: from 1m to 1d is wanted")
    age = arguments.collect_interval
    match = {}
    for text in arguments.match:
        label, equals, value = text.partition("=")
        if not equals or not label:
            raise UsageError(f"--match {text!r}: LABEL=VALUE is wanted, such as cluster=lab")
        match[label] = value
    if arguments.cluster is not None and not _NAME.fullmatch(arguments.cluster):
        raise UsageError(f"--cluster {arguments.cluster!r}: is no name of letters, digits, '.', '_' and '-'")
    power_mw = None if arguments.max_power_w is None else int(_number(arguments.max_power_w, "--max-power-w", 10_000) * 1_000)
    start_ns = first_day_ns(arguments.origin, history, match, end_s * NS_PER_S) if start_s is None else start_s * NS_PER_S
    return Request(
        arguments.origin,
        start_ns,
        end_s * NS_PER_S,
        now_s * NS_PER_S,
        cluster=arguments.cluster,
        node_label=arguments.node_label,
        nodes=tuple(arguments.node),
        match=match,
        slice_ns=int(slice_s) * NS_PER_S,
        dedup_label=arguments.dedup_label,
        gain_ppm=int(_number(arguments.gain_percent, "--gain-percent", 99) * 10_000),
        power_max_mw=power_mw,
        age_ns=None if age is None else int(_seconds(age, "--collect-interval") * NS_PER_S),
    )


def _progress() -> Callable[[str, int, int], None]:
    told = Progress("", "slices")

    def tell(what: str, done: int, total: int) -> None:
        told.what = what
        told(done, total)

    return tell


def _told(node: "Written") -> str:
    methods = ", ".join(f"{method} {decimal(uj, UJ_PER_J)} J" for method, uj in sorted(node.by_method.items()))
    states = ", ".join(f"{state} {_percent(uj, node.energy_uj)} %" for state, uj in sorted(node.by_state.items()))
    gaps = f"; no sample shows up to {decimal(node.gap_bound_uj, UJ_PER_J)} J more" if node.gap_bound_uj else ""
    unbounded = f"; {node.unbounded_gaps} gaps without a bound" if node.unbounded_gaps else ""
    return f"{len(node.devices)} devices, {node.segments} segments: {methods or 'no energy'}; {states}{gaps}{unbounded}"


def _percent(part_uj: int, whole_uj: int) -> str:
    """With one digit behind the point."""
    return decimal(1_000 * part_uj // whole_uj, 10) if whole_uj else "0"


def _json(request: "Request", result: "Result", arguments: argparse.Namespace) -> dict[str, Any]:
    nodes = [
        asdict(node)
        | {
            "devices": sorted(node.devices),
            "energy_uj": str(node.energy_uj),
            "gap_bound_uj": str(node.gap_bound_uj),
            "by_method": {method.value: str(uj) for method, uj in sorted(node.by_method.items())},
            "by_state": {state.value: str(uj) for state, uj in sorted(node.by_state.items())},
        }
        for node in result.nodes
    ]
    return {
        "from": request.origin,
        "start_ns": request.start_ns,
        "end_ns": request.end_ns,
        "written": not arguments.dry_run,
        "requests": result.requests,
        "notes": result.notes,
        "nodes": nodes,
    }


def _seconds(text: str, option: str) -> float:
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", text)
    if match is None or not float(match[1]):
        raise UsageError(f"{option} {text!r}: a span such as 30s, 15m or 6h is wanted")
    return float(match[1]) * _UNITS[match[2]]


def _number(text: str, option: str, most: int) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or not 0 < value <= most:
        raise UsageError(f"{option} {text!r}: a number above 0 and up to {most} is wanted")
    return value


def _time(text: str, option: str) -> int:
    """UTC s of a day or time, which must be an edge of a cell."""
    at_s = day_or_time(text, option).timestamp()
    if at_s % _QUARTER_S or at_s < _UNITS["d"]:
        raise UsageError(f"{option} {text}: is not a quarter of an hour, such as 12:00, 12:15, 12:30 or 12:45")
    return int(at_s)
