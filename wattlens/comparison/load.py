"""Whether two sides of a comparison ran at equal load: the batch alone moves joules per token 6-9 times. Pure."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from wattlens.comparison.saved_run import SavedRun

LOAD_RATIO = 1.25
"""Loads that differ by more are not equal."""
BATCH_LABEL = "batch"


def mean_count(runs: Sequence[SavedRun], key: str) -> float | None:
    """Mean of the runs' counts; None if one run has none."""
    values = [run.counts[key] for run in runs if key in run.counts]
    return fmean(values) if values and len(values) == len(runs) else None


def batch(runs: Sequence[SavedRun]) -> float | None:
    """Requests that ran, mean; else the label `batch`, where that is a number and the same for all."""
    running = mean_count(runs, "running")
    if running is not None:
        return running
    batches = {run.labels.get(BATCH_LABEL, "") for run in runs}
    text = batches.pop() if len(batches) == 1 else ""
    return float(text) if text.isascii() and text.isdigit() else None


def labels(runs: Sequence[SavedRun]) -> dict[str, str]:
    """What the runs were; values that differ within a side with commas."""
    keys = dict.fromkeys(key for run in runs for key in run.labels)
    return {key: ",".join(dict.fromkeys(run.labels.get(key, "-") for run in runs)) for key in keys}


def warnings(a: Sequence[SavedRun], b: Sequence[SavedRun]) -> list[str]:
    """What makes the figures of A and B no fair comparison, a line each."""
    lines = []
    if any(run.tokens for run in (*a, *b)):
        lines += _batches(a, b) + _mixes(a, b)
    watts = [fmean(run.joules / run.seconds if run.seconds else 0.0 for run in side) for side in (a, b)]
    if unequal(*watts):
        lines.append(f"A drew {watts[0]:.0f} W and B {watts[1]:.0f} W: a constant offset error of the sensors does not cancel")
    models = [sorted({m for run in side for m in run.models}) for side in (a, b)]
    if all(models) and models[0] != models[1]:
        lines.append(f"the models differ: A {', '.join(models[0])}, B {', '.join(models[1])}")
    if any(run.at_request_end for run in (*a, *b)):
        lines.append("a server counts tokens when a request ends: measure for much longer than a request takes")
    return lines


def unequal(a: float, b: float) -> bool:
    """Whether they differ by more than LOAD_RATIO."""
    return max(a, b) > LOAD_RATIO * min(a, b)


def _batches(a: Sequence[SavedRun], b: Sequence[SavedRun]) -> list[str]:
    lines = []
    for name, side in (("A", a), ("B", b)):
        running = [run.counts["running"] for run in side if "running" in run.counts]
        if running and unequal(min(running), max(running)):
            lines.append(
                f"the runs of {name} had {min(running):.4g} to {max(running):.4g} running requests: their load differs"
            )
    batches = batch(a), batch(b)
    if batches[0] is None or batches[1] is None:
        lines.append(
            "the batch size of a side is unknown, so their loads may differ: J/token changes 6-9 times with batch size; "
            "record it with measure --label batch=N"
        )
    elif unequal(batches[0], batches[1]):
        lines.append(
            f"A had a batch size of {batches[0]:.4g}, B of {batches[1]:.4g}: compare at equal load, because J/token "
            "changes 6-9 times with batch size"
        )
    return lines


def _mixes(a: Sequence[SavedRun], b: Sequence[SavedRun]) -> list[str]:
    lines = []
    for what, key in (("computed prompt", "computed"), ("cached prompt", "cached")):
        mix = _per_generated(a, key), _per_generated(b, key)
        if mix[0] is not None and mix[1] is not None and unequal(*mix):  # type: ignore[arg-type]
            lines.append(f"A had {mix[0]:.3g} {what} tokens per generated token, B {mix[1]:.3g}: compare at equal load")
    return lines


def _per_generated(runs: Sequence[SavedRun], key: str) -> float | None:
    counts: list[Mapping[str, float]] = [run.counts for run in runs]
    if not all(key in c and c.get("generation") for c in counts):
        return None
    return sum(c[key] for c in counts) / sum(c["generation"] for c in counts)
