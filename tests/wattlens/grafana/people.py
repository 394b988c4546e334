"""People at a Grafana: they see and save dashboards by the API that its own pages use, and know nothing of Wattlens."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.doubles.grafana.service import GrafanaService


class Person:
    """Somebody with a role, at a Grafana."""

    def __init__(self, service: GrafanaService, role: str = "Editor") -> None:
        self.url, self.token = service.url, service.token(role)  # type: ignore[arg-type]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a request."""
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                raw = answer.read()
                return answer.status, json.loads(raw) if raw else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"{}")

    def board(self, uid: str) -> dict[str, Any]:
        """What they see."""
        status, response = self.ask("GET", f"/api/dashboards/uid/{uid}")
        assert status == 200, response
        return response

    def save(self, uid: str, change: Callable[[dict[str, Any]], object], message: str = "", folder: str | None = None) -> None:
        """Open a dashboard, change it, save it."""
        response = self.board(uid)
        board = response["dashboard"]
        change(board)
        to = response["meta"]["folderUid"] if folder is None else folder
        body = {"dashboard": board, "folderUid": to, "message": message, "overwrite": False}
        status, answer = self.ask("POST", "/api/dashboards/db", body)
        assert status == 200, answer
