"""What the parts of the Grafana double share: a request, what it needs, and how Grafana refuses."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

_UID: Final = re.compile(r"[a-zA-Z0-9\-_]*")
UID_LIMIT: Final = 40


class RefusedError(Exception):
    """A request that Grafana refuses: an HTTP status, and a body with `message` and any further fields."""

    def __init__(self, code: int, message: str, **more: object) -> None:
        super().__init__(message)
        self.code, self.body = code, {"message": message, **more}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    query: dict[str, list[str]] = field(default_factory=dict)
    body: Any = None
    headers: Any = None

    def number(self, name: str, otherwise: int = 0) -> int:
        """Return a number from the query; like Grafana, treat an invalid number as missing."""
        text = self.query.get(name, [""])[0]
        return int(text) if text.isascii() and text.isdigit() else otherwise

    def object(self) -> dict[str, Any]:
        """Return the body, which must be an object.

        Raises:
            RefusedError: the body is not an object.
        """
        if not isinstance(self.body, dict):
            raise RefusedError(400, "bad request data")
        return self.body


@dataclass(frozen=True, slots=True)
class Needed:
    """What a route needs: the least basic role that has the permission by default, and the permission's name."""

    role: Literal["Viewer", "Editor", "Admin"]
    action: str


Act = Callable[[Asked], tuple[int, Any]]
Route = tuple[Needed, Act]


def uid_or_new(uid: object, number: int) -> str:
    """A uid as asked for, or one that Grafana makes.

    Raises:
        RefusedError: no uid.
    """
    if uid is None or uid == "":
        return f"made{number:010}"
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise RefusedError(400, "uid contains illegal characters")
    if len(uid) > UID_LIMIT:
        raise RefusedError(400, "uid too long, max 40 characters")
    return uid


def now_text() -> str:
    """This instant as Grafana writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
