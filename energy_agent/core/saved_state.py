"""States that the journal keeps are read back with care: a damaged one is refused whole, so that its owner starts afresh."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_origin

_INT_END = 1 << 63
UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading a damaged state may raise."""


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
