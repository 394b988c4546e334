"""What `wattlens dashboards push` and `annotate` share: how Grafana is reached."""

from argparse import Namespace
from typing import TYPE_CHECKING

from wattlens.cli._command import CommandOptions
from wattlens.cli._options import duration

if TYPE_CHECKING:
    from wattlens.grafana.access import GrafanaAccess


def add_access(add: CommandOptions) -> None:
    """Options that say where Grafana is."""
    add("--url URL", "address of Grafana, with its path if it has one", required=True)
    add("--token-file FILE", "file that holds the token of a Grafana service account on one line", required=True)
    add("--ca-file FILE", "CA certificates for Grafana's certificate")
    add("--insecure", "send the token over unencrypted http://")
    add("--timeout TIME", "timeout of each request (default 30s)", type=duration(), default="30s")


def grafana_access(arguments: Namespace) -> "GrafanaAccess":
    """How Grafana is reached.

    Raises:
        UsageError: an option is wrong; the line names it.
    """
    from wattlens.grafana.access import GrafanaAccess

    return GrafanaAccess(arguments.url, arguments.token_file, arguments.ca_file, arguments.insecure, arguments.timeout)
