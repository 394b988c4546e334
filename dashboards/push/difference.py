"""What differs between two JSON documents, in lines that a person can act on. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

MOST: Final = 20
"""Lines of one object."""
_WIDTH: Final = 60
_NAMES: Final = ("title", "name", "refId", "alert")
"""Keys by which a person distinguishes the items of a list."""
_ABSENT: Final = object()


def differences(built: Any, existing: Any, most: int = MOST) -> tuple[str, ...]:
    """`PATH: VALUE, expected VALUE` for each leaf that differs, at most `most`, and a last line with the number of further
    ones.
    """
    lines = list(_walk(built, existing, ""))
    return tuple(lines) if len(lines) <= most else (*lines[:most], f"and {len(lines) - most} more")


def _walk(built: Any, existing: Any, path: str) -> Iterator[str]:
    if isinstance(built, Mapping) and isinstance(existing, Mapping):
        for key in sorted({*built, *existing}):
            name = _quote_unprintable(str(key))
            yield from _walk(built.get(key, _ABSENT), existing.get(key, _ABSENT), f"{path}.{name}" if path else name)
    elif isinstance(built, list) and isinstance(existing, list):
        for i in range(max(len(built), len(existing))):
            ours, theirs = (items[i] if i < len(items) else _ABSENT for items in (built, existing))
            yield from _walk(ours, theirs, f"{path}[{i}{_named(ours, theirs)}]")
    elif built is _ABSENT or existing is _ABSENT or type(built) is bool or type(existing) is bool:
        if built is not existing:
            yield f"{path}: {_format_value(existing)}, expected {_format_value(built)}"
    elif built != existing:
        yield f"{path}: {_format_value(existing)}, expected {_format_value(built)}"


def _named(*items: Any) -> str:
    for item in items:
        if isinstance(item, Mapping):
            for key in _NAMES:
                if isinstance(item.get(key), str) and item[key]:
                    return f" {_short(item[key])!r}"
    return ""


def _quote_unprintable(key: str) -> str:
    """Keep a difference on one line whatever its keys contain."""
    return key if key.isprintable() else json.dumps(key)


def _format_value(value: Any) -> str:
    return "absent" if value is _ABSENT else _short(json.dumps(value, sort_keys=True))


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
