"""The action of a push for each object, from the built content and the content in Grafana. Pure.

An object that was changed in Grafana since the last push is `edited`, and a push overwrites it only on request. An object
provisioned from a file on the Grafana server is `locked`: the API refuses to change it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dashboards.push.alert_rules import as_pushed, normal, same
from dashboards.push.content import PushedVersion, content, digest, read_mark
from dashboards.push.difference import differences

Kind = Literal["folder", "datasource", "dashboard", "alert"]
State = Literal["same", "create", "update", "edited", "locked"]


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """The action for one Grafana object.

    Args:
        reason: why it is edited or locked; '' otherwise.
        details: differences from the built object.
    """

    kind: Kind
    uid: str
    title: str
    state: State
    reason: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GrafanaDashboard:
    """A dashboard in Grafana.

    Args:
        content: as the server has it.
        version: its number.
        folder_uid: '' at the root.
        folder: title of its folder.
        from_file: provisioned from a file on the server, and locked.
        message: of its latest version; None: the history cannot be read.
        author: who saved it last, if known.
        newer: stored in Grafana's dashboard schema v2, which its `/api` does not return; `content` is then empty.
    """

    content: Mapping[str, Any]
    version: int
    folder_uid: str
    folder: str
    from_file: bool = False
    message: str | None = None
    author: str = ""
    newer: bool = False


def plan_board(built: Mapping[str, Any], existing: GrafanaDashboard | None, folder_uid: str) -> ObjectChange:
    """The action for a dashboard."""
    uid, title = str(built["uid"]), str(built["title"])
    if existing is None:
        return ObjectChange("dashboard", uid, title, "create")
    if existing.newer:
        why = "was saved in Grafana with dashboard schema v2, which its /api does not return: delete it there, push again"
        return ObjectChange("dashboard", uid, title, "locked", why)
    ours, theirs = content(built), content(existing.content)
    wanted, mark = digest(ours), read_mark(existing.message or "")
    pushed = mark is not None and is_pushed(mark, digest(theirs), existing.version)
    moved = existing.folder_uid != folder_uid
    equal = digest(theirs) == wanted or (mark is not None and pushed and mark.digest == wanted)
    if equal and (not moved or existing.from_file):
        return ObjectChange("dashboard", uid, title, "same")
    details = differences(ours, theirs) if not equal else ()
    if existing.from_file:
        why = "is provisioned from a file on the Grafana server, and Grafana refuses to change it: replace that file"
        return ObjectChange("dashboard", uid, title, "locked", why, details)
    if moved:
        return ObjectChange(
            "dashboard", uid, title, "edited", f"was moved to the folder {existing.folder or 'at the root'}", details
        )
    if pushed:
        return ObjectChange("dashboard", uid, title, "update", details=details)
    if existing.message is None:
        why = "differs, and this token may not read the author of the last change"
    elif mark is None and not existing.message and existing.version <= 1:
        why = "was not pushed by Wattlens"
    else:
        by = f" by {existing.author}" if existing.author else ""
        why = f"was edited in Grafana{by} since the last push (version {existing.version})"
    return ObjectChange("dashboard", uid, title, "edited", why, details)


def is_pushed(mark: PushedVersion, digest: str, version: int) -> bool:
    """Whether the present content and version match the mark that a push wrote into the history."""
    return mark.digest == digest or mark.version == version


def plan_rule(built: Mapping[str, Any], existing: Mapping[str, Any] | None) -> ObjectChange:
    """The action for an alert rule."""
    uid, title = str(built["uid"]), str(built["title"])
    if existing is None:
        return ObjectChange("alert", uid, title, "create")
    moved = existing.get("folderUID") != built["folderUID"]
    if same(built, existing) and not moved:
        return ObjectChange("alert", uid, title, "same")
    details = differences(normal(built), normal(existing))
    if existing.get("provenance") not in (None, "", "api"):
        why = f"comes from {existing.get('provenance')} provisioning, and Grafana refuses to change it: change it there"
        return ObjectChange("alert", uid, title, "locked", why, details)
    if moved:
        return ObjectChange("alert", uid, title, "edited", "was moved to another folder", details)
    if as_pushed(existing):
        return ObjectChange("alert", uid, title, "update", details=details)
    return ObjectChange("alert", uid, title, "edited", "has been edited in Grafana since the last push", details)


def plan_source(uid: str, name: str, url: str | None, existing: Mapping[str, Any] | None) -> ObjectChange:
    """The action for the data source; `url` None: it has to exist, and is used unchanged.

    Raises:
        LookupError: it does not exist and no address of Prometheus is given, or it is not a Prometheus.
    """
    if existing is None:
        if url is None:
            raise LookupError(f"Grafana has no data source with the uid {uid!r}")
        return ObjectChange("datasource", uid, name, "create")
    title = str(existing.get("name", uid))
    if existing.get("type") != "prometheus":
        raise LookupError(f"data source {uid!r} ({title}): expected type 'prometheus', got {existing.get('type')!r}")
    if url is None or str(existing.get("url", "")).rstrip("/") == url.rstrip("/"):
        return ObjectChange("datasource", uid, title, "same")
    details = differences({"url": url}, {"url": existing.get("url", "")})
    if existing.get("readOnly") is True:
        why = "is provisioned from a file on the Grafana server, and Grafana refuses to change it: change its url there"
        return ObjectChange("datasource", uid, title, "locked", why, details)
    return ObjectChange("datasource", uid, title, "edited", "has another URL", details)
