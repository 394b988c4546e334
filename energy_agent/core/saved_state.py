"""States that components store in the journal, as opaque text by component and key. Pure.

A damaged state is rejected as a whole, so that its component starts afresh.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, Final, get_args, get_origin

States = Mapping[str, Mapping[str, str]]
"""Text by component and key. In a change, "" removes a state."""
ONLY: Final = ""
"""The key of a component that has one state."""
_INT_END = 1 << 63
UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading a damaged state may raise."""


class Component(StrEnum):
    """Components that have states; each chooses its own keys."""

    METERS = "meters"  # by device
    GPU_INFO = "gpu_info"  # by UUID
    NODE = "node"
    TOKENS = "tokens"  # by polled endpoint
    ENDED_ENDPOINTS = "ended_endpoints"
    ENDED_WORKLOADS = "ended_workloads"
    ENDED_ENERGY = "ended_energy"  # by namespace and owner
    TRAINING = "training"
    TRAINING_COUNTS = "training_counts"  # by process
    TRAINING_LABELS = "training_labels"  # by process
    STEERING = "steering"
    LOST_READINGS = "lost_readings"  # by device: the UTC ns at which a gap begins; of the journal itself


def find_changes(stored: States, states: States, complete: Collection[str] = ()) -> dict[str, dict[str, str]]:
    """Return what of `states` differs from `stored`; a component in `complete` loses the stored keys that `states` lacks."""
    changes = {}
    for component, texts in states.items():
        old = stored.get(component, {})
        changed = {key: text for key, text in texts.items() if old.get(key, "") != text}
        if component in complete:
            changed |= dict.fromkeys(old.keys() - texts.keys(), "")
        if changed:
            changes[component] = changed
    return changes


def apply_changes(stored: dict[str, dict[str, str]], changes: States) -> None:
    """Apply changes to the stored states, which have no component without a state."""
    for component, changed in changes.items():
        texts = stored.setdefault(component, {})
        for key, text in changed.items():
            if text:
                texts[key] = text
            else:
                texts.pop(key, None)
        if not texts:
            del stored[component]


def copy_states(states: States) -> dict[str, dict[str, str]]:
    """Return a copy that shares no mapping with the original."""
    return {component: dict(texts) for component, texts in states.items()}


def read_fields(kind: type, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of data class `kind` that `body` has, so that a newer version's state can be read by an older one.

    Raises:
        ValueError: a value is not of its field's type, or does not fit int64.
        AttributeError: `body` is no mapping.
    """
    types = {f.name: f.type for f in fields(kind)}
    values = {name: value for name, value in body.items() if name in types}
    for name, value in values.items():
        if not _is_of(value, types[name]):
            raise ValueError(f"{name}: expected {types[name]}, got {str(value)[:40]!r}")
    return values


def _is_of(value: object, kind: Any) -> bool:
    if get_origin(kind) is dict:
        key_kind, value_kind = get_args(kind)
        return isinstance(value, dict) and all(_is_of(k, key_kind) and _is_of(v, value_kind) for k, v in value.items())
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind) and (not isinstance(value, int) or -_INT_END <= value < _INT_END)
