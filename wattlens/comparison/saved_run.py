"""Reads a run that `wattlens measure --out` or `measure().save()` wrote. The file is not trusted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from energy_agent.core.errors import UsageError
from energy_agent.core.text import printable
from energy_agent.sdk.measure.measurement import GAIN_UNCERTAINTY_RATIO
from energy_agent.sdk.measure.saved import SCHEMA, checked_labels

PER = ("generated", "processed")
"""Denominators of joules per token: generated tokens alone, or generated plus computed prompt tokens."""
_MAX_B = 1 << 20
_BOARDS = 1024
_TEXT = 256
_MODELS = 64
_FIELD = {"generated": "generation", "processed": "processed"}


@dataclass(frozen=True, slots=True)
class SavedTokens:
    """Tokens of one kind, with the half-width of the error at the window's edges. Without `count`, `reason` explains why."""

    count: float | None
    edge: float
    reason: str


@dataclass(frozen=True, slots=True)
class SavedRun:
    """One measured run.

    Args:
        path: path of its file.
        boards: J by GPU UUID; None if they were not measured.
        labels: labels that the user saved with the run.
        tokens: tokens by `PER`; empty if none were counted.
        models: models that generated the tokens.
        counts: computed, cached and generated tokens, and the mean number of running requests, if known.
        at_request_end: the server counts tokens when a request ends.
    """

    path: Path
    joules: float
    edge_joules: float | None
    seconds: float
    gain: float
    simulated: bool
    boards: Mapping[str, float | None]
    labels: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, SavedTokens] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    at_request_end: bool = False

    def per_token(self, what: str) -> float | None:
        """Return J per token; None without tokens."""
        tokens = self.tokens.get(what)
        return self.joules / tokens.count if tokens is not None and tokens.count else None


def load(path: Path) -> SavedRun:
    """Load the run in `path`.

    Raises:
        UsageError: the file cannot be read, does not contain a run, or was not measured.
    """
    try:
        with path.open("rb") as file:
            run = json.loads(file.read(_MAX_B))
    except OSError as error:
        raise UsageError(f"compare: {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        run = None
    if not isinstance(run, dict) or run.get("schema") != SCHEMA or not isinstance(run.get("devices"), dict):
        raise UsageError(f"compare: {path}: expected a run saved by wattlens measure --out")
    joules, seconds = _number(run.get("joules")), _number(run.get("seconds"))
    if joules is None or seconds is None:
        raise UsageError(f"compare: {path}: the run has no measurement: {_text(run.get('reason')) or 'joules are missing'}")
    try:
        return _run(path, run, joules, seconds)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"compare: {path}: {error}") from None


def _run(path: Path, run: dict[str, Any], joules: float, seconds: float) -> SavedRun:
    counted = run.get("tokens")
    tokens: dict[str, Any] = {} if counted is None else counted
    gain = _number(run.get("gain_uncertainty_ratio", GAIN_UNCERTAINTY_RATIO))
    if gain is None or gain >= 1:
        raise ValueError("gain_uncertainty_ratio: expected a number from 0 to below 1")
    if len(run["devices"]) > _BOARDS:
        raise ValueError(f"devices: expected at most {_BOARDS}")
    return SavedRun(
        path,
        joules,
        _number(run.get("edge_joules")),
        seconds,
        gain,
        bool(run.get("simulated")),
        {uuid: _number(device.get("joules")) for uuid, device in run["devices"].items()},
        checked_labels(run.get("labels") or {}),
        {what: _tokens(tokens, what) for what in PER if counted is not None},
        tuple(_text(m) for m in tokens.get("models", ())[:_MODELS]),
        {key: n for key in ("computed", "cached", "generation", "running") if (n := _number(tokens.get(key))) is not None},
        tokens.get("moves") == "request",
    )


def uncounted(what: str) -> str:
    """The reason of a run without a count of tokens of a kind."""
    return f"{what} tokens were not counted"


def _tokens(tokens: Mapping[str, Any], what: str) -> SavedTokens:
    count, edge = _number(tokens.get(_FIELD[what])), _number(tokens.get(f"edge_{_FIELD[what]}", 0.0))
    reason = _text(tokens.get("reason")) or uncounted(what)
    if count == 0:
        return SavedTokens(None, 0.0, f"no {what} tokens were counted")
    return SavedTokens(count if edge is not None else None, edge or 0.0, "" if count and edge is not None else reason)


def _text(value: object) -> str:
    """A text as a terminal may show it: short, without what would steer it."""
    return printable(str(value or "")[:_TEXT])


def _number(value: object) -> float | None:
    """A number from 0 on; JSON as Python reads it has infinities too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) and number >= 0 else None
