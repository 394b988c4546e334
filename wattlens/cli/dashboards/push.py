"""`wattlens dashboards push`: bring a Grafana to what is built, and lose nobody's work."""

import re
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from energy_agent.core.errors import UsageError
from energy_agent.core.text import printable
from wattlens.cli._command import CommandOptions, print_json, warn
from wattlens.cli.dashboards import grafana as common
from wattlens.terminal_line import count_progress

if TYPE_CHECKING:
    from dashboards.push.plan import ObjectChange
    from wattlens.grafana.push import PushResult
    from wattlens.grafana.push_plan import PushRequest

SUMMARY = "upload folder, dashboards, and optionally data source and alert rules to Grafana"
DESCRIPTION = (
    "Upload folder, dashboards, and optionally data source and alert rules to Grafana. A second push changes nothing. If "
    "somebody edited objects in Grafana since the last push, this command lists them and writes nothing, unless "
    "--overwrite or --keep-edited is given. Exits with 1 if Grafana does not match the build afterwards. Prefer "
    "provisioning from files, which needs no token: see docs/grafana.md."
)
_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TITLE_LIMIT: Final = 190


def configure(add: CommandOptions) -> None:
    """Options of `wattlens dashboards push`."""
    common.add_access(add)
    add("--folder TITLE", "folder at the root (default Wattlens)", default="Wattlens")
    add("--alerts", "also push alert rules, managed by Grafana (if Prometheus has none)")
    add("--datasource UID", "data source of alert rules (default prometheus)", default="prometheus")
    add("--prometheus-url URL", "address of Prometheus for that data source (created if missing)")
    add("--editable-alerts", "let people edit alert rules in Grafana (default: locked)")
    edits = add.exclusive()
    edits("--overwrite", "overwrite edits made in Grafana")
    edits("--keep-edited", "keep edits made in Grafana, push the rest")
    add("--dry-run", "show the changes without writing them")
    add("--json", "print JSON")


def run(arguments: Namespace) -> int:
    """Push and print the changes. Returns 0 if everything is as built or skipped on purpose, 1 if another object conflicts."""
    from wattlens.grafana.client import Grafana
    from wattlens.grafana.push import push

    if arguments.editable_alerts and not arguments.alerts:
        raise UsageError("--editable-alerts: expected together with --alerts")
    request, access = _request(arguments), common.grafana_access(arguments)
    edits = "overwrite" if arguments.overwrite else "keep" if arguments.keep_edited else "stop"
    grafana = Grafana(access)
    outcome = push(grafana, request, edits, dry=arguments.dry_run, progress=count_progress("pushed", "objects"))  # type: ignore[arg-type]
    for note in outcome.notes:
        warn(note)
    code = 1 if outcome.refused else 0
    if arguments.json:
        print_json(_json(outcome, access.url, arguments.dry_run), None)
        return code
    _tell(outcome, access.url, arguments)
    return code


def _request(arguments: Namespace) -> "PushRequest":
    """The request to push everything that ships with this version.

    Raises:
        UsageError: an option is wrong; the line names it.
    """
    from dashboards.build.shipped import load_dashboards
    from dashboards.rules.alerts import alerts
    from wattlens.grafana.access import address
    from wattlens.grafana.push_plan import PushRequest

    folder = " ".join(arguments.folder.split())
    if not folder or len(folder) > _TITLE_LIMIT or not folder.isprintable():
        raise UsageError(
            f"--folder: expected a title such as Wattlens, of at most {_TITLE_LIMIT} characters, got {arguments.folder[:60]!r}"
        )
    if not _UID.fullmatch(arguments.datasource):
        raise UsageError(f"--datasource: expected a uid of letters, digits, '-' and '_', got {arguments.datasource[:60]!r}")
    if arguments.prometheus_url is not None:
        address(arguments.prometheus_url, "--prometheus-url")
    rules = alerts() if arguments.alerts else None
    return PushRequest(
        folder, load_dashboards(), rules, arguments.datasource, arguments.prometheus_url, arguments.editable_alerts
    )


def _tell(outcome: "PushResult", url: str, arguments: Namespace) -> None:
    written = {*outcome.written}
    would = [each for each in outcome.changes if each.state in ("create", "update")]
    if arguments.dry_run or outcome.stopped:
        for each in would:
            print(f"would {each.state} {_describe_change(each)}")
    for each in outcome.changes:
        if (each.kind, each.uid) in written:
            print(f"{'overwritten' if each.state == 'edited' else each.state + 'd'} {_describe_change(each)}")
        elif each.state in ("edited", "locked"):
            print(f"{each.state} {_describe_change(each)}")
            for detail in each.details:
                print(f"  {printable(detail)}")
    same = sum(each.state == "same" for each in outcome.changes)
    where = f"the folder {outcome.plan.folder_title} of {url}"
    if outcome.stopped:
        print(
            f"Nothing was written to {where}, because objects were edited in Grafana. Push with --keep-edited, or with "
            "--overwrite: Grafana keeps earlier versions of a dashboard."
        )
    elif arguments.dry_run:
        print(f"{len(would)} would change, {same} unchanged in {where}")
    else:
        print(f"{len(written)} changed, {same} unchanged in {where}")


def _json(outcome: "PushResult", url: str, dry: bool) -> dict[str, object]:
    written = {*outcome.written}
    return {
        "grafana": {"url": url, "version": outcome.plan.version},
        "folder": {"uid": outcome.plan.folder_uid, "title": outcome.plan.folder_title},
        "dry_run": dry,
        "stopped": outcome.stopped,
        "changed": len(written),
        "unchanged": sum(each.state == "same" for each in outcome.changes),
        "refused": len(outcome.refused),
        "changes": [asdict(each) | {"written": (each.kind, each.uid) in written} for each in outcome.changes],
        "notes": outcome.notes,
    }


def _describe_change(change: "ObjectChange") -> str:
    title = "" if change.title == change.uid else f" ({change.title})"
    return printable(f"{change.kind} {change.uid}{title}{': ' * bool(change.reason)}{change.reason}")
