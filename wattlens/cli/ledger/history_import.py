"""`wattlens ledger import`: a ledger of lower quality from what a Prometheus kept of dcgm-exporter."""

import re
import time
from argparse import ArgumentTypeError, Namespace
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S, UJ_PER_J, decimal
from wattlens.cli._command import CommandOptions, print_json, print_lines, warn
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


def configure(add: CommandOptions) -> None:
    """Options of `wattlens ledger import`."""
    add("--prometheus URL", "address of Prometheus or of a server with the same API", required=True)
    add("--source", "exporter that wrote the series", choices=("dcgm",), required=True)
    add(
        "--from --since TIME",
        "start, UTC, on a quarter of an hour: 2026-07-01, 2026-07-01T12:15, monday or 7d (default: first day with series)",
        dest="start",
        type=_edge,
    )
    add("--to TIME", "end, not included (default: the last quarter of an hour)", dest="end", type=_edge)
    add("--out DIR", "folder of the imported segments (default: %(default)s)", default=Path("imported"))
    add("--cluster NAME", "cluster of the segments (default: imported)")
    add("--node NAME", "import only this node; may be repeated", action="append", default=[])
    add("--node-label LABEL", "label with the name of the node (default: Hostname, hostname, node, instance)")
    add("--match LABEL=VALUE", "import only series with this label; may be repeated", action=Pairs, default={})
    add("--dedup-label LABEL", "label that distinguishes Prometheus replicas (default replica)", default="replica")
    add("--slice TIME", "period of each query (default 6h)", type=duration(60, 86_400), default="6h")
    add("--collect-interval TIME", "maximum age of a reading when it is scraped (default 30s)", type=duration())
    add(
        "--gain-uncertainty SHARE",
        "systematic error of a GPU's counter if no series has it (default 5%%)",
        type=share(0, 0.99, above=True),
        default="5%",
    )
    add(
        "--max-power-w W",
        "power limit of GPUs for which neither series nor model states one",
        type=number(Decimal, 0, 10_000, above=True),
    )
    add("--ca-file FILE", "CA certificates for the service's certificate")
    add("--token-file FILE", "file that holds a bearer token on one line")
    add("--user-file FILE", "file that holds user:password on one line, for basic auth")
    add("--insecure", "send the secret over unencrypted http://")
    add("--timeout TIME", "timeout of each request (default 120s)", type=duration(), default="120s")
    add("--signing-key KEYFILE", "sign the segments with this Ed25519 key (PEM; default: unsigned)")
    add("--dry-run", "read and count everything without writing")


def run(arguments: Namespace) -> int:
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
        warn(note)
    if arguments.json:
        print_json(_json(request, result, arguments), None)
        return 0
    print_lines(f"{node.cluster}/{node.node}: {_describe_node(node)}" for node in result.nodes)
    total = sum(node.energy_uj for node in result.nodes)
    done = "would be imported into" if arguments.dry_run else "imported into"
    count = sum(node.segments for node in result.nodes)
    print(f"{decimal(total, UJ_PER_J)} J of {len(result.nodes)} nodes in {count} segments {done} {arguments.out}")
    return 0


def _request(arguments: Namespace, history: "PrometheusHistory") -> "ImportRequest":
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


def _json(request: "ImportRequest", result: "ImportResult", arguments: Namespace) -> dict[str, Any]:
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
        raise ArgumentTypeError(f"expected a quarter of an hour, such as 12:00, 12:15, 12:30 or 12:45, got {text!r}")
    return int(at_s)
