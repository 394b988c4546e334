"""What was set and put back, as rows of the ledger: the actuator records it once, numbered, and this reads it.

It also has what happened while no agent was there: an expired lease, the kill switch, a sweep, a restart. How far the rows were
read is committed together with them, so each is in the ledger once.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvfs.actuator.client import ActuatorClient, ActuatorError
from dvfs.actuator.records.note import read_note
from energy_agent.core.energy import Action
from energy_agent.runtime.clock import storable_ns

EVERY_S = 5.0
_PAGES = 32  # at once
_SETTINGS = {"power": "power_limit_mw", "clock": "sm_clock_max_mhz"}  # knobs, in the words of a setting


class ActuatorRows:
    """Reads the rows in the governor's thread. Without an actuator it returns no rows."""

    def __init__(self, socket: Path, position: str) -> None:
        """Resume from a `position` that an earlier process handed over; "" starts without one."""
        self._client = ActuatorClient(socket, name="wattlens history", timeout_s=2.0)
        self._at = _position(position) or ("", 0)  # name of the numbering, and the last number that was read
        self._next_s = 0.0

    @property
    def position(self) -> str:
        """How far the rows were read, to be kept together with them."""
        name, number = self._at
        return json.dumps({"name": name, "number": number}) if name else ""

    def read(self, *, now: bool = False) -> list[Action]:
        """Rows since the last call, at most every few seconds unless they are needed `now`."""
        if not now and time.monotonic() < self._next_s:
            return []
        self._next_s = time.monotonic() + EVERY_S
        name, number = self._at
        actions: list[Action] = []
        try:
            for _ in range(_PAGES):
                numbering, rows = self._client.history(number)
                if numbering != name:  # the actuator's state folder is new
                    began, name, number = number, numbering, 0
                    if began:
                        continue
                if not rows:
                    break
                number = max(int(row["number"]) for row in rows)
                actions += [action for row in rows if (action := ledger_row(row)) is not None]
        except (ActuatorError, KeyError, TypeError, ValueError):
            self._client.close()
        self._at = name, number
        return actions

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def ledger_row(row: Mapping[str, Any]) -> Action | None:
    """A row of the actuator's history as one of the ledger; None: it is damaged, or a refusal that the governor records."""
    try:
        note = read_note(row.get("note"))
        cause, action, outcome = str(row["cause"]), str(row["action"])[:16], str(row["outcome"])
        policy, workload, why = "actuator", "", f"{cause}, {row['holder']}"
        if note is not None and note.policy:
            if action == "set" and outcome != "ok":
                return None
            policy, workload, why = note.policy, note.workload, note.reason if cause == "request" and note.reason else cause
        setting = _setting(str(row["knob"]), row["value"])
        t_ns = storable_ns(int(row["utc_ns"]))
        return Action(t_ns, str(row["device"])[:96], policy, action, setting, f"{outcome}: {why}"[:200], workload)
    except (KeyError, TypeError, ValueError):
        return None


def _setting(knob: str, value: Any) -> str:
    if knob == "clock" and isinstance(value, list) and len(value) == 2:
        value = value[1]
    return json.dumps({_SETTINGS.get(knob, knob): value}, sort_keys=True, separators=(",", ":"))[:200]


def _position(text: str) -> tuple[str, int] | None:
    with suppress(ValueError, TypeError, KeyError):
        position = json.loads(text)
        return str(position["name"]), int(position["number"])
    return None
