"""A job as text and JSON. `energy_uj` is exact; a missing value has its reason."""

import json
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR
from fractions import Fraction
from math import floor, log10
from typing import Any, Final, TextIO

from energy_agent.core.quantity import Quantity
from energy_agent.core.text import printable
from energy_agent.core.units import NS_PER_S, UJ_PER_KWH
from reports.figures.energy import UNSEEN
from reports.period import utc_text
from wattlens.job.statement import TRAINING, JobNode, JobReport
from wattlens.usage.output import NO_BOUNDS, NO_UPPER, aligned, count, decimal_text, energy_kwh, minute

NODES_SHOWN: Final = 10
NS_PER_HOUR: Final = 3600 * NS_PER_S
_PREFIXES: Final = ((10**12, "TJ"), (10**9, "GJ"), (10**6, "MJ"), (10**3, "kJ"), (1, "J"), (Fraction(1, 1000), "mJ"))


def number_text(number: Fraction | float) -> str:
    """A number with four significant digits, grouped and without an exponent."""
    value = float(number)
    digits = max(0, 3 - floor(log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def joules_text(joules: Fraction) -> str:
    """Joules with a prefix and four digits: 1.843 MJ."""
    if not joules:
        return "0 J"
    size, unit = next((each for each in _PREFIXES if joules >= each[0]), _PREFIXES[-1])
    return f"{number_text(joules / size)} {unit}"


def energy_text(uj: int) -> str:
    """Energy in kWh where it is that much, else in joules with a prefix."""
    return f"{number_text(Fraction(uj, UJ_PER_KWH))} kWh" if uj >= UJ_PER_KWH else joules_text(Fraction(uj, 10**6))


def duration_text(ns: int) -> str:
    """A duration as Slurm prints it: [D-]HH:MM:SS."""
    seconds = ns // NS_PER_S
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def percent_text(part: int, whole: int) -> str:
    """A share in percent with one decimal."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def bounds_text(report: JobReport) -> str:
    """The bounds of the energy, or why they are missing."""
    energy = report.energy
    if energy.low_uj is None:
        return f"no bounds: {NO_BOUNDS}"
    high = NO_UPPER if energy.high_uj is None else energy_text(energy.high_uj)
    return f"{energy_text(energy.low_uj)} to {high}"


def text_lines(report: JobReport) -> Iterator[str]:
    """The job for people."""
    first, last = (minute(t_ns) for t_ns in (report.first_ns, report.last_ns))
    yield printable(f"Job {report.address}, {first} to {last} UTC ({duration_text(report.last_ns - report.first_ns)})")
    simulated = "simulated " if report.simulated else ""
    gpus = count(report.gpus, f"{simulated}GPU") if report.gpus else f"unknown {simulated}GPUs"
    what = "whole nodes" if report.whole_nodes else f"GPUs only ({report.gpus_only})"
    yield printable(
        f"{report.source}: {gpus} on {count(len(report.nodes), 'node')}, "
        f"{count(report.workloads, _member(report))}; energy of {what}"
    )
    if report.labels:
        yield printable(", ".join(f"{name} {value}" for name, value in report.labels.items()))
    yield ""
    yield from _aligned(_figures(report))
    yield ""
    yield from _node_lines(report)


def _member(report: JobReport) -> str:
    return "Slurm job" if report.address.startswith("slurm/") else "pod"


def _figures(report: JobReport) -> Iterator[tuple[str, str, str]]:
    energy = report.energy
    if energy.unseen:
        yield "Energy", "-", f"{UNSEEN}; {bounds_text(report)}"
    else:
        yield "Energy", energy_text(energy.energy_uj), bounds_text(report)
        yield "  active", energy_text(report.active_uj), percent_text(report.active_uj, energy.energy_uj)
        idle = f"{percent_text(report.idle_uj, energy.energy_uj)}, allocated, no kernel ran"
        yield "  idle", energy_text(report.idle_uj), idle
    held_ns = report.active_ns + report.idle_ns
    yield (
        "GPU time",
        f"{number_text(held_ns / NS_PER_HOUR)} h",
        f"{percent_text(report.idle_ns, held_ns)} idle, at most {report.gpus_peak:,.4g} GPUs at once",
    )
    yield "Steps", f"{report.step_count:,}" if report.step_count else "-", _ratio(report.joules_per_step, "step")
    tokens, phase = report.token_count
    yield "Tokens", f"{tokens:,}" if tokens else "-", _ratio(report.joules_per_token, f"{phase} token" if tokens else "token")
    for phase in sorted({*report.steps, *report.phases} - {TRAINING}):
        energy_uj, gpu_ns = report.phases.get(phase, (0, 0))
        steps = f", {report.steps[phase]:,} steps" if phase in report.steps else ""
        share = f"{percent_text(energy_uj, report.gpu_uj)} of GPU energy, {number_text(gpu_ns / NS_PER_HOUR)} GPU hours{steps}"
        yield f"Phase {phase}", energy_text(energy_uj), share
    if report.cost.value is not None:
        yield "Cost", f"{float(report.cost.value):,.2f} {report.currency}", ""
    if report.carbon.value is not None:
        yield "CO2e", f"{number_text(report.carbon.value)} g", ""


def _ratio(amount: Quantity, noun: str) -> str:
    if amount.value is None:
        return amount.reason
    between = "" if amount.low is None or amount.high is None else f" ({joules_text(amount.low)} to {joules_text(amount.high)})"
    return f"{joules_text(amount.value)} per {noun}{between}"


def _aligned(rows: Iterator[tuple[str, str, str]]) -> Iterator[str]:
    lines = list(rows)
    widths = [max(len(line[at]) for line in lines) for at in range(2)]
    for name, value, note in lines:
        yield printable(f"{name:<{widths[0]}}  {value:>{widths[1]}}  {note}".rstrip())


def _node_lines(report: JobReport) -> Iterator[str]:
    nodes = report.nodes[:NODES_SHOWN]
    clusters = len({node.cluster for node in report.nodes}) > 1
    cells = [("NODE", "ENERGY", "IDLE", "GPU HOURS", "FROM", "TO")]
    for node in nodes:
        cells.append(
            (
                f"{node.cluster}/{node.node}" if clusters else node.node,
                energy_text(node.energy_uj) if node.energy_uj else "-",
                percent_text(node.idle_uj, node.energy_uj),
                number_text(node.gpu_ns / NS_PER_HOUR),
                minute(node.first_ns),
                minute(node.last_ns),
            )
        )
    rest = report.nodes[NODES_SHOWN:]
    if rest:
        cells.append(_remaining_nodes(rest))
    yield from map(printable, aligned(cells))


def _remaining_nodes(nodes: tuple[JobNode, ...]) -> tuple[str, str, str, str, str, str]:
    energy_uj, idle_uj = sum(node.energy_uj for node in nodes), sum(node.idle_uj for node in nodes)
    hours = sum(node.gpu_ns for node in nodes) / NS_PER_HOUR
    first, last = min(node.first_ns for node in nodes), max(node.last_ns for node in nodes)
    idle = percent_text(idle_uj, energy_uj)
    energy = energy_text(energy_uj) if energy_uj else "-"
    return f"{len(nodes)} others", energy, idle, number_text(hours), minute(first), minute(last)


def write_json(report: JobReport, file: TextIO) -> None:
    """One object."""
    file.write(json.dumps(job_values(report), indent=1) + "\n")


def job_values(report: JobReport) -> dict[str, Any]:
    """A job as JSON has it. Whole microjoules are text, because JSON readers round large numbers."""
    energy, absent = report.energy, dict[str, str]()
    document: dict[str, Any] = {
        "job": report.address,
        "source": report.source,
        "labels": dict(report.labels),
        "simulated": report.simulated,
        "boundary": "node" if report.whole_nodes else "gpu",
        "from": utc_text(report.first_ns),
        "to": utc_text(report.last_ns),
    }
    sums = {"energy": energy.energy_uj, "active": report.active_uj, "idle": report.idle_uj, "gpu": report.gpu_uj}
    document |= {f"{name}_uj": None if energy.unseen else str(uj) for name, uj in sums.items()}
    if energy.unseen:
        absent |= dict.fromkeys((*(f"{name}_uj" for name in sums), "energy_kwh"), UNSEEN)
    document |= {name: None if text is None else float(text) for name, text in energy_kwh(energy, absent).items()}
    document |= {
        "gpu_hours_active": report.active_ns / NS_PER_HOUR,
        "gpu_hours_idle": report.idle_ns / NS_PER_HOUR,
        "gpus": report.gpus or None,
        "gpus_peak": report.gpus_peak,
        "workloads": report.workloads,
        "steps": dict(report.steps),
        "tokens": dict(report.tokens),
        "phases": {
            phase: {"energy_uj": str(energy_uj), "gpu_hours": gpu_ns / NS_PER_HOUR}
            for phase, (energy_uj, gpu_ns) in report.phases.items()
        },
    }
    if not report.gpus:
        absent["gpus"] = f"GPUs are known by their energy: {UNSEEN}"
    amounts = {
        "joules_per_step": report.joules_per_step,
        "joules_per_token": report.joules_per_token,
        "cost": report.cost,
        "co2e_g": report.carbon,
    }
    for name, amount in amounts.items():
        document |= _numbers(name, amount)
        if amount.value is None:
            absent[name] = amount.reason
    document["currency"] = report.currency or None
    if report.gpus_only:
        document["boundary_reason"] = report.gpus_only
    document["absent"] = absent
    document["nodes"] = [
        {
            "cluster": node.cluster,
            "node": node.node,
            "energy_uj": str(node.energy_uj) if node.energy_uj else None,
            "idle_uj": str(node.idle_uj) if node.energy_uj else None,
            "gpu_hours": node.gpu_ns / NS_PER_HOUR,
            "gpus": node.gpus or None,
            "workloads": node.workloads,
            "from": utc_text(node.first_ns),
            "to": utc_text(node.last_ns),
        }
        for node in report.nodes
    ]
    return document


def _numbers(name: str, amount: Quantity) -> dict[str, float | None]:
    parts = {
        name: (amount.value, None),
        f"{name}_lower": (amount.low, ROUND_FLOOR),
        f"{name}_upper": (amount.high, ROUND_CEILING),
    }
    return {
        key: None if value is None else float(decimal_text(value) if rounding is None else decimal_text(value, rounding))
        for key, (value, rounding) in parts.items()
    }


def efficiency_lines(report: JobReport) -> Iterator[str]:
    """A job in the form of Slurm's `seff`, one `Name: value` per line; figures that are not available are left out."""
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
