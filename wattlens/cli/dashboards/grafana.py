"""What `wattlens dashboards push` and `annotate` share: how Grafana is reached."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wattlens.cli._options import duration

if TYPE_CHECKING:
    from wattlens.grafana.access import GrafanaAccess


def add_access(parser: argparse.ArgumentParser) -> None:
    """Options that say where Grafana is."""
    parser.add_argument("--url", required=True, metavar="URL", help="address of Grafana, with its path if it has one")
    parser.add_argument(
        "--token-file",
        type=Path,
        required=True,
        metavar="FILE",
        help="file that holds the token of a Grafana service account on one line",
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="CA certificates for Grafana's certificate")
    parser.add_argument("--insecure", action="store_true", help="send the token over unencrypted http://")
    what = "timeout of each request (default 30s)"
    parser.add_argument("--timeout", type=duration(), default="30s", metavar="TIME", help=what)


def grafana_access(arguments: argparse.Namespace) -> "GrafanaAccess":
    """How Grafana is reached.

    Raises:
        UsageError: an option is wrong; the line names it.
    """
    from wattlens.grafana.access import GrafanaAccess

    return GrafanaAccess(arguments.url, arguments.token_file, arguments.ca_file, arguments.insecure, arguments.timeout)
