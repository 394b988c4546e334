"""Uploads folder, data source, dashboards and alert rules to Grafana without losing edits."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import wattlens
from dashboards.push.alert_rules import normal, same
from dashboards.push.content import content, digest, message
from dashboards.push.difference import differences
from dashboards.push.plan import ObjectChange
from wattlens.grafana.client import Grafana, GrafanaError
from wattlens.grafana.push_plan import RULES, Progress, PushPlan, PushRequest, plan_push

Edits = Literal["stop", "overwrite", "keep"]
"""What becomes of objects that somebody edited: nothing at all is written; they are written over; they alone stay."""
_EDITABLE: Final = {"X-Disable-Provenance": "true"}  # people may change the rule in Grafana too
_FAST: Final = "was saved in Grafana during the push and is unchanged; push again"


@dataclass(slots=True)
class PushResult:
    """Result of a push.

    Args:
        plan: the state before the push, and its changes.
        written: (kind, uid) of what was created or changed.
        refused: what is not as built, and stays so.
        stopped: nothing was written at all, because somebody's edits are in the way.
    """

    plan: PushPlan
    changes: list[ObjectChange]
    written: list[tuple[str, str]] = field(default_factory=list)
    refused: list[ObjectChange] = field(default_factory=list)
    stopped: bool = False
    notes: list[str] = field(default_factory=list)


def push(
    grafana: Grafana, request: PushRequest, edits: Edits = "stop", *, dry: bool = False, progress: Progress | None = None
) -> PushResult:
    """Look, and then write what differs.

    Raises:
        GrafanaError: it could not be read, or refused to write; the line says how much was written before.
        WattlensError: see `plan_push`.
    """
    quiet: Progress = progress or (lambda _done, _all: None)
    plan = plan_push(grafana, request, quiet)
    outcome = PushResult(plan, plan.changes, notes=list(plan.notes))
    locked = [each for each in plan.changes if each.state == "locked"]
    edited = [each for each in plan.changes if each.state == "edited"]
    outcome.refused = [*locked, *(edited if edits == "stop" else [])]
    outcome.stopped = edits == "stop" and bool(edited)
    if dry or outcome.stopped:
        return outcome
    todo = [
        each for each in plan.changes if each.state in ("create", "update") or (each.state == "edited" and edits == "overwrite")
    ]
    for done, change in enumerate(todo):
        quiet(done, len(todo))
        try:
            _write(grafana, request, plan, change, outcome)
        except GrafanaError as error:
            late = _restate_change(change, error)
            if late is None:
                before = f"; {len(outcome.written)} of {len(todo)} objects were written before" if outcome.written else ""
                raise GrafanaError(f"{change.kind} {change.uid}: {error}{before}", error.status, error.word) from None
            outcome.changes[outcome.changes.index(change)] = late
            outcome.refused.append(late)
            continue
        outcome.written.append((change.kind, change.uid))
    return outcome


def _write(grafana: Grafana, request: PushRequest, plan: PushPlan, change: ObjectChange, outcome: PushResult) -> None:
    match change.kind:
        case "folder":
            grafana.send("create a folder", "POST", "/folders", {"title": change.title, "uid": change.uid})
        case "datasource":
            _write_source(grafana, request, plan)
        case "dashboard":
            built = content(request.dashboards[change.uid])
            version = plan.dashboards[change.uid].version if change.uid in plan.dashboards else 0
            mark = message(wattlens.__version__, version + 1, digest(built))
            built |= {"id": None, "version": version}  # a save over another version has the status 412
            body = {"dashboard": built, "folderUid": plan.folder_uid, "message": mark, "overwrite": False}
            grafana.send("save a dashboard", "POST", "/dashboards/db", body)
        case "alert":
            built = plan.built_rules[change.uid]
            existing = plan.rules.get(change.uid)
            if existing is None:
                stored = grafana.send("create an alert rule", "POST", RULES, built, _EDITABLE if request.editable else {})
            else:  # what is locked for people stays so: Grafana refuses to unlock a rule
                headers = _EDITABLE if request.editable and not existing.get("provenance") else {}
                stored = grafana.send("change an alert rule", "PUT", f"{RULES}/{change.uid}", built, headers)
            outcome.notes += _otherwise(built, stored)


def _write_source(grafana: Grafana, request: PushRequest, plan: PushPlan) -> None:
    if plan.source is None:
        source = {"uid": request.source_uid, "name": request.source_name, "type": "prometheus", "access": "proxy"}
        body = {**source, "url": request.prometheus_url, "jsonData": {"httpMethod": "POST"}}
        grafana.send("create a data source", "POST", "/datasources", body)
    else:
        content = {key: value for key, value in plan.source.items() if key not in ("accessControl", "secureJsonFields")}
        content["url"] = request.prometheus_url
        grafana.send("change a data source", "PUT", f"/datasources/uid/{request.source_uid}", content)


def _otherwise(built: dict[str, Any], stored: dict[str, Any]) -> Iterable[str]:
    """A server that stores a rule otherwise than it was sent will look edited the next time: say so now."""
    if stored.get("data") and not same(built, stored):
        first = differences(normal(built), normal(stored), most=1)[0]
        yield (
            f"this Grafana stores alert rule {built['uid']} differently from the pushed one ({first}); the next push will "
            "report it as edited"
        )


def _restate_change(change: ObjectChange, error: GrafanaError) -> ObjectChange | None:
    """The change after Grafana reported that the object was modified in the meantime; None: another error."""
    if error.status == 412 and error.word == "version-mismatch":
        return replace(change, state="edited", reason=_FAST)
    if error.status == 412 and error.word == "name-exists":
        why = "cannot be created: the folder has another dashboard with this title; rename or delete that one"
        return replace(change, state="locked", reason=why)
    if error.status == 400 and "provisioned" in str(error):
        why = "is provisioned from a file on the Grafana server, so the API cannot change it: replace that file"
        return replace(change, state="locked", reason=why)
    if error.status == 409 and change.kind in ("datasource", "alert") and change.state != "create":
        return replace(change, state="edited", reason=_FAST)
    return None
