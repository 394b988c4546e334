"""`wattlens compare A... -- B...`: whether two groups of runs differ in energy, with a confidence interval."""

from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions, print_json, print_lines

if TYPE_CHECKING:
    from wattlens.comparison.saved_run import SavedRun
    from wattlens.comparison.statistics import Comparison, RunEnergy

    Sides = Sequence[list[SavedRun]]


_SEPARATOR = ","


def _configure(add: CommandOptions) -> None:
    add.parser.separator = _SEPARATOR
    add.parser.usage = f"wattlens compare [-h] [--json] A B\n{' ' * 7}wattlens compare [-h] [--json] A... -- B..."
    add.parser.epilog = "Example: wattlens compare before*.json -- after*.json"
    add(
        "runs RUN",
        "runs saved by wattlens measure --out, as files or folders: A and B, or A... -- B... with two or more per side",
        nargs="*",
    )
    add("--baseline RUN", "the runs of A; all other runs are B", nargs="+")
    add("--json", "print JSON")


@dataclass(frozen=True, slots=True)
class _Outcome:
    sides: "Sides"
    comparisons: "dict[str, Comparison]"
    absent: dict[str, str]  # why joules per token of a kind cannot be compared
    factors: tuple[float, float]
    warnings: list[str]
    same_gpus: bool


def _run(args: Namespace) -> int:
    sides = _sides(_split(args.runs, args.baseline))
    try:
        outcome = _outcome(sides)
    except ValueError as error:
        raise UsageError(f"compare: {error}") from None
    if args.json:
        print_json(_as_json(outcome))
    else:
        print_lines(_lines(outcome))
    return 0


def _outcome(sides: "Sides") -> _Outcome:
    from wattlens.comparison.load import warnings
    from wattlens.comparison.saved_run import PER

    factors = _gains(sides)
    comparisons = {"joules": _compare(sides, "", factors), "seconds": _seconds(sides)}
    absent = {}
    for what in PER if any(run.tokens for side in sides for run in side) else ():
        reason = _explain_missing_tokens(sides, what)
        if reason and not _is_counted(sides, what) and any(_is_counted(sides, other) for other in PER):
            continue  # no run counted tokens of this kind, and another kind is compared
        if reason:
            absent[what] = reason
        else:
            comparisons[f"joules_per_token_{what}"] = _compare(sides, what, factors)
    return _Outcome(sides, comparisons, absent, factors, warnings(*sides), _boards(sides[0]) == _boards(sides[1]))


def _paths(text: str) -> list[Path]:
    folder = Path(text)
    return sorted(folder.glob("*.json")) if folder.is_dir() else [Path(part) for part in text.split(",") if part]


def _split(runs: list[str], baseline: list[str] | None) -> tuple[list[str], list[str]]:
    """The words of A and of B."""
    if baseline is None and _SEPARATOR not in runs and len(runs) == 2:
        return [runs[0]], [runs[1]]
    words = runs if baseline is None else baseline
    at = words.index(_SEPARATOR) if _SEPARATOR in words else len(words)
    a, b = words[:at], [*words[at + 1 :], *(runs if baseline is not None else [])]
    if not a or not b or _SEPARATOR in b:
        raise UsageError(f"compare: expected A B or A... -- B..., got {_describe_words(runs, baseline)}")
    return a, b


def _describe_words(runs: list[str], baseline: list[str] | None) -> str:
    """The runs of a command line that has no two sides, in words."""
    separators = runs.count(_SEPARATOR)
    if separators > 1:
        return f"{separators + 1} groups of runs"
    if separators or baseline is not None:
        return "runs of one side only"
    return f"{len(runs)} run{'s' * (len(runs) != 1)} without --" if runs else "no runs"


def _sides(words: tuple[list[str], list[str]]) -> "Sides":
    from wattlens.comparison.saved_run import load

    paths = [[path for word in side for path in _paths(word)] for side in words]
    named = Counter(path.resolve() for side in paths for path in side)
    twice = next((path for path, times in named.items() if times > 1), None)
    if twice is not None:
        raise UsageError(f"compare: {twice} is given twice; a repeated run would make the interval too narrow")
    sides = [[load(path) for path in side] for side in paths]
    counts = [len(side) for side in sides]
    if min(counts) < 1 or (min(counts) < 2 and max(counts) > 1):
        texts = [" ".join(side)[:80] for side in words]
        text, few = min(zip(texts, counts, strict=True), key=lambda each: each[1])
        runs = "1 run" if few == 1 else f"{few} runs"
        raise UsageError(f"compare: {text}: expected two or more runs on each side, or one on each, got {runs}")
    if len({run.simulated for side in sides for run in side}) > 1:
        raise UsageError("compare: runs on simulated and on real GPUs cannot be compared")
    return sides


def _compare(sides: "Sides", what: str, factors: tuple[float, float]) -> "Comparison":
    """Of joules, or, where `what` says of which tokens, of joules per token."""
    from wattlens.comparison.statistics import compare, compare_measured, relative_error, widened

    if len(sides[0]) > 1:
        each = [[(run.per_token(what) if what else run.joules) or 0.0 for run in side] for side in sides]
        errors = [relative_error(_measured(run, what)) for side in sides for run in side]
        return widened(compare(each[0], each[1], errors), factors)
    for (run,) in sides:
        if run.edge_joules is None:
            raise ValueError(f"{run.path} has no edge_joules; give two or more runs per side, which do not need it")
    return widened(compare_measured(*(_measured(run, what) for (run,) in sides)), factors)


def _measured(run: "SavedRun", what: str) -> "RunEnergy":
    from wattlens.comparison.statistics import RunEnergy

    tokens = run.tokens.get(what)
    count, edge = ((tokens.count or 1.0), tokens.edge) if tokens else (1.0, 0.0)
    return RunEnergy(run.joules, run.edge_joules or 0.0, count, edge)


def _seconds(sides: "Sides") -> "Comparison":
    from wattlens.comparison.statistics import RunEnergy, compare, compare_measured

    each = [[run.seconds for run in side] for side in sides]
    if len(each[0]) > 1:
        return compare(*each)
    return compare_measured(*(RunEnergy(seconds, 0.0) for (seconds,) in each))


def _is_counted(sides: "Sides", what: str) -> bool:
    """Whether a run of either side counted tokens of a kind, or states why it could not."""
    from wattlens.comparison.saved_run import uncounted

    counts = [run.tokens[what] for side in sides for run in side if what in run.tokens]
    return any(tokens.count is not None or tokens.reason != uncounted(what) for tokens in counts)


def _explain_missing_tokens(sides: "Sides", what: str) -> str:
    """Why joules per token of a kind cannot be compared; "" where they can."""
    for name, side in zip("AB", sides, strict=True):
        for run in side:
            tokens = run.tokens.get(what)
            if tokens is None:
                return f"{name}: {run.path} has no tokens"
            if tokens.count is None:
                return f"{name}: {run.path}: {tokens.reason}"
            if tokens.edge >= tokens.count:
                return (
                    f"{name}: {run.path}: the count of {tokens.count:.0f} tokens is uncertain by {tokens.edge:.0f}; "
                    "measure for longer"
                )
    return ""


def _boards(runs: "list[SavedRun]") -> set[str]:
    return {uuid for run in runs for uuid in run.boards}


def _gains(sides: "Sides") -> tuple[float, float]:
    """Return the range of gain errors that do not cancel. Files without energy per GPU are compared by their sets of GPUs."""
    from wattlens.comparison.statistics import gain_range

    gains: dict[str, float] = {}
    parts: list[dict[str, float]] = []
    for name, side in zip("AB", sides, strict=True):
        part: dict[str, float] = defaultdict(float)
        for run in side:
            for uuid, joules in run.boards.items():
                gains[uuid] = min(run.gain, gains.get(uuid, run.gain))
                part[uuid] += joules or 0.0
        if not sum(part.values()) or any(joules is None for run in side for joules in run.boards.values()):
            if _boards(sides[0]) == _boards(sides[1]):
                return 1.0, 1.0
            gains[name] = max((run.gain for run in side), default=0.0)
            part = {name: 1.0}
        parts.append(part)
    return gain_range(parts[0], parts[1], gains)


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    from wattlens.comparison.load import batch, labels

    sides = outcome.sides
    rows: dict[str, Any] = {
        what: {
            "mean_a": c.mean_a,
            "mean_b": c.mean_b,
            "ratio": c.ratio,
            "lower": c.low or None,
            "upper": c.high if c.low else None,
            "shown": c.is_significant,
        }
        for what, c in outcome.comparisons.items()
    }
    if len(sides[0]) == 1:  # what one run took is known; whether the next one would is not
        del rows["seconds"]["lower"], rows["seconds"]["upper"], rows["seconds"]["shown"]
    rows |= {f"joules_per_token_{what}": {"reason": reason} for what, reason in outcome.absent.items()}
    return rows | {
        "runs": [len(side) for side in sides],
        "interval": "between runs" if len(sides[0]) > 1 else "of the measurement",
        "same_boards": outcome.same_gpus,
        "gain_factor": list(outcome.factors),
        "simulated": sides[0][0].simulated,
        "labels": [labels(side) for side in sides],
        "models": [_models(side) for side in sides],
        "batch": [batch(side) for side in sides],
        "warnings": outcome.warnings,
    }


def _lines(outcome: _Outcome) -> Iterator[str]:
    sides = outcome.sides
    counts = [f"{name}: {len(side)} run{'s' if len(side) > 1 else ''}" for name, side in zip("AB", sides, strict=True)]
    yield ", ".join(counts) + ("; simulated GPUs" if sides[0][0].simulated else "")
    for name, side in zip("AB", sides, strict=True):
        if text := _describe_side(side):
            yield f"{name}: {text}"
    width = 8 if len(outcome.comparisons) == 2 else 17
    for what, c in outcome.comparisons.items():
        _, per_token, kind = what.partition("joules_per_token_")
        name, unit = (f"J/token {kind}", f"joules per {kind} token") if per_token else (what, what)
        line = f"{name:{width}} A {c.mean_a:.6g}   B {c.mean_b:.6g}   B against A {100 * (c.ratio - 1):+.1f} %"
        if what == "seconds" and len(sides[0]) == 1:
            yield line
            continue
        interval = "no confidence interval: all runs gave the same value"
        if c.low > 0:
            interval = f"{100 * (c.low - 1):+.1f} to {100 * (c.high - 1):+.1f}"
        verdict = f"no difference shown in {unit}"
        if c.is_significant:
            verdict = f"B needs {'more' if c.ratio > 1 else 'fewer'} {unit}"
        yield f"{line} ({interval}): {verdict}"
    for what, reason in outcome.absent.items():
        yield f"J/token {what} cannot be compared: {reason}"
    if len(sides[0]) == 1:
        yield "one run per side: the intervals cover measurement errors, not the variation between runs"
    if outcome.factors != (1.0, 1.0):
        low, high = (100 * (f - 1) for f in outcome.factors)
        where = "on the same GPUs, with different shares of energy per GPU" if outcome.same_gpus else "on different GPUs"
        added = f"{low:+.2f} to {high:+.2f} %"
        yield f"A and B ran {where}: the gain errors of their sensors add {added} to the intervals of joules"
    else:
        yield "A and B ran on the same GPUs: the gain errors of their sensors cancel"
    for warning in outcome.warnings:
        yield f"warning: {warning}"


def _models(side: "list[SavedRun]") -> list[str]:
    return sorted({model for run in side for model in run.models})


def _describe_side(side: "list[SavedRun]") -> str:
    """What a side was, in words."""
    from wattlens.comparison.load import batch, labels

    parts = [", ".join(_models(side))]
    parts += [f"{key}={value}" for key, value in labels(side).items()]
    size = batch(side)
    parts += [f"batch {size:.4g} (mean of running requests)"] if size is not None and "running" in side[0].counts else []
    return "; ".join(part for part in parts if part)


SPEC = Command("compare the energy of saved runs, with a confidence interval", _configure, _run)
