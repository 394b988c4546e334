"""Client of a Grafana server's HTTP API: the requests, and validation of each response before use.

Every object is named by its uid: numeric ids are off in Grafana 13.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from wattlens.grafana.access import GrafanaAccess
from wattlens.grafana.connection import NO_GRAFANA, GrafanaConnection, GrafanaError, one_line

_PAGE: Final = 500
_PAGES: Final = 20
_DEPTH: Final = 100
_RULES: Final = "/v1/provisioning/alert-rules"
_NOTHING: Final[Mapping[str, str]] = {}
_EDITABLE: Final = {"X-Disable-Provenance": "true"}


class Grafana:
    """A Grafana server.

    Raises:
        UsageError: the token's file cannot be read, or the CA's file.
        GrafanaError: from every method: not reached, not a Grafana, refused; one line that says what to do.
    """

    def __init__(self, access: GrafanaAccess) -> None:
        self._access, self._connection = access, GrafanaConnection(access)

    @property
    def url(self) -> str:
        """Its address."""
        return self._access.url.rstrip("/")

    def version(self) -> str:
        """Which version answers; '' where the server hides it. It needs no token."""
        health = self._ask("", "GET", "/health")
        if not isinstance(health, dict) or "database" not in health:
            raise GrafanaError(self._no_grafana())
        if health["database"] != "ok":
            raise GrafanaError(f"{self.url}: Grafana cannot use its own database now ({one_line(health['database'])})")
        return one_line(health.get("version", ""))

    def folder(self, uid: str) -> dict[str, Any] | None:
        """Return a folder; None if it does not exist, or this token may not see it."""
        return self._maybe("read folders", f"/folders/{_path(uid)}")

    def folders(self) -> list[dict[str, Any]]:
        """All folders at the root that this token may see."""
        return self._pages("read folders", "/folders", {})

    def create_folder(self, title: str, uid: str) -> dict[str, Any]:
        """A new folder at the root."""
        return self._object("create a folder", "POST", "/folders", {"title": title, "uid": uid})

    def dashboard(self, uid: str) -> dict[str, Any] | None:
        """Return a dashboard with its `meta`; None if it does not exist."""
        reply = self._maybe("read dashboards", f"/dashboards/uid/{_path(uid)}")
        if reply is not None and not (isinstance(reply.get("dashboard"), dict) and isinstance(reply.get("meta"), dict)):
            raise GrafanaError(self._no_grafana())
        return reply

    def latest_message(self, uid: str) -> str | None:
        """Return the message of a dashboard's latest version; None if it has none or this token may not read the history."""
        try:
            reply = self._ask("read a history", "GET", f"/dashboards/uid/{_path(uid)}/versions?limit=1")
        except GrafanaError as error:
            if error.status in (403, 404):
                return None
            raise
        listed = reply.get("versions") if isinstance(reply, dict) else reply  # a plain list before Grafana 11
        if not isinstance(listed, list):
            raise GrafanaError(self._no_grafana())
        message = listed[0].get("message") if listed and isinstance(listed[0], dict) else ""
        return message if isinstance(message, str) else ""

    def dashboards_in(self, folder_uid: str) -> list[str]:
        """The uids of all dashboards in a folder."""
        hits = self._pages("search", "/search", {"folderUIDs": folder_uid, "type": "dash-db"})
        return [
            hit["uid"] for hit in hits if isinstance(hit.get("uid"), str) and hit.get("folderUid", folder_uid) == folder_uid
        ]

    def save_dashboard(self, dashboard: Mapping[str, Any], folder_uid: str, version: int, message: str) -> dict[str, Any]:
        """Save over exactly this version; 0: it is new. Raises GrafanaError with the status 412 where somebody was faster."""
        body = {
            "dashboard": {**dashboard, "id": None, "version": version},
            "folderUid": folder_uid,
            "message": message,
            "overwrite": False,
        }
        return self._object("save a dashboard", "POST", "/dashboards/db", body)

    def source(self, uid: str) -> dict[str, Any] | None:
        """Return a data source; None if it does not exist."""
        return self._maybe("read data sources", f"/datasources/uid/{_path(uid)}")

    def create_source(self, source: Mapping[str, Any]) -> None:
        """A new data source."""
        self._object("create a data source", "POST", "/datasources", source)

    def update_source(self, uid: str, source: Mapping[str, Any]) -> None:
        """Put a data source in place of that with this uid, over the `version` that it names."""
        self._object("change a data source", "PUT", f"/datasources/uid/{_path(uid)}", source)

    def rules(self) -> list[dict[str, Any]]:
        """Every Grafana-managed alert rule that this token may see."""
        return self._list("read alert rules", _RULES)

    def create_rule(self, rule: Mapping[str, Any], editable: bool) -> dict[str, Any]:
        """A new alert rule. `editable`: people may change it in Grafana too."""
        return self._object("create an alert rule", "POST", _RULES, rule, _EDITABLE if editable else _NOTHING)

    def update_rule(self, rule: Mapping[str, Any], editable: bool) -> dict[str, Any]:
        """Put a rule in place of that with its uid."""
        path = f"{_RULES}/{_path(str(rule['uid']))}"
        return self._object("change an alert rule", "PUT", path, rule, _EDITABLE if editable else _NOTHING)

    def annotations(self, begin_ms: int, end_ms: int, tag: str, limit: int) -> list[dict[str, Any]]:
        """At most `limit` annotations with a tag that touch a time, both ends included."""
        query = urlencode({"from": begin_ms, "to": end_ms, "tags": tag, "limit": limit})
        return self._list("read annotations", f"/annotations?{query}")

    def add_annotation(self, begin_ms: int, end_ms: int, tags: list[str], text: str) -> None:
        """An annotation of the organization: whichever dashboard asks for its tags shows it."""
        body = {"time": begin_ms, "timeEnd": end_ms, "tags": tags, "text": text}
        self._object("create annotations", "POST", "/annotations", body)

    def _pages(self, what: str, path: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        objects: list[dict[str, Any]] = []
        for page in range(1, _PAGES + 1):
            some = self._list(what, f"{path}?{urlencode({**params, 'limit': _PAGE, 'page': page})}")
            objects += some
            if len(some) < _PAGE:
                return objects
        raise GrafanaError(f"{self.url}: more than {_PAGES * _PAGE} objects at {path}; is this the right folder?")

    def _maybe(self, what: str, path: str) -> dict[str, Any] | None:
        try:
            return self._object(what, "GET", path)
        except GrafanaError as error:
            if error.status == 404:
                return None
            raise

    def _object(
        self, what: str, method: str, path: str, document: object = None, headers: Mapping[str, str] = _NOTHING
    ) -> dict[str, Any]:
        reply = self._ask(what, method, path, document, headers)
        if not isinstance(reply, dict):
            raise GrafanaError(self._no_grafana())
        return reply

    def _list(self, what: str, path: str) -> list[dict[str, Any]]:
        reply = self._ask(what, "GET", path)
        if not isinstance(reply, list) or not all(isinstance(each, dict) for each in reply):
            raise GrafanaError(self._no_grafana())
        return reply

    def _ask(self, what: str, method: str, path: str, document: object = None, headers: Mapping[str, str] = _NOTHING) -> Any:
        reply = self._connection.request(what, method, path, document, headers)
        if not _shallow(reply):
            raise GrafanaError(self._no_grafana())
        return reply

    def _no_grafana(self) -> str:
        return f"{self.url}: {NO_GRAFANA}"


def _shallow(value: Any) -> bool:
    """Whether JSON is as flat as Grafana's is: what walks through it later recurses."""
    level = [value]
    for _ in range(_DEPTH):
        if not level:
            return True
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return not level


def _path(uid: str) -> str:
    return quote(uid, safe="")
