"""The one canonical JSON form of a row. Pure.

`to_json` gives the flat object that stands in a segment (plus its `kind`), `from_json` reads it back and refuses whatever is
not exactly such a row: files are hostile until their hash is known. Ratios are whole parts per million, so that the text of a
row depends on nothing but its content.
"""

import json
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from energy_agent.core.energy import Action, Method, State, WorkloadFacts
from energy_agent.core.errors import ChainError
from energy_agent.ledger.rows.kinds import CELL_NS, INT64_MAX, PPM, Cell, DeviceFacts, GapRow, Row, Span, StepRow, TokenRow
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN, Run

TEXT_MAX: Final = 65_536
_KEYS_MAX: Final = 1_024
_ENCODE: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


class Form(StrEnum):
    """What the value of a field may be."""

    TEXT = "text"  # short, without lone surrogates
    COUNT = "count"  # an integer from 0 to int64
    CELL = "cell"  # a count that is a multiple of a quarter of an hour
    RATIO = "ratio"  # a count of parts per million that a float holds
    STATE = "state"
    METHOD = "method"
    LABELS = "labels"  # a small object of texts


_STRETCH: Final = {"start_ns": Form.COUNT, "end_ns": Form.COUNT}
_RUN: Final = _STRETCH | dict.fromkeys(("edge_first_uj", "edge_inner_uj", "edge_last_uj"), Form.COUNT)
FIELDS: Final[Mapping[str, Mapping[str, Form]]] = {
    "cell": {"cell_start_ns": Form.CELL, "device": Form.TEXT, "workload": Form.TEXT, "state": Form.STATE, "method": Form.METHOD}
    | {"energy_uj": Form.COUNT, "gpu_ns": Form.COUNT}
    | _RUN,
    "span": {"cell_start_ns": Form.CELL, "device": Form.TEXT, "workload": Form.TEXT} | _RUN,
    "gap": {"cell_start_ns": Form.CELL, "device": Form.TEXT, "reason": Form.TEXT} | _STRETCH | {"bound_uj": Form.COUNT},
    "tokens": {"cell_start_ns": Form.CELL, "workload": Form.TEXT, "model": Form.TEXT, "phase": Form.TEXT}
    | _STRETCH
    | {"tokens": Form.COUNT},
    "steps": {"cell_start_ns": Form.CELL, "workload": Form.TEXT, "phase": Form.TEXT} | _STRETCH | {"steps": Form.COUNT},
    "action": {"t_ns": Form.COUNT} | dict.fromkeys(("device", "workload", "policy", "action", "setting", "outcome"), Form.TEXT),
    "workload": {"workload": Form.TEXT, "since_ns": Form.COUNT, "workload_kind": Form.TEXT, "labels": Form.LABELS},
    "device": {"device": Form.TEXT, "since_ns": Form.COUNT, "sku": Form.TEXT, "gain_ppm": Form.RATIO},
}
"""Fields of each kind of row, beside `kind`."""
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "cell": ("cell_start_ns", "device", "workload", "state", "method"),
    "span": ("cell_start_ns", "device", "workload"),
    "gap": ("cell_start_ns", "device", "reason"),
    "tokens": ("cell_start_ns", "workload", "model", "phase"),
    "steps": ("cell_start_ns", "workload", "phase"),
}
"""What is unique within a segment, for the kinds of rows that have a stretch of time."""
RUNS: Final = ("cell", "span")
"""Kinds whose stretch may not end before it starts."""


def canonical(value: object) -> str:
    """Canonical JSON, within one line: sorted keys, no spaces, ASCII."""
    return _ENCODE(value)


def to_json(row: Row) -> dict[str, Any]:
    """The flat object of a row, with its `kind`."""
    if isinstance(row, Cell):
        head: dict[str, Any] = {
            "kind": "cell",
            "cell_start_ns": row.cell_start_ns,
            "device": row.device,
            "workload": row.workload,
            "state": row.state.value,
            "method": row.method.value,
            "energy_uj": row.energy_uj,
            "gpu_ns": row.gpu_ns,
        }
        return head | _run_json(row.run)
    if isinstance(row, Span):
        span = {"kind": "span", "cell_start_ns": row.cell_start_ns, "device": row.device, "workload": row.workload}
        return span | _run_json(row.run)
    if isinstance(row, GapRow):
        return {
            "kind": "gap",
            "cell_start_ns": row.cell_start_ns,
            "device": row.device,
            "reason": row.reason,
            "start_ns": row.start_ns,
            "end_ns": row.end_ns,
            "bound_uj": row.bound_uj,
        }
    if isinstance(row, TokenRow):
        return {
            "kind": "tokens",
            "cell_start_ns": row.cell_start_ns,
            "workload": row.workload,
            "model": row.model,
            "phase": row.phase,
            "start_ns": row.start_ns,
            "end_ns": row.end_ns,
            "tokens": row.tokens,
        }
    if isinstance(row, StepRow):
        return {
            "kind": "steps",
            "cell_start_ns": row.cell_start_ns,
            "workload": row.workload,
            "phase": row.phase,
            "start_ns": row.start_ns,
            "end_ns": row.end_ns,
            "steps": row.steps,
        }
    if isinstance(row, Action):
        return {
            "kind": "action",
            "t_ns": row.t_ns,
            "device": row.device,
            "workload": row.workload,
            "policy": row.policy,
            "action": row.action,
            "setting": row.setting,
            "outcome": row.outcome,
        }
    if isinstance(row, WorkloadFacts):
        return {
            "kind": "workload",
            "workload": row.workload,
            "since_ns": row.since_ns,
            "workload_kind": row.kind,
            "labels": dict(row.labels),
        }
    return {"kind": "device", "device": row.uuid, "since_ns": row.since_ns, "sku": row.sku, "gain_ppm": row.gain_ppm}


def _run_json(run: Run) -> dict[str, int]:
    return {
        "start_ns": run.start_ns,
        "end_ns": run.end_ns,
        "edge_first_uj": run.first_uj,
        "edge_inner_uj": run.inner_uj,
        "edge_last_uj": run.last_uj,
    }


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
    return _MAKERS[kind](**taken)


def _text(name: str, value: object) -> str:
    """A text of bounded length without lone surrogates, which no other format could store."""
    if type(value) is str and len(value) <= TEXT_MAX and (value.isascii() or not _SURROGATES.search(value)):
        return value
    raise ChainError(f"{name} is not a short text")


def _count(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= INT64_MAX:
        raise ChainError(f"{name} is not an integer from 0 to {INT64_MAX}")
    return value


def _cell_start(name: str, value: object) -> int:
    start = _count(name, value)
    if start % CELL_NS:
        raise ChainError(f"{name} is not a quarter of an hour")
    return start


def _ratio(name: str, value: object) -> int:
    ppm = _count(name, value)
    if round(ppm / PPM * PPM) != ppm:
        raise ChainError(f"{name} is larger than any ratio")
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
        raise ChainError(f"{name} is not a small object")
    if not all(check(Form.TEXT, k) and check(Form.TEXT, v) for k, v in value.items()):
        raise ChainError(f"{name} has a value that is not a short text")
    return dict(value)


_CHECKS: Final[dict[Form, Callable[[str, object], Any]]] = {
    Form.TEXT: _text,
    Form.COUNT: _count,
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


def _cell(*, cell_start_ns: int, device: str, workload: str, state: State, method: Method, **rest: int) -> Cell:
    energy_uj, gpu_ns = rest.pop("energy_uj"), rest.pop("gpu_ns")
    return Cell(cell_start_ns, device, workload, state, method, energy_uj, gpu_ns, _run(SHARE_UNKNOWN, **rest))


def _span(*, cell_start_ns: int, device: str, workload: str, **run: int) -> Span:
    return Span(cell_start_ns, device, workload, _run(SHARE_UNKNOWN if workload else PPM, **run))


def _run(last_ppm: int, *, start_ns: int, end_ns: int, edge_first_uj: int, edge_inner_uj: int, edge_last_uj: int) -> Run:
    return Run(start_ns, end_ns, edge_first_uj, edge_inner_uj, edge_last_uj, last_ppm)


def _workload(*, workload: str, since_ns: int, workload_kind: str, labels: dict[str, str]) -> WorkloadFacts:
    return WorkloadFacts(workload, since_ns, workload_kind, labels)


def _device(*, device: str, since_ns: int, sku: str, gain_ppm: int) -> DeviceFacts:
    return DeviceFacts(device, sku, gain_ppm / PPM, since_ns)


_MAKERS: Final[dict[str, Callable[..., Row]]] = {
    "cell": _cell,
    "span": _span,
    "gap": GapRow,
    "tokens": TokenRow,
    "steps": StepRow,
    "action": Action,
    "workload": _workload,
    "device": _device,
}
