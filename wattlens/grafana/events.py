"""Events that become Grafana annotations: DVFS changes and editions of the report. Pure.

The ID of an event is derived from its content, so the same event is the same annotation, no matter who sends it or how often.
"""

import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from energy_agent.core.text import list_first, printable

TAG: Final = "wattlens"
ID: Final = "wattlens-id"
"""Key of the tag that holds an event's id."""
_TAG_LIMIT: Final = 100
_SHOWN: Final = 4
_SECOND_NS: Final = 1_000_000_000
_SAME: Final = ("cluster", "node", "workload", "policy", "action", "setting", "outcome", "simulated")


@dataclass(frozen=True, slots=True)
class PlannedAnnotation:
    """An annotation to create.

    Args:
        begin_ms: UTC ms.
        end_ms: the same for an instant.
        text: HTML, in which everything that came from elsewhere is escaped.
    """

    id: str
    begin_ms: int
    end_ms: int
    tags: tuple[str, ...]
    text: str

    @property
    def id_tag(self) -> str:
        """The tag by which it is found again."""
        return f"{ID}:{self.id}"

    @property
    def all_tags(self) -> list[str]:
        """Every tag, the id's last."""
        return [TAG, *self.tags, self.id_tag]


def dvfs_events(actions: Iterable[Mapping[str, Any]]) -> list[PlannedAnnotation]:
    """Actions of the ledger as events, in order of time.

    What one policy did in one second to several devices of one workload on one node is one event.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for action in actions:
        key = (int(action["t_ns"]) // _SECOND_NS, *(action[name] for name in _SAME))
        groups.setdefault(key, []).append(action)
    return sorted((_dvfs_event(key, of) for key, of in groups.items()), key=lambda each: (each.begin_ms, each.id))


def report_event(label: str, edition: int, sha256: str, start_ns: int, end_ns: int) -> PlannedAnnotation:
    """An edition of the report, over the period that it covers; `edition` counts from 0, and people from 1."""
    text = f"Report {html.escape(label)}, edition {edition + 1} (facts {sha256[:12]})"
    tags = ("report", _tag(f"period:{label}"), f"edition:{edition + 1}")
    return PlannedAnnotation(_id("report", sha256), start_ns // 1_000_000, end_ns // 1_000_000, tags, text)


def _dvfs_event(key: tuple[Any, ...], of: list[Mapping[str, Any]]) -> PlannedAnnotation:
    first = of[0]
    devices = sorted({str(each["device"]) for each in of})
    where = list_first(devices, _SHOWN)
    whose = f" for {first['workload']}" if first["workload"] else ""
    what = f"{first['action']} {_setting(str(first['setting']))}"
    text = f"{first['policy']}: {what} on {first['node']} {where}{whose}: {first['outcome']}"
    tags = ["dvfs", _tag(f"node:{first['node']}"), _tag(f"policy:{first['policy']}"), _tag(str(first["action"]))]
    if first["simulated"]:
        tags.append("simulated")
    at_ms = min(int(each["t_ns"]) for each in of) // 1_000_000
    return PlannedAnnotation(_id("dvfs", *map(str, key)), at_ms, at_ms, tuple(tags), html.escape(text))


def _setting(text: str) -> str:
    try:
        setting = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(setting, dict):
        return text
    return ", ".join(_knob(key, value) for key, value in setting.items()) or "nothing"


def _knob(key: str, value: Any) -> str:
    if key == "sm_clock_max_mhz" and isinstance(value, int):
        return f"clock up to {value} MHz"
    if key in ("power_limit_mw", "power") and isinstance(value, int):
        return f"power limit {value / 1000:g} W"
    if key == "clock" and isinstance(value, list) and len(value) == 2:
        return f"clock {value[0]} to {value[1]} MHz"
    name = {"sm_clock_max_mhz": "clock", "power_limit_mw": "power limit"}.get(key, key)
    return f"{name} {'as before' if value is None else value}"


def _tag(text: str) -> str:
    return printable(text)[:_TAG_LIMIT]


def _id(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
