"""The half of `wattlens dvfs replay` that plays a trace of requests on a modelled fleet."""

import argparse
import json
import textwrap
from statistics import median
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError
from wattlens.cli._command import print_table
from wattlens.cli.dvfs.replay_text import Bar, Curve, bars, find_policy, svg
from wattlens.terminal_line import drawn_line

if TYPE_CHECKING:
    from dvfs.replay.serving.replay import PreparedCase, ReplayCase, RuleResult
    from dvfs.replay.serving.server import ReplicaSpec
    from dvfs.replay.serving.trace import Trace
    from dvfs.types import DvfsPolicy

_BROKEN = "misses too many"
_LINE = 110
_LONGEST_S = 30 * 86_400.0
Scored = dict[str, Any]  # a row of the JSON


def run(args: argparse.Namespace) -> int:
    """Play it and print what came of it."""
    from dvfs.knees import load
    from dvfs.replay.serving import replay

    name = args.policy or "slo"
    case, spec, config, said = _case(args, name)
    with drawn_line(every_s=0.1) as draw:
        made = replay.ready(case, draw)
        rows = [made.row("default", made.default), replay.policy(made, name, spec, config, draw)]
        rows += replay.replay_fixed_clocks(made, draw)
        if not args.no_hindsight:
            rows.append(replay.best(made, draw))
    lost = sum(case.trace.prompt) + sum(case.trace.output) - sum(sum(one.prompt) + sum(one.output) for one in made.dealt)
    if lost:
        said.append(
            f"Contexts longer than the memory of a replica ({case.server.kv_tokens} tokens) were cut: {lost} tokens are "
            "missing."
        )
    if not replay.knee_of(case.server.gpu, load())[1]:
        said.append(
            f"The knee table has no row for {case.server.gpu.name}: policies that use the knee keep the original setting, "
            f"the others assume a knee of {case.knee_mhz} MHz."
        )
    scored = _score(made, rows)
    if args.json:
        print(json.dumps(_as_json(made, scored, said), indent=2, allow_nan=False))
    else:
        _print(made, scored, said)
    if args.chart is not None:
        args.chart.write_text(_chart(made, scored, name), encoding="utf-8")
    return 0


def _case(args: argparse.Namespace, name: str) -> "tuple[ReplayCase, DvfsPolicy, Any, list[str]]":
    from dvfs.knees import load
    from dvfs.replay.serving import boards, models, replay, trace
    from dvfs.replay.serving.fleet import RequestLimits
    from dvfs.replay.serving.server import BOUNDNESS, server

    spec = find_policy(name, "--trace", lambda each, policy: policy.serves or each == "static")
    slo = RequestLimits(args.ttft_ms / 1e3, args.itl_ms / 1e3, args.ttft_tokens, float(args.attainment))
    rate, from_s, word = args.rate, args.skip, args.boundness
    board = boards.find(args.gpu)
    made = server(board, models.find(args.model), gpus=args.gpus, engine=args.engine, boundness=BOUNDNESS[word])
    options = {key: _value(text) for key, text in args.option.items()}
    knees = load()
    config = spec.configure(options, knees)
    knee_mhz, _ = replay.knee_of(board, knees)
    whole_trace = trace.read(args.trace)
    played = whole_trace.cut(from_s, getattr(args, "for")).faster(rate)
    if played.arrive_s[-1] > _LONGEST_S:
        raise UsageError(
            f"dvfs replay: {played.name}: expected at most {_LONGEST_S / 86_400:.0f} days, got "
            f"{played.arrive_s[-1] / 86_400:.0f}; is its time in ms? otherwise shorten it with --skip and --for"
        )
    if args.replicas is not None and args.replicas > len(played):
        raise UsageError(
            f"dvfs replay: --replicas: expected at most {len(played)}, the requests of the trace, got {args.replicas}"
        )
    levels = int(options.get("levels", replay.LEVELS))
    case = replay.ReplayCase(made, slo, played, knee_mhz, args.replicas, levels, args.seed)
    return case, spec, config, [*_about(played, rate, from_s), *_assumptions(made, word)]


def _value(text: str) -> int | float | bool | str:
    """A policy's option: a number, true, false, or else a word."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return parsed if isinstance(parsed, int | float | bool) else text


def _about(trace: "Trace", rate: float, from_s: float) -> list[str]:
    span = trace.arrive_s[-1] - trace.arrive_s[0]
    start = f", from {from_s:g} s on" if from_s else ""
    return [
        f"{trace.name}{start} at {rate:g}x: {len(trace)} requests in {span:.0f} s, median prompt "
        f"{median(trace.prompt):.0f} tokens, median output {median(trace.output):.0f} tokens."
    ]


def _assumptions(one: "ReplicaSpec", word: str) -> list[str]:
    host = one.model.host_of(one.gpu.key, one.engine)
    figures = []
    for basis in ("measured", "fitted", "assumed"):
        names = [value for value, its in one.gpu.bases if its == basis]
        figures.append(f"{len(names)} {basis}" + (f" ({', '.join(names)})" if names and basis != "measured" else ""))
    sizes = ", ".join(sorted({basis for _, basis in one.model.bases}))
    part = f"{1e3 * one.host_step_s:.3g} ms per step and {1e3 * one.host_sequence_s:.3g} ms per request in it, {host.basis}"
    return [
        f"Memory-boundness {word}: decode {one.decode_boundness:g}, prefill {one.prefill_boundness:g}; assumed, because "
        "measured values run from 0 to 1 with batch, model and GPU. Compare with low and high.",
        f"{one.model.name} (sizes: {sizes}) on {one.gpus} x {one.gpu.name} with engine {one.engine}: host time {part}.",
        f"Figures of the GPU: {', '.join(figures)}. Decode power by batch: "
        f"{'fitted to this GPU' if one.gpu.decode_intensity else 'that of an H100, scaled'}.",
        *(f"More than 10 % off, {phase}: {text}." for phase, text in one.gpu.marks),
    ]


def _print(made: "PreparedCase", rows: list[Scored], said: list[str]) -> None:
    slo, n = made.case.slo, made.replicas
    for line in said:
        print(textwrap.fill(line, _LINE))
    choice = (
        "as requested"
        if made.case.replicas is not None
        else f"the fewest that keep {100 * slo.attainment_ratio:g} % of requests within the limits"
    )
    longer = f" (in proportion for prompts longer than {slo.ttft_tokens})" if slo.ttft_tokens is not None else ""
    limits = f"first token {1e3 * slo.ttft_s:g} ms{longer}, {1e3 * slo.itl_s:g} ms between tokens"
    print(textwrap.fill(f"{n} replica{'s' if n > 1 else ''}, {choice}. Limits: {limits}.", _LINE))
    print()
    heads = ("RULE", "ENERGY", "SAVING", "ATTAINMENT", "DIFFERENCE", "J/TOKEN", "CHANGES", "OF HINDSIGHT", "NOTE")
    print_table([heads, *map(_cells, rows)])
    print()
    print("Saving in % of the default's energy (x: more misses than the default plus one in 200 requests):")
    for line in bars(_bars(rows)):
        print(line)


def _cells(row: Scored) -> tuple[str, ...]:
    share = row["of_hindsight_ratio"]
    notes = [row["note"]] if row["note"] else []
    notes += [] if row["within_rule"] else [_BROKEN]
    notes += ["never set a clock"] if row["clock_changes"] == 0 and not _percent(row) else []
    return (
        row["rule"],
        _joules(row["energy_j"]),
        f"{_percent(row):.1f} %",
        f"{100 * row['attainment_ratio']:.2f} %",
        f"{100 * row['difference_ratio']:+.2f}",
        f"{row['joules_per_token']:.3g}",
        "-" if row["clock_changes"] is None else str(row["clock_changes"]),
        "-" if share is None else f"{100 * share:.0f} %",
        ", ".join(notes) or "-",
    )


def _percent(row: Scored) -> float:
    """Saving to a tenth; never a negative zero."""
    return round(100 * float(row["saving_ratio"]), 1) + 0.0


def _joules(joules: float) -> str:
    for scale, unit in ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ")):
        if joules >= scale:
            return f"{joules / scale:.4g} {unit}"
    return f"{joules:.4g} J"


def _bars(rows: list[Scored]) -> list[Bar]:
    return [
        Bar(
            row["rule"],
            100 * row["saving_ratio"],
            f"{_percent(row):.1f} %, {100 * row['difference_ratio']:+.2f} points",
            broken=not row["within_rule"],
        )
        for row in rows
        if row["rule"] != "default"
    ]


def _chart(made: "PreparedCase", rows: list[Scored], name: str) -> str:
    from dvfs.replay.serving.replay import HINDSIGHT

    shown = {row["rule"]: row["mean_mhz"] for row in rows if row["rule"] in (name, HINDSIGHT) and row["mean_mhz"]}
    longest = max(map(len, shown.values()), default=0)  # the last clock of hindsight is held until all have ended
    curves = [Curve(rule, (*mhz, *mhz[-1:] * (longest - len(mhz))), rule == HINDSIGHT) for rule, mhz in shown.items()]
    title = f"{made.case.trace.name}: energy saved by clocks, and change of attainment (simulated)"
    return svg(title, _bars(rows), _BROKEN, curves, "mean clock lock, MHz", "60 s")


def _as_json(made: "PreparedCase", rows: list[Scored], said: list[str]) -> dict[str, Any]:
    case, one = made.case, made.case.server
    return {
        "trace": {"name": case.trace.name, "requests": len(case.trace), "seconds": case.trace.arrive_s[-1]},
        "server": {
            "model": one.model.key,
            "gpu": one.gpu.key,
            "gpus": one.gpus,
            "engine": one.engine,
            "decode_boundness": one.decode_boundness,
            "prefill_boundness": one.prefill_boundness,
            "basis": dict(one.gpu.bases) | dict(one.model.bases) | {"boundness": "assumed"}
            | {"host": one.model.host_of(one.gpu.key, one.engine).basis},
            "marked": dict(one.gpu.marks),
        },
        "slo": {
            "ttft_s": case.slo.ttft_s,
            "ttft_tokens": case.slo.ttft_tokens,
            "itl_s": case.slo.itl_s,
            "attainment_ratio": case.slo.attainment_ratio,
        },
        "simulated": True,
        "replicas": made.replicas,
        "grid_mhz": [rates.lock_mhz for rates in made.grid],
        "tokens": made.tokens,
        "seconds": made.default.seconds,
        "rows": rows,
        "assumptions": said,
    }  # fmt: skip


def _score(made: "PreparedCase", rows: "list[RuleResult]") -> list[Scored]:
    from dvfs.replay.serving.replay import HINDSIGHT

    best = next((made.saving_ratio(row) for row in rows if row.rule == HINDSIGHT), 0.0)
    return [
        {
            "rule": row.rule,
            "energy_j": row.energy_j,
            "saving_ratio": made.saving_ratio(row),
            "attainment_ratio": made.attainment_ratio(row),
            "difference_ratio": (made.default.failed - row.failed) / made.default.requests + 0.0,  # never a negative zero
            "within_rule": made.keeps(row),
            "joules_per_token": row.energy_j / made.tokens,
            "clock_changes": row.changes,
            "of_hindsight_ratio": made.saving_ratio(row) / best if best > 0 and row.rule != "default" else None,
            "mean_mhz": list(row.mean_mhz),
            "note": row.note,
        }
        for row in rows
    ]
