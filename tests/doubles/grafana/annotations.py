"""Annotations of the Grafana double: instants and regions with text and tags, found by time and by all of some tags."""

from typing import Any, Final

from tests.doubles.grafana.api import Asked, Needed, RefusedError, Route

_READ: Final = Needed("Viewer", "annotations:read")
_CREATE: Final = Needed("Editor", "annotations:create")


class Annotations:
    """Of the organization, so that any dashboard that asks for their tags shows them."""

    def __init__(self) -> None:
        self.all: dict[int, dict[str, Any]] = {}

    def route(self, method: str, parts: list[str]) -> Route | None:
        """What serves a path; None: nothing here does."""
        match method, parts:
            case "GET", ["annotations"]:
                return _READ, self._find
            case "POST", ["annotations"]:
                return _CREATE, self._add
        return None

    def _find(self, asked: Asked) -> tuple[int, Any]:
        tags, limit = set(asked.query.get("tags", [])), asked.number("limit", 100)
        begin, end = asked.number("from"), asked.number("to")
        matches = [
            each
            for each in self.all.values()
            if tags <= set(each["tags"]) and (not (begin and end) or (each["time"] <= end and each["timeEnd"] >= begin))
        ]
        return 200, sorted(matches, key=lambda each: (-each["timeEnd"], -each["time"], -each["id"]))[:limit]

    def _add(self, asked: Asked) -> tuple[int, Any]:
        body = asked.object()
        text = body.get("text")
        if not isinstance(text, str) or not text:
            raise RefusedError(400, "Failed to save annotation: text field should not be empty")
        begin, end, tags = body.get("time") or 0, body.get("timeEnd") or 0, body.get("tags") or []
        if not all(isinstance(each, int) for each in (begin, end)) or not all(isinstance(tag, str) for tag in tags):
            raise RefusedError(400, "bad request data")
        number = max(self.all, default=0) + 1
        first, last = sorted((begin, end or begin))
        self.all[number] = {
            "id": number, "alertId": 0, "dashboardId": 0, "dashboardUID": None, "panelId": 0, "userId": 0, "newState": "",
            "prevState": "", "time": first, "timeEnd": last, "text": text, "tags": tags, "login": "", "data": {},
        }  # fmt: skip
        return 200, {"message": "Annotation added", "id": number}
