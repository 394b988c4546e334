"""`wattlens ledger import`: a ledger of lower quality from what a Prometheus kept of dcgm-exporter."""

import argparse
import json
import re
import sys
import time
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError
from energy_agent.core.text import printable
from energy_agent.core.units import NS_PER_S, UJ_PER_J, decimal
from wattlens.cli._options import Pairs, duration, moment, number, share
from wattlens.cli.ledger.signer import open_signer
from wattlens.terminal_line import drawn_line

if TYPE_CHECKING:
    from energy_agent.ledger.history_import.segments import SegmentContents
    from wattlens.history_import.request import ImportRequest
    from wattlens.history_import.run import ImportResult
    from wattlens.prometheus.history import PrometheusHistory

SUMMARY = "create segments from the Prometheus history of dcgm-exporter, at lower quality"
_QUARTER_S = 900
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens ledger import`."""
    parser.add_argument(
        "--prometheus", required=True, metavar="URL", help="address of Prometheus or of a server with the same API"
    )
    parser.add_argument("--source", choices=("dcgm",), required=True, help="exporter that wrote the series")
    add = parser.add_argument
    add(
        "--from",
        "--since",
        dest="start",
        type=_edge,
        metavar="TIME",
        help="start, UTC, on a quarter of an hour: 2026-07-01, 2026-07-01T12:15, monday or 7d (default: first day with series)",
    )
    add("--to", dest="end", type=_edge, metavar="TIME", help="end, not included (default: the last quarter of an hour)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("imported"),
        metavar="DIR",
        help="folder of the imported segments (default: %(default)s)",
    )
    parser.add_argument("--cluster", metavar="NAME", help="cluster of the segments (default: imported)")
    parser.add_argument("--node", action="append", default=[], metavar="NAME", help="import only this node; may be repeated")
    parser.add_argument(
        "--node-label",
        metavar="LABEL",
        help="label with the name of the node (default: Hostname, hostname, node, instance)",
    )
    parser.add_argument(
        "--match", action=Pairs, default={}, metavar="LABEL=VALUE", help="import only series with this label; may be repeated"
    )
    parser.add_argument(
        "--dedup-label",
        default="replica",
        metavar="LABEL",
        help="label that distinguishes Prometheus replicas (default replica)",
    )
    add("--slice", type=duration(60, 86_400), default="6h", metavar="TIME", help="period of each query (default 6h)")
    parser.add_argument(
        "--collect-interval",
        type=duration(),
        metavar="TIME",
        help="maximum age of a reading when it is scraped (default 30s)",
    )
    parser.add_argument(
        "--gain-uncertainty",
        type=share(0, 0.99, above=True),
        default="5%",
        metavar="SHARE",
        help="systematic error of a GPU's counter if no series has it (default 5%%)",
    )
    parser.add_argument(
        "--max-power-w",
        type=number(Decimal, 0, 10_000, above=True),
        metavar="W",
        help="power limit of GPUs for which neither series nor model states one",
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="CA certificates for the service's certificate")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="file that holds a bearer token on one line")
    parser.add_argument(
        "--user-file", type=Path, metavar="FILE", help="file that holds user:password on one line, for basic auth"
    )
    parser.add_argument("--insecure", action="store_true", help="send the secret over unencrypted http://")
    add("--timeout", type=duration(), default="120s", metavar="TIME", help="timeout of each request (default 120s)")
    parser.add_argument(
        "--signing-key", type=Path, metavar="KEYFILE", help="sign the segments with this Ed25519 key (PEM; default: unsigned)"
    )
    parser.add_argument("--dry-run", action="store_true", help="read and count everything without writing")


def run(arguments: argparse.Namespace) -> int:
    """Import history and print a summary."""
    from wattlens.history_import.run import run as do
    from wattlens.prometheus.access import PrometheusAccess
    from wattlens.prometheus.history import PrometheusHistory

    signer = None if arguments.signing_key is None else open_signer("--signing-key", arguments.signing_key)
    access = PrometheusAccess(
        arguments.prometheus,
        arguments.timeout,
        arguments.ca_file,
        arguments.token_file,
        arguments.user_file,
        arguments.insecure,
    )
    history = PrometheusHistory(access)
    request = _request(arguments, history)
    with drawn_line(every_s=0.2) as draw:
        result = do(
            request,
            history,
            arguments.out,
            dry=arguments.dry_run,
            signer=signer,
            progress=lambda what, done, total: draw(f"{what}: {done} of {total} slices"),
        )
    for note in result.notes:
        print(printable(f"wattlens: {note}"), file=sys.stderr)
    if arguments.json:
        print(json.dumps(_json(request, result, arguments)))
        return 0
    for node in result.nodes:
        print(printable(f"{node.cluster}/{node.node}: {_describe_node(node)}"))
    total = sum(node.energy_uj for node in result.nodes)
    done = "would be imported into" if arguments.dry_run else "imported into"
    count = sum(node.segments for node in result.nodes)
    print(f"{decimal(total, UJ_PER_J)} J of {len(result.nodes)} nodes in {count} segments {done} {arguments.out}")
    return 0


def _request(arguments: argparse.Namespace, history: "PrometheusHistory") -> "ImportRequest":
    from wattlens.history_import.request import ImportRequest
    from wattlens.history_import.run import first_day_ns

    now_s = int(time.time())
    start_s, end_s = arguments.start, arguments.end or now_s - now_s % _QUARTER_S
    if start_s is not None and end_s <= start_s:
        raise UsageError("--to: expected a time after --from")
    if end_s > now_s:
        raise UsageError("--to is in the future")
    age, match = arguments.collect_interval, arguments.match
    if arguments.cluster is not None and not _NAME.fullmatch(arguments.cluster):
        raise UsageError(f"--cluster: expected a name of letters, digits, '.', '_' and '-', got {arguments.cluster[:80]!r}")
    power_mw = None if arguments.max_power_w is None else int(arguments.max_power_w * 1_000)
    start_ns = first_day_ns(history, match, end_s * NS_PER_S) if start_s is None else start_s * NS_PER_S
    return ImportRequest(
        start_ns,
        end_s * NS_PER_S,
        now_s * NS_PER_S,
        cluster=arguments.cluster,
        node_label=arguments.node_label,
        nodes=tuple(arguments.node),
        match=match,
        slice_ns=int(arguments.slice) * NS_PER_S,
        dedup_label=arguments.dedup_label,
        gain_ppm=int(arguments.gain_uncertainty * 1_000_000),
        power_max_mw=power_mw,
        age_ns=None if age is None else int(age * NS_PER_S),
    )


def _describe_node(node: "SegmentContents") -> str:
    methods = ", ".join(f"{method} {decimal(uj, UJ_PER_J)} J" for method, uj in sorted(node.by_method.items()))
    states = ", ".join(f"{state} {_percent(uj, node.energy_uj)} %" for state, uj in sorted(node.by_state.items()))
    gaps = f"; up to {decimal(node.gap_bound_uj, UJ_PER_J)} J more in gaps between samples" if node.gap_bound_uj else ""
    unbounded = f"; {node.unbounded_gaps} gaps without a bound" if node.unbounded_gaps else ""
    return f"{len(node.devices)} devices, {node.segments} segments: {methods or 'no energy'}; {states}{gaps}{unbounded}"


def _percent(part_uj: int, whole_uj: int) -> str:
    """With one digit behind the point."""
    return decimal(1_000 * part_uj // whole_uj, 10) if whole_uj else "0"


def _json(request: "ImportRequest", result: "ImportResult", arguments: argparse.Namespace) -> dict[str, Any]:
    from wattlens.history_import.request import ORIGIN

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
        "from": ORIGIN,
        "start_ns": request.start_ns,
        "end_ns": request.end_ns,
        "written": not arguments.dry_run,
        "requests": result.requests,
        "notes": result.notes,
        "nodes": nodes,
    }


def _edge(text: str) -> int:
    """UTC s of a day or time, which must be an edge of a cell."""
    at_s = moment(text).timestamp()
    if at_s % _QUARTER_S or at_s < 86_400:
        raise argparse.ArgumentTypeError(f"expected a quarter of an hour, such as 12:00, 12:15, 12:30 or 12:45, got {text!r}")
    return int(at_s)
