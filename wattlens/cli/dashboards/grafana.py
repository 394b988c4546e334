"""What `wattlens dashboards push`, `diff`, `pull` and `annotate` share: how Grafana is reached, and what is to be there."""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energy_agent.core.errors import UsageError
from wattlens.cli._options import duration

if TYPE_CHECKING:
    from dashboards.push.plan import ObjectChange
    from wattlens.grafana.access import GrafanaAccess
    from wattlens.grafana.survey import PushRequest, Survey

_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TITLE_LIMIT: Final = 190


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


def add_objects(parser: argparse.ArgumentParser) -> None:
    """Options that say what is to be in Grafana."""
    parser.add_argument("--folder", default="Wattlens", metavar="TITLE", help="folder at the root (default Wattlens)")
    parser.add_argument(
        "--alerts", action="store_true", help="also push alert rules, managed by Grafana (if Prometheus has none)"
    )
    parser.add_argument(
        "--datasource", default="prometheus", metavar="UID", help="data source of alert rules (default prometheus)"
    )
    parser.add_argument(
        "--prometheus-url", metavar="URL", help="address of Prometheus for that data source (created if missing)"
    )


def grafana_access(arguments: argparse.Namespace) -> "GrafanaAccess":
    """How Grafana is reached.

    Raises:
        UsageError: an option is wrong; the line names it.
    """
    from wattlens.grafana.access import GrafanaAccess

    return GrafanaAccess(arguments.url, arguments.token_file, arguments.ca_file, arguments.insecure, arguments.timeout)


def wanted_objects(arguments: argparse.Namespace) -> "PushRequest":
    """What is to be in Grafana: everything that ships with this version.

    Raises:
        UsageError: an option is wrong; the line names it.
    """
    from dashboards.build.shipped import load_dashboards
    from dashboards.rules.alerts import alerts
    from wattlens.grafana.access import address
    from wattlens.grafana.survey import PushRequest

    folder = " ".join(arguments.folder.split())
    if not folder or len(folder) > _TITLE_LIMIT or not folder.isprintable():
        raise UsageError(
            f"--folder: expected a title such as Wattlens, of at most {_TITLE_LIMIT} characters, got {arguments.folder[:60]!r}"
        )
    if not _UID.fullmatch(arguments.datasource):
        raise UsageError(f"--datasource: expected a uid of letters, digits, '-' and '_', got {arguments.datasource[:60]!r}")
    if arguments.prometheus_url is not None:
        address(arguments.prometheus_url, "--prometheus-url", "9090")
    rules = alerts() if arguments.alerts else None
    editable = bool(getattr(arguments, "editable_alerts", False))
    return PushRequest(folder, load_dashboards(), rules, arguments.datasource, arguments.prometheus_url, editable)


def as_json(change: "ObjectChange") -> dict[str, Any]:
    """A change, for `--json`."""
    fields = {name: getattr(change, name) for name in ("kind", "uid", "title", "state", "reason")}
    return fields | {"details": list(change.details)}


def head_json(url: str, result: "Survey") -> dict[str, Any]:
    """Which Grafana and which folder, for `--json`."""
    return {
        "grafana": {"url": url, "version": result.version},
        "folder": {"uid": result.folder_uid, "title": result.folder_title},
    }


def describe_change(change: "ObjectChange") -> str:
    """A change in one line."""
    from energy_agent.core.text import printable

    title = "" if change.title == change.uid else f" ({change.title})"
    return printable(f"{change.kind} {change.uid}{title}{': ' * bool(change.reason)}{change.reason}")


def print_notes(lines: list[str]) -> None:
    """What a person should know, on standard error."""
    from energy_agent.core.text import printable

    for each in lines:
        print(f"wattlens: {printable(each)}", file=sys.stderr)
