"""A job in the form of Slurm's `seff`, for users of clusters and for the mail at a job's end."""

from collections.abc import Iterator
from fractions import Fraction

from energy_agent.core.text import printable
from wattlens.job.output import bounds_text, duration_text, energy_text, joules_text, number_text, percent_text
from wattlens.job.statement import JobReport


def efficiency_lines(report: JobReport) -> Iterator[str]:
    """One `Name: value` per line; figures that are not available are left out."""
    scheduler, _, name = report.address.partition("/")
    yield printable(f"Job ID: {name if scheduler == 'slurm' else report.address}")
    clusters = sorted({node.cluster for node in report.nodes if node.cluster})
    if clusters:
        yield printable(f"Cluster: {', '.join(clusters)}")
    if user := report.labels.get("user"):
        yield printable(f"User/Account: {user}/{report.labels.get('account', '-')}")
    held_ns = report.active_ns + report.idle_ns
    yield f"Nodes: {len(report.nodes)}"
    if report.gpus:
        yield f"GPUs: {report.gpus}"
    yield f"Job Wall-clock time: {duration_text(report.last_ns - report.first_ns)}"
    yield f"GPU Utilized: {duration_text(report.active_ns)}"
    yield f"GPU Efficiency: {percent_text(report.active_ns, held_ns)} of {duration_text(held_ns)} GPU time"
    simulated = ", simulated" if report.simulated else ""
    if not report.energy.unseen:
        yield f"Energy Utilized: {energy_text(report.energy.energy_uj)} ({bounds_text(report)}{simulated})"
        yield f"Energy Idle: {energy_text(report.idle_uj)} ({percent_text(report.idle_uj, report.energy.energy_uj)})"
    for noun, amount in (("Step", report.joules_per_step), ("Token", report.joules_per_token)):
        if amount.value is not None:
            yield f"Energy per {noun}: {joules_text(Fraction(amount.value))}"
    if report.carbon.value is not None:
        yield f"Carbon Emitted: {number_text(report.carbon.value)} gCO2e"
    if report.cost.value is not None:
        yield f"Cost of Energy: {float(report.cost.value):,.2f} {report.currency}"
