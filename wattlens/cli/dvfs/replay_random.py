"""The part of `wattlens dvfs replay` that plays a trace on a server drawn at random (`--engine random`)."""

import argparse
import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from energy_agent.core.errors import UsageError
from wattlens.cli._command import print_table
from wattlens.cli._options import duration, number, share
from wattlens.cli.dvfs.replay_text import find_policy
from wattlens.terminal_line import drawn_line

if TYPE_CHECKING:
    from dvfs.replay.serving.plant import Arrival, ServingSite, SiteOutcome
    from dvfs.replay.serving.trace import Trace
    from dvfs.replay.serving.verdict import SloTarget

_LINE = 110
_CALIBRATION = 600
OPTIONS: Final[dict[str, tuple[Any, dict[str, Any]]]] = {
    "load": (
        "50%",
        {
            "type": share(0.01, 2), "metavar": "SHARE",
            "help": "mean request rate relative to what the servers can serve",
        },
    ),
    "prefill": (
        None,
        {"type": number(int, 1, 64), "metavar": "N", "help": "replicas that only compute prompts; --replicas then only decode"},
    ),
    "router": (
        "round robin",
        {"choices": ("round robin", "random", "least queue"), "metavar": "NAME", "help": "round robin, random or least queue"},
    ),
    "period": ("1s", {"type": duration(0.2, 5), "metavar": "TIME", "help": "time between two decisions, from 0.2s to 5s"}),
}  # fmt: skip
NOT_WITH: Final = ("model", "gpu", "gpus", "boundness", "rate", "ttft_tokens", "option", "no_hindsight", "chart")
"""Options of the modelled servers that a drawn one does not take."""


def run(args: argparse.Namespace) -> int:
    """Play it and print the result."""
    from dvfs.replay.serving import trace
    from dvfs.replay.serving.plant import RatesCache, serve
    from dvfs.replay.serving.verdict import SloTarget, best_fixed, under_policy

    name = args.policy or "slo"
    policy = find_policy(name, "--engine random", lambda _, spec: spec.serves)
    slo = SloTarget(args.ttft_ms / 1e3, args.itl_ms / 1e3, float(args.attainment))
    if not 0.5 < slo.attainment_ratio < 1:
        raise UsageError("dvfs replay: --attainment: with --engine random expected more than 50% and less than 100%")
    played = trace.read(args.trace).cut(args.skip, getattr(args, "for"))
    site = _draw_site(args)
    arrivals, rate = _arrivals(site, played, float(args.load))
    cache = RatesCache()
    with drawn_line(every_s=0.1) as draw:
        draw("highest clock")
        top = serve(site, arrivals, site.spec.gpu.settings[-1], cache)
        draw("best fixed clock")
        _, best = best_fixed(site, arrivals, slo, top, cache)
        draw(name)
        steered = serve(site, arrivals, under_policy(policy, site.spec, slo, site.period_s), cache)
    runs = {"highest clock": top, "best fixed clock": best, name: steered}
    rows = [_row(rule, run, top, slo) for rule, run in runs.items()]
    if args.json:
        print(json.dumps(_as_json(args, site, arrivals, rate, slo, rows), indent=2, allow_nan=False))
    else:
        _print(args, site, arrivals, rate, slo, rows)
    return 0


def _draw_site(args: argparse.Namespace) -> "ServingSite":
    from dvfs.replay.serving.drawn import random_engine
    from dvfs.replay.serving.plant import ServingSite

    return ServingSite(
        random_engine(args.seed), args.prefill or 0, args.replicas or 1, args.router, args.period, seed=args.seed
    )


def _arrivals(site: "ServingSite", played: "Trace", load: float) -> "tuple[list[Arrival], float]":
    """The trace at that share of the capacity, and its mean rate per second."""
    from dvfs.replay.serving.plant import capacity

    rows = list(zip(played.arrive_s, played.prompt, played.output, strict=True))
    first, then = capacity(site, rows[:_CALIBRATION])
    rate = load * (min(site.prefill * first, site.decode * then) if site.prefill else site.decode * first)
    span = rows[-1][0] - rows[0][0]
    scale = len(rows) / rate / span if span > 0 else 1.0
    return [((at - rows[0][0]) * scale, prompt, output) for at, prompt, output in rows], rate


def _row(rule: str, run: "SiteOutcome", top: "SiteOutcome", slo: "SloTarget") -> dict[str, Any]:
    from dvfs.replay.serving.verdict import is_short, lost_points

    own, best = slo.attained(run), slo.attained(top)
    return {
        "rule": rule,
        "energy_j": run.energy_j,
        "saving_ratio": 1.0 - run.energy_j / top.energy_j,
        "ttft_attainment_ratio": own[0],
        "itl_attainment_ratio": own[1],
        "lost_points": lost_points(own, best, slo.attainment_ratio),
        "keeps_slo": not is_short(own, best, slo.attainment_ratio),
        "mean_mhz": run.mean_mhz,
        "clock_changes": run.clock_changes,
    }


def _as_json(
    args: argparse.Namespace,
    site: "ServingSite",
    arrivals: "list[Arrival]",
    rate: float,
    slo: "SloTarget",
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    from dvfs.replay.serving.drawn import describe

    values = asdict(site.spec.parameters) | asdict(site.spec.gpu.its)
    return {
        "simulated": True,
        "seed": args.seed,
        "trace": {"name": args.trace.name, "requests": len(arrivals), "rate_per_s": rate},
        "slo": {"ttft_s": slo.ttft_s, "itl_s": slo.itl_s, "attainment_ratio": slo.attainment_ratio},
        "prefill_replicas": site.prefill,
        "replicas": site.decode,
        "router": site.router,
        "period_s": site.period_s,
        "settings_mhz": list(site.spec.gpu.settings),
        "parameters": [row | {"value": values[str(row["name"])]} for row in describe()],
        "rows": rows,
    }


def _print(
    args: argparse.Namespace,
    site: "ServingSite",
    arrivals: "list[Arrival]",
    rate: float,
    slo: "SloTarget",
    rows: list[dict[str, Any]],
) -> None:
    spec, gpu = site.spec, site.spec.gpu
    pools = (
        f"{site.prefill} prefill and {site.decode} decode replicas"
        if site.prefill
        else f"{site.decode} replica{'s' if site.decode > 1 else ''}"
    )
    for line in (
        f"Server drawn with seed {args.seed}, simulated; --json lists its parameters. Weights {1e3 * spec.weights_s:.1f} ms "
        f"per step, {1.0 / spec.prefill_s:.0f} prompt tokens/s, {spec.max_batched_tokens} tokens and {spec.max_num_seqs} "
        f"requests per step, {spec.draft_tokens} draft tokens. GPU: {gpu.settings[0]} to {gpu.settings[-1]} MHz, limit "
        f"{gpu.limit_w:.0f} W.",
        f"{args.trace.name}: {len(arrivals)} requests at {rate:.3g} per second, {100 * float(args.load):g} % of the capacity "
        f"of {pools}; router {site.router}, a decision every {site.period_s:g} s.",
        f"Limits: first token {1e3 * slo.ttft_s:g} ms, {1e3 * slo.itl_s:g} ms between tokens, each for "
        f"{100 * slo.attainment_ratio:g} % of the requests.",
    ):
        print(textwrap.fill(line, _LINE))
    print()
    heads = ("RULE", "ENERGY", "SAVING", "TTFT", "ITL", "LOST", "CLOCK", "CHANGES", "SLO")
    print_table([heads, *map(_cells, rows)])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["rule"],
        f"{row['energy_j'] / 1e3:.4g} kJ",
        f"{100 * row['saving_ratio'] + 0.0:.1f} %",
        f"{100 * row['ttft_attainment_ratio']:.2f} %",
        f"{100 * row['itl_attainment_ratio']:.2f} %",
        f"{row['lost_points']:.2f}",
        f"{row['mean_mhz']:.0f} MHz",
        str(row["clock_changes"]),
        "kept" if row["keeps_slo"] else "missed",
    )
