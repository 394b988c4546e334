"""Parse and validate the report of a training process from untrusted JSON. Pure.

Counts are cumulative since the process began to count, so lost or repeated reports change nothing. The process is identified
by the kernel, never by the report.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import float_info
from typing import Any, Final

from energy_agent.core.errors import WattlensError
from energy_agent.core.text import is_printable

TRAINING: Final = "training"
PHASES: Final = (TRAINING, "evaluation", "checkpoint", "data_wait")
OTHER: Final = "other"
"""Replaces a label value outside a bounded set."""
COUNT_MAX: Final = 1 << 53
RATE_MAX: Final = 10_000_000
"""Maximum of steps or tokens per second and rank. No training is faster, and years of a higher rate would overflow an int64."""
WAITS_MAX: Final = 8
TEXT_MAX: Final = 120
"""Maximum length of a text: in characters when it is received, in bytes when it is stored."""
_RUN: Final = re.compile(r"[0-9a-f]{16}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FIELDS: Final = frozenset(
    {"run", "age_s", "steps", "tokens", "waits", "doing", "loss", "rank", "world", "group", "model", "precision", "step_age_s"}
)


_LOOPBACK: Final = re.compile(
    r"(?:[\w.-]*\.)?localhost(?:\.localdomain)?|ip6-localhost|127(?:\.\d+){1,3}|\[?::(?:1|ffff:127[\d.]*)\]?", re.ASCII
)


class ReportError(WattlensError):
    """The report is invalid; the message names the field and the reason."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """Cumulative counts of one rank.

    Args:
        run: identifies one count from 0; a fork or an exec starts another.
        age_s: how long ago it began, s.
        steps: optimizer steps by phase.
        tokens: tokens that this rank trained.
        waits: time that the host spent outside steps, by name, s.
        doing: the phase it is in.
        loss: the last one reported; None without one, or where it is not a number.
        rank: of the process within its group.
        world: how many ranks the group has.
        group: identifies the ranks of one job; within one workload only where `is_local`; "" for a single process.
        model: what is trained.
        precision: such as bf16.
        step_age_s: how long ago the last training step ended, s; None where the process did not report it.
    """

    run: str
    age_s: float
    steps: Mapping[str, int]
    tokens: int
    waits: Mapping[str, float] = field(default_factory=dict)
    doing: str = TRAINING
    loss: float | None = None
    rank: int = 0
    world: int = 1
    group: str = ""
    model: str = ""
    precision: str = ""
    step_age_s: float | None = None


def is_local(group: str) -> bool:
    """Whether a group is named by an address that is each machine's own: it joins the ranks of one workload, no more."""
    address, colon, port = group.rpartition(":")
    named = address if colon and (not port or port.isdigit()) and not address.endswith(":") else group
    return _LOOPBACK.fullmatch(named.lower()) is not None


def parse(value: object) -> TrainingReport:
    """The report of a decoded body; raises ReportError."""
    if not isinstance(value, dict):
        raise ReportError("expected a JSON object in the body")
    unknown = value.keys() - _FIELDS
    if unknown:
        raise ReportError(f"unknown field {min(map(str, unknown))[:40]!r}")
    run, doing = value.get("run"), value.get("doing", TRAINING)
    if not isinstance(run, str) or not _RUN.fullmatch(run):
        raise ReportError("run: expected 16 hexadecimal digits")
    if not _is_name(doing):
        raise ReportError("doing: expected a short name of a-z, 0-9 and _")
    steps: dict[str, int] = {}
    for name, count in _object(value, "steps").items():
        phase = name if name in PHASES else OTHER
        steps[phase] = _count(steps.get(phase, 0) + _count(count, "steps"), "steps")
    waits = {name: _seconds(s, "waits") for name, s in _object(value, "waits").items()}
    loss = value.get("loss")
    return TrainingReport(
        run=run,
        age_s=_seconds(value.get("age_s"), "age_s"),
        steps=steps,
        tokens=_tokens(value.get("tokens", 0)),
        waits=waits,
        doing=doing,
        loss=None if loss is None else _number(loss, "loss"),
        rank=_count(value.get("rank", 0), "rank", 1 << 24),
        world=_count(value.get("world", 1), "world", 1 << 24),
        group=_text(value, "group"),
        model=_text(value, "model"),
        precision=_text(value, "precision"),
        step_age_s=None if value.get("step_age_s") is None else _seconds(value["step_age_s"], "step_age_s"),
    )


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    entries = value.get(name, {})
    if not isinstance(entries, dict) or len(entries) > WAITS_MAX or not all(map(_is_name, entries)):
        raise ReportError(f"{name}: expected an object of at most {WAITS_MAX} short names")
    return entries


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _count(value: object, name: str, most: int = COUNT_MAX) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ReportError(f"{name}: expected an integer from 0 to {most}")
    return value


def _tokens(value: object) -> int:
    """One number too large stays in all sums after it: the intake leaves it out, and takes the steps next to it."""
    return COUNT_MAX if type(value) is int and value > COUNT_MAX else _count(value, "tokens")


def _number(value: object, name: str) -> float:
    if type(value) not in (int, float) or not abs(value) <= float_info.max:  # type: ignore[arg-type]
        raise ReportError(f"{name}: expected a number")
    return float(value)  # type: ignore[arg-type]


def _seconds(value: object, name: str) -> float:
    seconds = _number(value, name)
    if not 0 <= seconds <= 1e9:
        raise ReportError(f"{name}: expected a time")
    return seconds


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name, "")
    if not isinstance(text, str) or len(text) > TEXT_MAX or not is_printable(text):
        raise ReportError(f"{name}: expected printable text of at most {TEXT_MAX} characters")
    return text.encode()[:TEXT_MAX].decode(errors="ignore")
