"""Content of a dashboard without a Grafana server's additions, and the record that a push leaves in its history. Pure.

A push writes into the version's message the hash of the built dashboard and the number of its new version. The present
dashboard is the pushed one if its content has that hash or if it still is that version: a server may migrate stored content to
a newer schema, and a store can copy the message of a version to the next one.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SERVER_KEYS: Final = ("id", "version", "iteration")
"""Top-level keys of a dashboard that are the server's own."""
_MARK: Final = re.compile(r"Wattlens \S{1,40} version (\d{1,12}) sha256:([0-9a-f]{64})\b")


@dataclass(frozen=True, slots=True)
class PushedVersion:
    """What a push recorded in Grafana: the version number and the SHA-256 of the content."""

    version: int
    digest: str


def content(dashboard: Mapping[str, Any]) -> dict[str, Any]:
    """A dashboard without the server's own keys."""
    return {key: value for key, value in dashboard.items() if key not in SERVER_KEYS}


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form; 1.0 and 1 are the same number, as they are to Grafana."""
    canonical = json.dumps(_plain(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def message(program_version: str, version: int, digest: str) -> str:
    """The message of the version that a push writes."""
    return f"Wattlens {program_version} version {version} sha256:{digest} (wattlens dashboards push)"


def read_mark(message: str) -> PushedVersion | None:
    """The mark in a version's message; None: no push wrote that version."""
    match = _MARK.match(message)
    return PushedVersion(int(match[1]), match[2]) if match else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
