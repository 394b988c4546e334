"""Compares the requested content with Grafana and plans a push. Read-only."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from dashboards.push.alert_rules import STAMP, rule
from dashboards.push.content import read_mark
from dashboards.push.plan import GrafanaDashboard, ObjectChange, plan_board, plan_rule, plan_source
from dashboards.rules.alerts import Alert
from energy_agent.core.errors import WattlensError
from wattlens.grafana.client import Grafana, GrafanaError, one_line

UID_LIMIT: Final = 40
OTHERS_MAX: Final = 200
RULES: Final = "/v1/provisioning/alert-rules"
_NOT_ACCEPTABLE: Final = 406  # what Grafana 12 says where a dashboard is stored in schema v2; Grafana 13 converts it
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What a push uploads.

    Args:
        folder: title of a folder at the root.
        dashboards: by uid.
        alerts: to be Grafana-managed rules; None: leave alerts alone.
        source_uid: the Prometheus data source that alert rules ask.
        prometheus_url: where that source is to find Prometheus; None: it has to be there, and is used as it is.
        editable: people may change alert rules in Grafana too.
    """

    folder: str
    dashboards: Mapping[str, Mapping[str, Any]]
    alerts: tuple[Alert, ...] | None = None
    source_uid: str = "prometheus"
    prometheus_url: str | None = None
    editable: bool = False

    @property
    def source_name(self) -> str:
        """What the data source is called where it has to be made."""
        return "Prometheus" if self.source_uid == "prometheus" else self.source_uid


@dataclass(slots=True)
class PushPlan:
    """The changes that a push would make, and the objects that it would change.

    Args:
        folder_uid: uid of the folder, or its future uid if it does not exist yet.
        changes: the changes that a push would make, in order.
        dashboards: existing dashboards by uid.
        rules: existing alert rules by uid.
        built_rules: alert rules as they should be.
        source: the data source, if it was requested and exists.
        notes: notes for the user.
    """

    version: str
    folder_uid: str
    folder_title: str
    changes: list[ObjectChange] = field(default_factory=list)
    dashboards: dict[str, GrafanaDashboard] = field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    built_rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    source: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)


def plan_push(grafana: Grafana, request: PushRequest, progress: Progress) -> PushPlan:
    """Compare everything that a push would change.

    Raises:
        GrafanaError: it cannot be read.
        WattlensError: several folders of that title, or a data source that is not there or not Prometheus.
    """
    version = grafana.version()
    folder = _folder(grafana, request.folder)
    uid = str(folder["uid"]) if folder else folder_uid(request.folder)
    result = PushPlan(version, uid, one_line(folder["title"]) if folder else request.folder)
    if folder is None:
        result.changes.append(ObjectChange("folder", uid, request.folder, "create"))
    elif result.folder_title != request.folder:
        result.notes.append(
            f"the folder {request.folder} ({uid}) is called {result.folder_title} in Grafana and keeps that name"
        )
    if request.alerts is not None or request.prometheus_url is not None:
        _look_at_source(grafana, request, result)
    total = len(request.dashboards)
    for done, (board_uid, built) in enumerate(sorted(request.dashboards.items())):
        progress(done, total)
        existing = read_dashboard(grafana, board_uid)
        if existing is not None:
            result.dashboards[board_uid] = existing
        result.changes.append(plan_board(built, existing, uid))
    if request.alerts is not None:
        _look_at_rules(grafana, request, result)
    if folder is not None:
        _note_former_dashboards(grafana, request, result)
    return result


def folder_uid(title: str) -> str:
    """The uid of a folder that is made for a title: `Wattlens` -> `wattlens`."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:UID_LIMIT] or "wattlens"


def read_dashboard(grafana: Grafana, uid: str) -> GrafanaDashboard | None:
    """Read a dashboard and its history from Grafana."""
    try:
        full = grafana.find("read dashboards", f"/dashboards/uid/{uid}")
    except GrafanaError as error:
        if error.status == _NOT_ACCEPTABLE:
            return GrafanaDashboard({}, 0, "", "", newer=True)
        raise
    if full is None:
        return None
    board, meta = full.get("dashboard"), full.get("meta")
    if not isinstance(board, dict) or not isinstance(meta, dict):
        raise grafana.foreign_error()
    version = meta.get("version", board.get("version", 0))
    return GrafanaDashboard(
        board,
        version if isinstance(version, int) else 0,
        str(meta.get("folderUid") or ""),
        str(meta.get("folderTitle") or ""),
        meta.get("provisioned") is True,
        read_message(grafana, uid),
        str(meta.get("updatedBy") or ""),
    )


def read_message(grafana: Grafana, uid: str) -> str | None:
    """Read the message of a dashboard's latest version; None if it has none or this token may not read the history."""
    try:
        reply = grafana.request("read a history", "GET", f"/dashboards/uid/{quote(uid, safe='')}/versions?limit=1")
    except GrafanaError as error:
        if error.status in (403, 404):
            return None
        raise
    versions = reply.get("versions") if isinstance(reply, dict) else reply  # a plain list before Grafana 11
    if not isinstance(versions, list):
        raise grafana.foreign_error()
    message = versions[0].get("message") if versions and isinstance(versions[0], dict) else ""
    return message if isinstance(message, str) else ""


def _folder(grafana: Grafana, title: str) -> dict[str, Any] | None:
    """By the uid that a push gives it, else by its title: people and files make folders too."""
    folder = grafana.find("read folders", f"/folders/{folder_uid(title)}")
    if folder is not None and isinstance(folder.get("uid"), str) and isinstance(folder.get("title"), str):
        return folder
    folders = grafana.pages("read folders", "/folders")
    named = [f for f in folders if f.get("title") == title and isinstance(f.get("uid"), str)]
    if len(named) > 1:
        raise WattlensError(f"{grafana.url}: has {len(named)} folders called {title}; choose another with --folder")
    return named[0] if named else None


def _look_at_source(grafana: Grafana, request: PushRequest, result: PushPlan) -> None:
    result.source = grafana.find("read data sources", f"/datasources/uid/{request.source_uid}")
    try:
        change = plan_source(request.source_uid, request.source_name, request.prometheus_url, result.source)
    except LookupError as error:
        raise WattlensError(
            f"{grafana.url}: {one_line(error)}; select one with --datasource, or give the address of Prometheus with "
            "--prometheus-url"
        ) from None
    result.changes.append(change)


def _look_at_rules(grafana: Grafana, request: PushRequest, result: PushPlan) -> None:
    assert request.alerts is not None
    existing = {str(each.get("uid")): each for each in grafana.objects("read alert rules", RULES)}
    for alert in request.alerts:
        built = rule(alert, result.folder_uid, request.source_uid)
        result.built_rules[alert.name] = built
        if alert.name in existing:
            result.rules[alert.name] = existing[alert.name]
        result.changes.append(plan_rule(built, existing.get(alert.name)))
    for uid, each in sorted(existing.items()):
        annotations = each.get("annotations")
        if uid not in result.built_rules and isinstance(annotations, dict) and STAMP in annotations:
            result.notes.append(f"alert rule {uid} is no longer part of the build; delete it in Grafana if you do not need it")


def _note_former_dashboards(grafana: Grafana, request: PushRequest, result: PushPlan) -> None:
    inside = result.folder_uid
    hits = grafana.pages("search", "/search", folderUIDs=inside, type="dash-db")
    uids = {hit["uid"] for hit in hits if isinstance(hit.get("uid"), str) and hit.get("folderUid", inside) == inside}
    others = sorted(uids - {*request.dashboards})
    if len(others) > OTHERS_MAX:
        result.notes.append(
            f"the folder has {len(others)} dashboards that are not part of the build; only {OTHERS_MAX} were compared"
        )
    for uid in others[:OTHERS_MAX]:
        if read_mark(read_message(grafana, uid) or "") is not None:
            result.notes.append(f"dashboard {uid} is no longer part of the build; delete it in Grafana if you do not need it")
