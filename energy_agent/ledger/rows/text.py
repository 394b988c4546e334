"""The canonical JSON form of a row. Pure.

`to_json` returns the flat object of a segment (with its `kind`); `from_json` parses it and rejects anything else, because files
are untrusted until their hash is known. Ratios are whole parts per million, so that the text of a row depends only on its
content.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from energy_agent.core.energy import Method, State
from energy_agent.core.errors import ChainError
from energy_agent.ledger.rows.kinds import CELL_NS, INT64_MAX, KINDS, PPM, Form, Row, kind_of

TEXT_MAX: Final = 65_536
_KEYS_MAX: Final = 1_024
_ENCODE: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode
_SURROGATES: Final = re.compile("[\ud800-\udfff]")

FIELDS: Final[Mapping[str, Mapping[str, Form]]] = {name: kind.forms for name, kind in KINDS.items()}
"""Fields of each kind of row, in addition to `kind`."""
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(f for f in kind.forms if kind.paths.get(f, f) not in kind.merge and f not in kind.paths)
    for name, kind in KINDS.items()
    if kind.interval[0] != kind.interval[1]
}
"""What is unique within a segment, for the kinds of rows that have an interval."""
RUNS: Final = tuple(name for name, kind in KINDS.items() if "run" in kind.merge)
"""Kinds whose interval may not end before it starts."""


def canonical(value: object) -> str:
    """Canonical JSON, within one line: sorted keys, no spaces, ASCII."""
    return _ENCODE(value)


def to_json(row: Row) -> dict[str, Any]:
    """The flat object of a row, with its `kind`."""
    kind = kind_of(row)
    body: dict[str, Any] = {"kind": kind.name}
    for (name, form), value in zip(kind.forms.items(), kind.stored(row), strict=True):
        plain = _PLAIN.get(form)
        body[name] = value if plain is None else plain(value)
    return body


_PLAIN: Final[Mapping[Form, Callable[[Any], Any]]] = {Form.STATE: str, Form.METHOD: str, Form.LABELS: dict}


def from_json(value: object) -> Row:
    """The row of a decoded line.

    Raises:
        ChainError: not exactly a row of this schema; the message says what is wrong, the caller adds file and line.
    """
    if not isinstance(value, dict):
        raise ChainError("not a JSON object")
    try:
        kind = _text("kind", value["kind"])
        checks = _CHECKS_OF.get(kind)
        if checks is None:
            raise ChainError(f"unknown kind {kind[:40]!r}")
        taken = {name: check(name, value[name]) for name, check in checks}
    except KeyError as error:
        raise ChainError(f"{error.args[0]} is missing") from None
    if len(value) > len(taken) + 1:
        raise ChainError(f"unknown field {min(value.keys() - taken.keys() - {'kind'})[:40]!r}")
    if kind in RUNS and taken["end_ns"] < taken["start_ns"]:
        raise ChainError("end_ns is before start_ns")
    of = KINDS[kind]
    return (of.make or of.row)(**taken)


def _text(name: str, value: object) -> str:
    """A text of bounded length without lone surrogates, which no other format could store."""
    if type(value) is str and len(value) <= TEXT_MAX and (value.isascii() or not _SURROGATES.search(value)):
        return value
    raise ChainError(f"{name} is not a short text")


def _count(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= INT64_MAX:
        raise ChainError(f"{name} is not an integer from 0 to {INT64_MAX}")
    return value


def _signed(name: str, value: object) -> int:
    if type(value) is not int or abs(value) > INT64_MAX:
        raise ChainError(f"{name} is not an integer from -{INT64_MAX} to {INT64_MAX}")
    return value


def _cell_start(name: str, value: object) -> int:
    start = _count(name, value)
    if start % CELL_NS:
        raise ChainError(f"{name} is not a multiple of 15 minutes")
    return start


def _ratio(name: str, value: object) -> int:
    ppm = _count(name, value)
    if round(ppm / PPM * PPM) != ppm:
        raise ChainError(f"{name} is too large for a ratio")
    return ppm


def _state(name: str, value: object) -> State:
    try:
        return State(_text(name, value))
    except ValueError as error:
        raise ChainError(str(error)) from None


def _method(name: str, value: object) -> Method:
    try:
        return Method(_text(name, value))
    except ValueError as error:
        raise ChainError(str(error)) from None


def _labels(name: str, value: object) -> dict[str, str]:
    if type(value) is not dict or len(value) > _KEYS_MAX:
        raise ChainError(f"{name}: expected an object of at most {_KEYS_MAX} texts")
    if not all(check(Form.TEXT, k) and check(Form.TEXT, v) for k, v in value.items()):
        raise ChainError(f"{name} has a value that is not a short text")
    return dict(value)


_CHECKS: Final[dict[Form, Callable[[str, object], Any]]] = {
    Form.TEXT: _text,
    Form.COUNT: _count,
    Form.SIGNED: _signed,
    Form.CELL: _cell_start,
    Form.RATIO: _ratio,
    Form.STATE: _state,
    Form.METHOD: _method,
    Form.LABELS: _labels,
}
_CHECKS_OF: Final = {kind: [(name, _CHECKS[form]) for name, form in fields.items()] for kind, fields in FIELDS.items()}


def check(form: Form, value: object) -> bool:
    """Whether a value may stand in a field."""
    try:
        _CHECKS[form]("", value)
    except ChainError:
        return False
    return True
