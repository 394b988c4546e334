"""How often a value may change that a workload chooses freely, such as the name of its training job. Pure.

Each new value becomes series, rows and log lines, and costs its sender nothing.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from energy_agent.core.units import NS_PER_S

CHANGES_MAX: Final = 6
"""Changes of a value that count in any hour."""
MINUTE_NS: Final = 60 * NS_PER_S
_HOUR_NS: Final = 3600 * NS_PER_S

T = TypeVar("T", bound=Hashable)


@dataclass(slots=True)
class _Entry(Generic[T]):
    value: T | None
    seen_ns: int
    changed_ns: deque[int] = field(default_factory=lambda: deque(maxlen=CHANGES_MAX))
    refused_ns: int | None = None


@dataclass(slots=True)
class ChangeLimit(Generic[T]):
    """The values that count, by key. A key that is not seen for an hour is forgotten."""

    _entries: dict[str, _Entry[T]] = field(default_factory=dict)
    _swept_ns: int | None = None

    def settle(self, key: str, value: T, now_ns: int) -> T | None:
        """Return the value that counts now.

        It is `value`, or the one before where that replaced another less than a minute ago; None where the value changed
        CHANGES_MAX times within the hour and changes again, until another change may count.
        """
        self._sweep(now_ns)
        entry = self._entries.setdefault(key, _Entry(value, now_ns))
        entry.seen_ns = now_ns
        if entry.value == value:
            return value
        changed = entry.changed_ns
        if len(changed) == CHANGES_MAX and now_ns - changed[0] < _HOUR_NS:
            entry.value, entry.refused_ns = None, now_ns
        elif changed and now_ns - changed[-1] < MINUTE_NS:
            entry.refused_ns = now_ns
        else:
            entry.value = value
            changed.append(now_ns)
        return entry.value

    def is_settled(self, key: str, now_ns: int) -> bool:
        """Whether every value of the last minute counted when it came."""
        entry = self._entries.get(key)
        return entry is None or entry.refused_ns is None or now_ns - entry.refused_ns >= MINUTE_NS

    def _sweep(self, now_ns: int) -> None:
        if self._swept_ns is None or now_ns - self._swept_ns >= MINUTE_NS:
            self._swept_ns = now_ns
            self._entries = {key: entry for key, entry in self._entries.items() if now_ns - entry.seen_ns < _HOUR_NS}
