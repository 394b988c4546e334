"""Messages about wrong values of a configuration: key, expected and actual value. Pure.

Pydantic's own messages name patterns and classes, which the author of a configuration does not know.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from energy_agent.config.formats import ADDRESS
from energy_agent.config.key_values import Limits, leaves
from energy_agent.core.text import quoted_address

LONGEST_CHOICE = 40
LINES_MAX = 100
"""Faults of one file that are listed: more than that have one cause, such as a wrong column."""
_EXPECTED = {
    "string_type": "text",
    "string_pattern_mismatch": "another format",
    "invalid_key": "text as a key",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "path_type": "the path of a file or folder, as text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a section with its own keys",
    "model_attributes_type": "a section with its own keys",
}
_WHOLE = ("int_type", "int_parsing", "int_from_float", "int_parsing_size")
_NUMBERS = ("float_type", "float_parsing", "finite_number")
_LIMITS = {"greater_than_equal": "ge", "greater_than": "gt", "less_than_equal": "le", "less_than": "lt"}
_SIZES = {
    "too_short": ("a list of at least", "min_length", "entries"),
    "too_long": ("a list of at most", "max_length", "entries"),
    "string_too_short": ("at least", "min_length", "characters"),
    "string_too_long": ("at most", "max_length", "characters"),
}


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Every fault, one line each."""
    return shorten(list(dict.fromkeys(explain_fault(fault, model) for fault in faults_of(error))))


def faults_of(error: ValidationError) -> list[Any]:
    """Every fault, but not that a list is too short because its entries are wrong."""
    faults = error.errors(include_url=False, include_input=True)
    parents = {fault["loc"][:n] for fault in faults for n in range(len(fault["loc"]))}
    return [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in parents]


def shorten(lines: Sequence[str]) -> list[str]:
    """The lines; at most LINES_MAX, then the number of those left out."""
    left_out = len(lines) - LINES_MAX
    return [*lines[:LINES_MAX], *([f"{left_out} more errors are not listed"] if left_out > 0 else [])]


def explain_fault(fault: Any, model: type[BaseModel], unit: float = 1.0) -> str:
    """One fault of pydantic's in one line.

    Args:
        fault: as `ValidationError.errors` returns it.
        model: what was validated.
        unit: how much of the key's unit is one of the unit in which the message states the limits.
    """
    location = tuple(part for part in fault["loc"] if part != "[key]")
    key = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        return _explain_unknown(model, location, key)
    if fault["type"] == "missing":
        return f"key {key!r} is missing"
    if fault["type"] == "value_error":  # a check of ours: its message is complete, and has no secret in it
        return f"key {key!r}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"])
    # A value in the wrong place may be a secret. A misspelt choice is not, and it is short.
    chosen = fault["type"] == "literal_error" and len(str(fault["input"])) <= LONGEST_CHOICE
    hidden = bool(model.model_config.get("hide_input_in_errors")) and not chosen
    length = fault.get("ctx", {}).get("actual_length")
    if length is None and fault["type"] in _SIZES and isinstance(fault["input"], dict):
        length = len(fault["input"])  # pydantic leaves it out for mappings
    actual = _describe(fault["input"], hidden) if length is None else str(length)
    if fault["type"] == ADDRESS and not hidden:
        actual = quoted_address(fault["input"])[:80]
    text = f"key {key!r}: expected {_expected(fault, model, location, unit)}, got {actual}"
    is_scalar = isinstance(fault["input"], str | int | float) or hasattr(fault["input"], "isoformat")
    return f"{text}; put it in quotes" if fault["type"] in ("string_type", "invalid_key") and is_scalar else text


def _explain_unknown(model: type[BaseModel], location: tuple[int | str, ...], key: str) -> str:
    known_keys = sorted({name for type_, _ in _at(model, location[:-1]) for name in getattr(type_, "model_fields", {})})
    near = difflib.get_close_matches(str(location[-1]), known_keys, 1)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known_keys)}")


def _expected(fault: Any, model: type[BaseModel], location: tuple[int | str, ...], unit: float) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind in ("format", ADDRESS):
        return str(context["expected"])
    if kind in (*_WHOLE, *_NUMBERS, *_LIMITS, "multiple_of"):
        types = _at(model, location)
        limits = Limits.of(m for _, metadata in types for m in metadata)
        limit = _LIMITS.get(kind, "")
        if limit and getattr(limits, limit) != context[limit]:  # several models have this key, such as those of a tagged union
            limits = Limits(**{limit: float(context[limit])})
        whole = kind in _WHOLE or any(leaf is int for leaf, _ in types)
        return f"{'a whole number' if whole else 'a number'}{limits.per(unit).words}"
    if kind in ("literal_error", "enum"):
        return f"one of {context['expected']}"
    if kind in _SIZES:
        lead, limit, what = _SIZES[kind]
        lead = lead.replace("list", "mapping") if isinstance(fault["input"], dict) else lead
        count = context[limit]
        return f"{lead} {count} {what if count != 1 else {'entries': 'entry', 'characters': 'character'}[what]}"
    message: str = fault["msg"]
    return f"another value ({message[0].lower()}{message[1:]})"


def _at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[tuple[Any, list[Any]]]:
    """Types that a key may have, each with the metadata of its annotation; a part that is no key, such as a tag, is skipped."""
    types: list[tuple[Any, list[Any]]] = [(model, [])]
    for part in location:
        types = [leaf for each, _ in types for inner, data in _inside(each, part) for leaf in leaves(inner, data)] or types
    return types


def _inside(type_: Any, part: int | str) -> Iterator[tuple[Any, list[Any]]]:
    """The annotation of a key or member of a type."""
    if part in getattr(type_, "model_fields", {}):
        field = type_.model_fields[part]
        yield field.annotation, field.metadata
    elif get_origin(type_) in (tuple, list, dict):
        yield get_args(type_)[1 if get_origin(type_) is dict else 0], []


def _describe(value: object, hidden: bool) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 256:
        return "a huge number"
    if isinstance(value, str | int | float):
        return repr(value)[:80] if not hidden else "text" if isinstance(value, str) else "a number"
    kinds: dict[str, tuple[type, ...]] = {"a mapping": (dict,), "a list": (list, tuple), "bytes": (bytes,)}
    return next((words for words, kind in kinds.items() if isinstance(value, kind)), "something else")
