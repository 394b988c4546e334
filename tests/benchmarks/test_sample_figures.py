"""Figures of the sample report against integers that are summed as the fleet's generator draws them, without ledger or SQL."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from benchmarks import sample_fleet, sample_report
from energy_agent.core.energy import State

FACTS = json.loads((Path(__file__).parents[2] / "docs/sample-report/facts.json").read_text())
FIGURES = {figure["id"]: figure for figure in FACTS["figures"]}
MODELS = {"llama-3.1-70b": "Llama 3.1 70B", "llama-3.1-8b": "Llama 3.1 8B", "qwen2.5-7b": "Qwen2.5 7B", "bge-m3": "BGE M3"}
STATES = {State.ACTIVE: "active", State.IDLE: "idle", State.UNALLOCATED: "unheld"}
J, KWH, HOUR_NS = 1_000_000, 3_600_000_000_000, 3_600_000_000_000
WITHOUT_METER = "par1"
"""Nodes of this site have no meter of their own: sums with its hosts are absent."""


def owners(job: sample_fleet.ScheduledWorkload) -> dict[str, str]:
    """The groups of the report that a workload is in."""
    labels = job.labels
    team = labels.get("namespace") or labels["account"]
    model = f"{MODELS[labels['model']]} ({labels['precision']})" if "model" in labels else ""
    return {"team": team, "project": f"{team}/{labels['project']}", "model": model, "kind": job.kind}


def cells() -> Iterator[tuple[str, str, int, sample_fleet.CellEntries]]:
    """(site, node, day, cell) of each cell in the quarter of its site."""
    for node in sample_fleet.NODES:
        site = sample_fleet.SITE_OF[node]
        start_ns, end_ns = (int(FACTS["sites"][site][name]) for name in ("start_ns", "end_ns"))
        for day in range(sample_fleet.INSTALLED.get(node, 0), sample_fleet.DAYS):
            yield from ((site, node, day, c) for c in sample_fleet.node_cells(node, day) if start_ns <= c.start_ns < end_ns)


@cache
def sums() -> Counter[str]:
    """uJ, ns and counts by figure; of energy with hosts and of CO2e, too, where each node has a meter."""
    total: Counter[str] = Counter()
    for site, node, day, cell in cells():
        jobs = {job.name: job for job in sample_fleet.NODES[node]}
        grams = sample_report.grid_g_per_kwh(day, datetime.fromtimestamp(cell.start_ns // 10**9, UTC))
        for entry in cell.entries:
            suffixes = ["", f"/site/{site}"]
            if entry.device.startswith("GPU-"):
                for suffix in suffixes:
                    total[f"energy.gpu{suffix}"] += entry.energy_uj
                    total[f"energy.gpu.{STATES[entry.state]}{suffix}"] += entry.energy_uj
            if not entry.workload:
                continue
            for suffix in suffixes + [f"/{dimension}/{name}" for dimension, name in owners(jobs[entry.workload]).items()]:
                if site != WITHOUT_METER:
                    total[f"energy.held.node{suffix}"] += entry.energy_uj
                    total[f"grams{suffix}"] += entry.energy_uj * grams
                if entry.device.startswith("GPU-"):
                    total[f"gpu_hours{suffix}"] += entry.gpu_ns
                    total[f"energy.held{suffix}"] += entry.energy_uj
                    total[f"energy.held.{STATES[entry.state]}{suffix}"] += entry.energy_uj
        if site != WITHOUT_METER:
            total[f"energy.node/site/{site}"] += cell.node_uj
        for tokens in cell.tokens:
            of, name = owners(jobs[tokens.workload]), tokens.phase
            name = "requests" if name == "request" else f"tokens.{name}"
            for suffix in ("", f"/team/{of['team']}", f"/model/{of['model']}"):
                total[f"{name}{suffix}"] += tokens.tokens
    return total


def nine_digits(value: Fraction) -> Fraction:
    context = Context(prec=9, rounding=ROUND_HALF_EVEN)
    return Fraction(context.divide(Decimal(value.numerator), Decimal(value.denominator)))


def test_every_sum_is_equal_to_the_last_digit() -> None:
    checked = 0
    for name, value in sums().items():
        figure = FIGURES.get(name)
        if figure is None or figure["value"] is None:
            continue
        scale = J if name.startswith("energy.") else HOUR_NS if name.startswith("gpu_hours") else 1
        exact = Fraction(value, scale)
        assert Fraction(figure["value"]) in ({exact, nine_digits(exact)} if ".node" in name else {exact}), name
        checked += 1
    assert checked > 120


def test_co2e_of_a_team_is_that_of_its_hours_times_the_pue() -> None:
    for suffix in ("/team/vision", "/team/assistants", "/project/vision/perception"):
        grams = Fraction(sums()[f"grams{suffix}"], KWH) * Fraction(FIGURES["pue/site/fra1"]["value"])
        assert float(FIGURES[f"co2e.held.location{suffix}"]["value"]) == pytest.approx(float(grams), rel=2e-8)


def test_bounds_of_a_sites_gpus_are_its_gain_edges_and_gaps() -> None:
    """A gain error of at most g is at most E g / (1 - g) of the metered energy E, rounded up for each GPU."""
    energy_uj: dict[tuple[str, str], list[int]] = {}
    for site, _, _, cell in cells():
        for entry in cell.entries:
            if entry.device.startswith("GPU-"):
                energy_uj.setdefault((site, entry.device), []).append(entry.energy_uj)
    for site in FACTS["sites"]:
        boards = {device: sum(values) for (of, device), values in energy_uj.items() if of == site}
        runs = sum(1 + device.startswith("GPU-a2") for device in boards)  # the outage parts those of one node
        wrong_uj = sum(-(-uj * 2 // 98) for uj in boards.values()) + runs * 2 * 30 * J
        unseen_uj = 4 * 700 * 900 * 10 * J if site == "fra1" else 0
        low, high = (Fraction(FIGURES[f"energy.gpu/site/{site}"][name]) * J for name in ("low", "high"))
        assert (low, high) == (sum(boards.values()) - wrong_uj, sum(boards.values()) + wrong_uj + unseen_uj)
