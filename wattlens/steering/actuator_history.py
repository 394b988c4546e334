"""What the actuator did by itself or for others, as rows of the ledger: an expired lease, the kill switch, a sweep, a restart.

The governor logs what it asked for; the rest only the actuator knows, and keeps until it is fetched. How far it was fetched is
on disk, so that nothing is told twice.
"""

import json
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvfs.actuator.client import ActuatorClient, ActuatorError
from energy_agent.core.energy import Action

log = logging.getLogger("wattlens.dvfs")
EVERY_S = 5.0
_PAGES = 32  # at once
_NAME = "wattlens"


class ActuatorRows:
    """Fetched by the governor's thread. Without an actuator there are none.

    A row counts as told only when the next ones are fetched, seconds later: by then the ledger has committed it. What is told
    twice after a kill is booked once, since equal rows are one row.
    """

    def __init__(self, socket: Path, state: Path) -> None:
        self._client = ActuatorClient(socket, name=f"{_NAME} history", timeout_s=2.0)
        self._file = state / "actuator-rows.json"
        self._name, self._number = self._kept = self._read()
        self._own = ""  # how the actuator names the governor of this process
        self._next_s = 0.0

    def fetch(self) -> list[Action]:
        """Rows since the last call, at most every few seconds."""
        if time.monotonic() < self._next_s:
            return []
        self._next_s = time.monotonic() + EVERY_S
        self._keep()
        found: list[Action] = []
        try:
            self._own = self._own or str(self._client.hello()["holder"]).replace(f"{_NAME} history", _NAME, 1)
            for _ in range(_PAGES):
                name, rows = self._client.history(self._number)
                if name != self._name:  # another numbering: the actuator's state folder is new
                    began, self._name, self._number = self._number, name, 0
                    if began:
                        continue
                if not rows:
                    break
                found += [action for row in rows if (action := _action(row, self._own)) is not None]
                self._number = max(int(row["number"]) for row in rows)
        except (ActuatorError, KeyError, TypeError, ValueError):
            self._client.close()
        return found

    def close(self) -> None:
        """Hang up; what was fetched is handed over."""
        self._keep()
        self._client.close()

    def _read(self) -> tuple[str, int]:
        with suppress(OSError, ValueError, TypeError, KeyError):
            told = json.loads(self._file.read_text())
            return str(told["name"]), int(told["number"])
        return "", 0

    def _keep(self) -> None:
        if (self._name, self._number) == self._kept:
            return
        draft = self._file.with_suffix(".new")
        try:
            draft.write_text(json.dumps({"name": self._name, "number": self._number}))
            draft.replace(self._file)
            self._kept = self._name, self._number
        except OSError as error:
            log.warning("%s: cannot write how far the actuator was heard: %s", self._file, error.strerror)


def _action(row: dict[str, Any], own: str) -> Action | None:
    """A row of the ledger; None for what the governor has told itself."""
    holder, cause = str(row["holder"]), str(row["cause"])
    if cause == "request" and holder == own:
        return None
    setting = json.dumps({str(row["knob"]): row["value"]}, sort_keys=True, separators=(",", ":"))
    outcome = f"{row['outcome']}: {cause}, {holder}"
    return Action(
        int(row["utc_ns"]), str(row["device"])[:96], "actuator", str(row["action"])[:16], setting[:200], outcome[:200]
    )
