"""Which workloads are largest, which trained, and what price classes charge: worked out by hand."""

from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import State, Steps, WorkloadFacts
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.figures.facts import Facts
from reports.inputs.organisation import Organisation, SiteInputs
from reports.inputs.records import GpuHourPrice
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.chains import HOUR
from tests.reports.golden import PRICES, at, cells, tariff

JULY = at("2026-07-01")
Use = tuple[str, str, dict[str, str], str, int]
"""Node, workload, labels, kWh a cell of an hour, training steps."""


def make_facts(folder: Path, uses: list[Use], told_by: Organisation) -> Facts:
    """Each use an hour of a GPU of its own."""
    by_node: dict[str, list[Batch]] = {}
    for n, (node, workload, labels, kwh, steps) in enumerate(uses):
        gpu = f"GPU-{n}"
        counts = [Steps(JULY, JULY + HOUR, workload, "training", steps)] if steps else []
        facts = [WorkloadFacts(workload, JULY, workload.partition(":")[0], labels)]
        entries = cells(JULY, gpu, workload, State.ACTIVE, [kwh] * 4)
        batch = Batch(entries, steps=counts, facts=facts, devices=[DeviceFacts(gpu, "H100", 0.02, JULY)])
        by_node.setdefault(node, []).append(batch)
    for node, batches in by_node.items():
        chains.write(folder / "segments", "lab", node, batches)
    days = chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))
    return chains.facts(days, told_by, PeriodRequest("2026Q3"))


def test_a_job_on_very_many_nodes_is_one_workload(tmp_path: Path) -> None:
    """Of 260 nodes with 0.04 kWh each, 10.4 kWh, none is as large as the 1 kWh of a pod on one node."""
    uses: list[Use] = [(f"n{n:03d}", "slurm:7", {"name": "pretrain"}, "0.01", 0) for n in range(260)]
    facts = make_facts(tmp_path, [*uses, ("n000", "pod:x", {"namespace": "ml", "pod": "chat"}, "0.25", 0)], Organisation())
    largest = [facts.figures[f"largest/{rank:02d}"] for rank in (1, 2)]
    assert [(f.dims["workload"], f.text) for f in largest] == [("pretrain", "37440000"), ("ml/chat", "3600000")]
    assert largest[0].dims["gpu_hours"] == "260"


def test_pods_of_a_job_are_one_row_whichever_nodes_they_were_on(tmp_path: Path) -> None:
    """Three pods of a JobSet, one of which replaced another, and a Slurm job on two nodes; a pod of its own keeps its name."""
    labels = {"namespace": "ml", "owner": "JobSet/llama"}
    uses: list[Use] = [(f"n{n}", f"pod:{n}", {**labels, "pod": f"llama-{n}"}, "0.25", 0) for n in range(3)]
    uses += [(f"n{n}", "slurm:9", {"owner": "Job/9", "job": "9", "user": "ann"}, "0.125", 0) for n in range(2)]
    uses.append(("n1", "pod:x", {"namespace": "ml", "pod": "notebook"}, "0.125", 0))
    facts = make_facts(tmp_path, uses, Organisation())
    largest = [facts.figures[f"largest/{rank:02d}"] for rank in (1, 2, 3)]
    assert [(f.dims["workload"], f.text) for f in largest] == [
        ("k8s/ml/JobSet/llama", "10800000"),
        ("slurm/9", "3600000"),
        ("ml/notebook", "1800000"),
    ]


def test_only_what_trained_is_a_training_run_with_all_ranks_of_its_job_and_group(tmp_path: Path) -> None:
    """Nothing is labelled but a group: two nodes of a job and two pods of a group are the run, 4 kWh; a notebook is not."""
    uses: list[Use] = [
        ("n1", "slurm:7", {}, "0.25", 500),
        ("n2", "slurm:7", {}, "0.25", 0),  # a rank whose steps the first rank reports
        ("n1", "pod:a", {"group": "g", "namespace": "ml", "owner": "Job/j"}, "0.25", 20),
        ("n2", "pod:b", {"group": "g", "namespace": "ml", "owner": "Job/j"}, "0.25", 0),
        ("n2", "pod:c", {"group": "g", "namespace": "dev", "owner": "Job/j"}, "0.25", 0),  # of others, who use the same name
        ("n2", "notebook", {}, "0.25", 0),
    ]
    facts = make_facts(tmp_path, uses, Organisation())
    (run,) = facts.by_prefix("training.energy/run/")
    assert (run.text, run.dims["steps"]) == (str(4 * 3_600_000), "520")


def charged(tmp_path: Path, prices: tuple[GpuHourPrice, ...], *, tariffs: bool) -> tuple[str | None, str | None]:
    site = SiteInputs("here", ZoneInfo("UTC"), tariffs=tariff("0.20") if tariffs else ())
    uses: list[Use] = [
        ("n1", "w", {"team": "red", "class": "spot"}, "0.25", 0),
        ("n1", "v", {"team": "red"}, "0.75", 0),
    ]
    figure = make_facts(tmp_path, uses, Organisation(sites={"here": site}, prices=prices)).figures["charged/team/red"]
    return figure.text or None, figure.reason


SPOT, OTHER = PRICES


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("prices", "tariffs", "value", "reason"),
    [
        ((SPOT, OTHER), True, str(1 + 2 + Fraction(1, 2) * 3 * Fraction("0.2")), None),  # of its own 3 kWh, not of a mean
        ((SPOT, OTHER), False, None, "the cost of its electricity is not known"),
        ((SPOT, GpuHourPrice(currency="EUR", per_gpu_hour=2)), False, "3", None),
        ((SPOT, GpuHourPrice(electricity_share_percent=100)), True, "1.6", None),
        ((SPOT, GpuHourPrice(currency="USD", per_gpu_hour=2)), True, None, "price classes and tariffs use several currencies"),
        ((SPOT,), True, "1", None),
    ],
)
def test_price_classes(
    tmp_path: Path, prices: tuple[GpuHourPrice, ...], *, tariffs: bool, value: str | None, reason: str | None
) -> None:
    wanted = None if value is None else f"{float(Fraction(value)):g}"
    assert charged(tmp_path, prices, tariffs=tariffs) == (wanted, reason)
