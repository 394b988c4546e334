"""A measured window as JSON for `wattlens compare`, schema wattlens.measure/1 (docs/measure.md). Pure.

Fields are only added, so every version reads the files of every other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from energy_agent.core.text import is_printable
from energy_agent.sdk.measure.window import DeviceEnergy, MeasuredWindow
from energy_agent.sdk.measure.window_tokens import PerToken, WindowTokens, per_token

if TYPE_CHECKING:
    from energy_agent.sdk.training.step_reports import ReportedSteps

SCHEMA = "wattlens.measure/1"
LABELS_LIMIT = 16
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_VALUE_LIMIT = 64


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """These labels, if they are few and short.

    Raises:
        ValueError: they are not; the line names the one.
    """
    if len(labels) > LABELS_LIMIT:
        raise ValueError(f"expected at most {LABELS_LIMIT} labels")
    for key, value in labels.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"label {key!r}: expected a name of at most 32 letters, digits, '_', '.' and '-'")
        if not 0 < len(value) <= _VALUE_LIMIT or not is_printable(value):
            raise ValueError(f"label {key!r}: expected a value of at most {_VALUE_LIMIT} printable characters")
    return dict(labels)


def joules_per(window: MeasuredWindow, tokens: int | None, edge_tokens: float) -> PerToken:
    """J for each of `tokens` of a window."""
    if tokens is None:
        return PerToken(None, None, None, "no token count was reported")
    joules, edge_j = window.joules, window.edge_joules
    if joules is None or edge_j is None:
        return PerToken(None, None, None, f"not measured: {window.reason}")
    return per_token(joules, edge_j, window.gain_uncertainty_ratio, tokens, edge_tokens)


def saved(
    window: MeasuredWindow,
    *,
    tokens: WindowTokens | None,
    labels: Mapping[str, str],
    command: Sequence[str] = (),
    exit_code: int | None = None,
    shared: str = "",
    steps: "ReportedSteps | None" = None,
) -> dict[str, Any]:
    """The run, ready for JSON; waits for the window's closing tick.

    Args:
        window: the measured window.
        tokens: those of the window, where anything counted any.
        labels: what the run was.
        command: what ran.
        exit_code: of that.
        shared: why the joules are not those of the tokens alone; then there are no joules per token or step.
        steps: of training, as the program counted them.
    """
    joules, seconds = window.joules, window.seconds
    run: dict[str, Any] = {
        "schema": SCHEMA,
        "name": window.name,
        "command": list(command),
        "exit_code": exit_code,
        "labels": dict(labels),
        "seconds": seconds,
        "joules": joules,
        "lower": window.low,
        "upper": window.high,
        "edge_joules": window.edge_joules,
        "gain_uncertainty_ratio": window.gain_uncertainty_ratio,
        "mean_watts": joules / seconds if joules is not None and seconds else None,
        "method": window.method,
        "reason": window.reason,
        "simulated": window.simulated,
        "gpus": window.gpus,
        "devices": {uuid: _fields(device) | {"gpu": window.gpu_indices.get(uuid)} for uuid, device in window.by_device.items()},
    }
    if tokens is not None:
        run["tokens"] = asdict(tokens)
        reason = shared or tokens.reason
        generation, processed = (None, None) if shared else (tokens.generation, tokens.processed)
        run["joules_per_token"] = {
            "generated": _fields(_per(window, "generated", generation, tokens.edge_generation, reason)),
            "processed": _fields(_per(window, "processed", processed, tokens.edge_processed, reason)),
        }
    if steps is not None:
        run["steps"] = asdict(steps)
        run["joules_per_step"] = _fields(_per(window, "steps", None if shared else steps.steps, 0.0, shared))
    return run


def _fields(of: DeviceEnergy | PerToken) -> dict[str, Any]:
    """Its fields, bounds by their names in JSON."""
    names = {"low": "lower", "high": "upper"}
    return {names.get(name, name): value for name, value in asdict(of).items()}


def _per(window: MeasuredWindow, what: str, tokens: int | None, edge_tokens: float, reason: str) -> PerToken:
    if tokens is None:
        return PerToken(None, None, None, reason or f"no count of {what} tokens was reported")
    return joules_per(window, tokens, edge_tokens)
