"""The result of an acceptance run for people. Pure."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

from wattlens.doctor.acceptance.result import AcceptanceResult, Criterion, Estimate, GpuResult

_WIDTH = 79
_WORDS = {True: "ok", False: "FAIL", None: "absent"}
_NAME_W = 21


def describe(result: AcceptanceResult, unsigned: str, out: Path | None) -> str:
    """A summary: the GPUs, each criterion with its expected and actual value, the verdict, and the file `out`.

    `unsigned` is the reason for a missing signature.
    """
    simulated = "SIMULATED GPUs: " if result.simulated else ""
    models = ", ".join(sorted({gpu.model for gpu in result.gpus}))
    agent = "a private agent" if result.agent.private else "the node's agent"
    head = (
        f"{simulated}{len(result.gpus)} x {models}, driver {result.driver}; wattlens {result.agent.version}, {agent}, "
        f"compared for {result.seconds:g} s"
    )
    lines = [*textwrap.wrap(head, _WIDTH), "", *_table(result.gpus), ""]
    for criterion in result.criteria:
        lines += _criterion(criterion)
    lines += ["", *textwrap.wrap(_sensors(result), _WIDTH)]
    lines += ["", *textwrap.wrap(_verdict(result), _WIDTH)]
    note = "No result file: --out FILE writes one."
    if out is not None:
        note = f"{out}: signed by key {result.key[:16]}." if result.key else f"{out}: UNSIGNED ({unsigned})."
    return "\n".join([*lines, *textwrap.wrap(note, _WIDTH, break_long_words=False, break_on_hyphens=False)])


def _sensors(result: AcceptanceResult) -> str:
    """How often the energy counters tick, of all that the sensor capture measured."""
    if result.sensors_reason:
        return f"Sensor capture: not available: {result.sensors_reason}"
    parameters = [gpu.sensors.get("tick_ms") for gpu in result.gpus if gpu.sensors is not None]
    estimates = [each for each in parameters if isinstance(each, Estimate)]
    ticks_ms = [each.value for each in estimates if each.value is not None]
    if not ticks_ms:
        return f"Sensor capture: tick of the energy counters not available: {estimates[0].reason if estimates else 'not read'}"
    return (
        f"Sensor capture: the energy counters of {len(ticks_ms)} of {len(result.gpus)} GPUs tick every {min(ticks_ms):.1f} to "
        f"{max(ticks_ms):.1f} ms; --json and the result file have every parameter."
    )


def _table(gpus: tuple[GpuResult, ...]) -> Iterator[str]:
    yield f"{'':8}{'agent':>14}{'counter':>14}{'difference':>14}{'':>11}{'intervals':>14}"
    for gpu in gpus:
        name = f"GPU {gpu.index}"
        difference_j, counter_j = gpu.difference_j, gpu.counter_j.value
        if gpu.reason or difference_j is None or counter_j is None:
            yield f"{name:<8}absent: {gpu.reason}"
            continue
        ratio = f"{difference_j / counter_j:+.4%}" if counter_j else ""
        covered = f"{gpu.covered} of {gpu.intervals}"
        yield f"{name:<8}{gpu.agent_j:>12.1f} J{counter_j:>12.1f} J{difference_j:>+12.3f} J{ratio:>11}{covered:>14}"


def _criterion(criterion: Criterion) -> Iterator[str]:
    head = f"{_WORDS[criterion.passed]:<7}{criterion.name:<{_NAME_W}}"
    yield from textwrap.wrap(criterion.actual, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    margin = " " * len(head)
    yield from textwrap.wrap(f"expected: {criterion.expected}", _WIDTH, initial_indent=margin, subsequent_indent=margin)


def _verdict(result: AcceptanceResult) -> str:
    where = " on simulated GPUs, which proves nothing about real GPUs" if result.simulated else ""
    failed = [criterion.name for criterion in result.criteria if criterion.passed is False]
    absent = [criterion.name for criterion in result.criteria if criterion.passed is None]
    unchecked = f"; not checked: {', '.join(absent)}" if absent else ""
    return f"Not accepted: {', '.join(failed)}{unchecked}." if failed else f"Accepted{where}{unchecked}."
