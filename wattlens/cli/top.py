"""`wattlens top`: what the GPUs of a node draw, why and for whom, live, from its agent's page."""

import argparse
from pathlib import Path

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, add_simulate, simulated_node

DEFAULT_URL = "http://127.0.0.1:9479/metrics"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", metavar="URL", help=f"the agent's page (default {DEFAULT_URL})")
    add_simulate(parser, "start an agent on the simulated node that runs in DIR (see wattlens sim), and end it afterwards")
    parser.add_argument("--once", action="store_true", help="print one page and end, as also where output is no terminal")
    parser.add_argument("--json", action="store_true", help="JSON: one document with --once, else a line every interval")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between readings (default 1)")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="authorities that may have signed the agent's certificate")
    parser.add_argument("--cert-file", type=Path, metavar="FILE", help="our certificate, where the agent asks for one")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="its key, where it is not in the same file")
    parser.add_argument("--user-file", type=Path, metavar="FILE", help="one line user:password, for basic auth")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="one line, a bearer token")


def _run(args: argparse.Namespace) -> int:
    from wattlens.scrape.access import Access
    from wattlens.top.run import TopOptions, run_top

    if not 0.2 <= args.interval <= 60:
        raise UsageError(f"--interval {args.interval:g} is not from 0.2 to 60")
    if args.simulate is not None and args.url is not None:
        raise UsageError("--simulate starts an agent of its own: leave --url out")
    files = (args.ca_file, args.user_file, args.token_file, args.cert_file, args.key_file)
    if args.simulate is not None and any(files):
        raise UsageError("--simulate starts an agent of its own: leave credentials and certificates out")
    access = Access(args.url or DEFAULT_URL, *files)
    return run_top(TopOptions(access, simulated_node(args.simulate), args.once, args.json, args.interval))


SPEC = Command("show live what the node's GPUs draw, why and for whom", _configure, _run)
