"""Data sources of the Grafana double, by uid; those from a file are read-only, and numeric ids are off, as in Grafana 13."""

import copy
from typing import Any, Final
from urllib.parse import urlsplit

from tests.doubles.grafana.api import Act, Asked, Needed, RefusedError, Route, uid_or_new

_READ: Final = Needed("Admin", "datasources:read")
_WRITE: Final = Needed("Admin", "datasources:write")
_CREATE: Final = Needed("Admin", "datasources:create")


class DataSources:
    """Data sources of queries. Secrets are stored separately and never returned."""

    def __init__(self) -> None:
        self.sources: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, str]] = {}

    def route(self, method: str, parts: list[str]) -> Route | None:
        """What serves a path; None: nothing here does."""
        match method, parts:
            case "POST", ["datasources"]:
                return _CREATE, self._add
            case "GET", ["datasources", "uid", uid]:
                return _READ, lambda _: (200, self._describe(uid))
            case "PUT", ["datasources", "uid", uid]:
                return _WRITE, self._update(uid)
            case _, ["datasources", number] if number.isdigit():
                return _READ, lambda _: _by_id()
        return None

    def provision(self, uid: str, name: str, url: str, kind: str = "prometheus") -> None:
        """A data source from a file."""
        _, answer = self._add(Asked(body={"uid": uid, "name": name, "type": kind, "access": "proxy", "url": url}))
        self.sources[answer["datasource"]["uid"]]["readOnly"] = True

    def _describe(self, uid: str) -> dict[str, Any]:
        if uid not in self.sources:
            raise RefusedError(404, "Data source not found")
        return self.sources[uid] | {"secureJsonFields": dict.fromkeys(self.secrets[uid], True), "accessControl": {}}

    def _add(self, asked: Asked) -> tuple[int, Any]:
        body = copy.deepcopy(asked.object())
        if not all(isinstance(body.get(key), str) and body[key] for key in ("name", "type", "access")):
            raise RefusedError(400, "bad request data")
        self._valid(body)
        number = len(self.sources) + 1
        uid = uid_or_new(body.get("uid"), number)
        if uid in self.sources:
            raise RefusedError(409, "data source with the same uid already exists")
        if any(source["name"] == body["name"] for source in self.sources.values()):
            raise RefusedError(409, "data source with the same name already exists")
        self.secrets[uid] = body.pop("secureJsonData", None) or {}
        self.sources[uid] = {
            "id": number, "uid": uid, "orgId": 1, "typeLogoUrl": "", "user": "", "database": "", "basicAuth": False,
            "withCredentials": False, "isDefault": False, "jsonData": {}, "readOnly": False, "version": 1, "url": "",
        } | body | {"uid": uid}  # fmt: skip
        return 200, {"id": number, "message": "Datasource added", "name": body["name"], "datasource": self._describe(uid)}

    def _update(self, uid: str) -> Act:
        def act(asked: Asked) -> tuple[int, Any]:
            body, now = copy.deepcopy(asked.object()), self._describe(uid)
            self._valid(body)
            if now["readOnly"]:
                raise RefusedError(403, "Cannot update read-only data source")
            if body.get("version") and body["version"] != now["version"]:
                raise RefusedError(409, "Datasource has already been updated by someone else. Please reload and try again")
            self.secrets[uid] |= body.pop("secureJsonData", None) or {}
            kept = {key: now[key] for key in ("id", "orgId", "readOnly")}
            updates = {key: value for key, value in body.items() if key not in ("secureJsonFields", "accessControl")}
            self.sources[uid] = {"typeLogoUrl": ""} | updates | kept | {"uid": uid, "version": now["version"] + 1}
            return 200, {"message": "Datasource updated", "name": body["name"], "datasource": self._describe(uid)}

        return act

    @staticmethod
    def _valid(body: dict[str, Any]) -> None:
        url = body.get("url") or ""
        if url and (not isinstance(url, str) or not urlsplit(url if "://" in url else f"http://{url}").hostname):
            raise RefusedError(400, "Validation error, invalid URL")


def _by_id() -> tuple[int, Any]:
    raise RefusedError(404, "Data source APIs by numeric id are disabled")
