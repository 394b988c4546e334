"""The one canonical JSON form of a row. Pure.

`to_json` gives the flat object that stands in a segment (plus its `kind`), `from_json` reads it back and refuses whatever is
not exactly such a row: files are hostile until their hash is known. Ratios are whole parts per million, so that the text of a
row depends on nothing but its content.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from energy_agent.core.errors import ChainError
from energy_agent.core.types import Action, Method, State, WorkloadFacts
from energy_agent.ledger.rows import CELL_NS, INT64_MAX, PPM, Cell, DeviceFacts, GapRow, Row, Span, StepRow, TokenRow
from energy_agent.ledger.uncertainty import SHARE_UNKNOWN, Run

_TEXT_MAX: Final = 65_536
_KEYS_MAX: Final = 1_024
_ENCODE: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def canonical(value: Mapping[str, Any]) -> str:
    """One line of canonical JSON: sorted keys, no spaces, ASCII."""
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
    take = _Fields(value)
    kind = take.text("kind")
    reader = _READERS.get(kind)
    if reader is None:
        raise ChainError(f"unknown kind {kind[:40]!r}")
    row = reader(take)
    take.finish()
    return row


def _is_text(value: object) -> bool:
    """A text of bounded length without lone surrogates, which no other format could store."""
    return type(value) is str and len(value) <= _TEXT_MAX and not _SURROGATES.search(value)


class _Fields:
    """Takes the fields of a hostile object one by one, each with its type."""

    __slots__ = ("_left",)

    def __init__(self, value: dict[str, Any]) -> None:
        self._left = dict(value)

    def _take(self, name: str) -> Any:
        try:
            return self._left.pop(name)
        except KeyError:
            raise ChainError(f"{name} is missing") from None

    def text(self, name: str) -> str:
        value = self._take(name)
        if not _is_text(value):
            raise ChainError(f"{name} is not a short text")
        return str(value)

    def count(self, name: str) -> int:
        value = self._take(name)
        if type(value) is not int or not 0 <= value <= INT64_MAX:
            raise ChainError(f"{name} is not an integer from 0 to {INT64_MAX}")
        return value

    def cell_start(self) -> int:
        value = self.count("cell_start_ns")
        if value % CELL_NS:
            raise ChainError("cell_start_ns is not a quarter of an hour")
        return value

    def labels(self) -> dict[str, str]:
        value = self._take("labels")
        if type(value) is not dict or len(value) > _KEYS_MAX:
            raise ChainError("labels is not a small object")
        if not all(_is_text(k) and _is_text(v) for k, v in value.items()):
            raise ChainError("labels has a value that is not a short text")
        return dict(value)

    def run(self, *, whole: bool = False) -> Run:
        start, end = self.count("start_ns"), self.count("end_ns")
        if end < start:
            raise ChainError("end_ns is before start_ns")
        edges = (self.count("edge_first_uj"), self.count("edge_inner_uj"), self.count("edge_last_uj"))
        return Run(start, end, *edges, last_ppm=PPM if whole else SHARE_UNKNOWN)

    def finish(self) -> None:
        if self._left:
            raise ChainError(f"unknown field {min(self._left)[:40]!r}")


def _cell(take: _Fields) -> Cell:
    try:
        state, method = State(take.text("state")), Method(take.text("method"))
    except ValueError as error:
        raise ChainError(str(error)) from None
    cell_start, device, workload = take.cell_start(), take.text("device"), take.text("workload")
    return Cell(cell_start, device, workload, state, method, take.count("energy_uj"), take.count("gpu_ns"), take.run())


def _span(take: _Fields) -> Span:
    cell_start, device, workload = take.cell_start(), take.text("device"), take.text("workload")
    return Span(cell_start, device, workload, take.run(whole=not workload))


def _gap(take: _Fields) -> GapRow:
    start, end = take.count("start_ns"), take.count("end_ns")
    return GapRow(take.cell_start(), take.text("device"), take.text("reason"), start, end, take.count("bound_uj"))


def _tokens(take: _Fields) -> TokenRow:
    start, end = take.count("start_ns"), take.count("end_ns")
    workload, model, phase = take.text("workload"), take.text("model"), take.text("phase")
    return TokenRow(take.cell_start(), workload, model, phase, start, end, take.count("tokens"))


def _steps(take: _Fields) -> StepRow:
    start, end = take.count("start_ns"), take.count("end_ns")
    return StepRow(take.cell_start(), take.text("workload"), take.text("phase"), start, end, take.count("steps"))


def _action(take: _Fields) -> Action:
    return Action(
        t_ns=take.count("t_ns"),
        device=take.text("device"),
        policy=take.text("policy"),
        action=take.text("action"),
        setting=take.text("setting"),
        outcome=take.text("outcome"),
        workload=take.text("workload"),
    )


def _workload(take: _Fields) -> WorkloadFacts:
    return WorkloadFacts(take.text("workload"), take.count("since_ns"), take.text("workload_kind"), take.labels())


def _device(take: _Fields) -> DeviceFacts:
    return DeviceFacts(take.text("device"), take.text("sku"), take.count("gain_ppm") / PPM, take.count("since_ns"))


_READERS: Final[dict[str, Callable[[_Fields], Row]]] = {
    "cell": _cell,
    "span": _span,
    "gap": _gap,
    "tokens": _tokens,
    "steps": _steps,
    "action": _action,
    "workload": _workload,
    "device": _device,
}
