"""The results of the demo in about a dozen lines, and what to try next. Pure but for `read_figures`."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from energy_agent.core.text import printable
from energy_agent.core.units import J_PER_KWH, UJ_PER_KWH, joules
from wattlens.demo.result import DemoResult, saving_lines

Figures = Mapping[str, Mapping[str, Any]]
"""Figures of the report by their ids, as facts.json has them."""
_NAME = 18
_LARGEST = 4


def read_figures(path: Path) -> Figures:
    """The figures of a report's facts.json."""
    return {figure["id"]: figure for figure in json.loads(path.read_text())["figures"]}


def text(result: DemoResult, figures: Figures, no_report: str = "", wattlens: str = "wattlens") -> str:
    """Results, where the details are, and three commands to try.

    Args:
        result: of the run.
        figures: of its report; none where there is no report.
        no_report: the reason for that.
        wattlens: how the user's shell starts the program.
    """
    out = shlex.quote(str(result.out))
    rows = [
        ("energy", _energy(result)),
        ("by workload", _workloads(result)),
        *[("energy per token", line) for line in _tokens(result)],
        ("building energy", _building(figures, no_report)),
        ("CO2e", _figure(figures, "co2e.location", "g", no_report, "for the building (Scope 2, location-based)")),
        ("electricity cost", _cost(figures, no_report)),
        ("PUE", _figure(figures, "pue", "", no_report, "of the building")),
        *[("DVFS saving" if number == 0 else "", line) for number, line in enumerate(saving_lines(result.saving))],
        ("GPU settings", "restored to the original" if result.restored else "NOT restored"),
        ("ledger", _ledger(result)),
    ]
    lines = [
        "",
        "Results (simulated hardware: no figure here is from a real GPU)",
        *(f"  {name:{_NAME}}{value}" for name, value in rows),
        "",
        f"Details: {out}/summary.txt",
        *([f"Report:  {out}/report/report.html"] if figures else []),
        "",
        "Try next:",
        f"  {wattlens} ledger export {out}/state --sum --workload {shlex.quote(_first_workload(result))}",
        f"  {wattlens} ledger verify {out}/state",
        f"  {wattlens} pue --ledger {out}/site" if "site/" in result.files else f"  {wattlens} doctor",
    ]
    return "\n".join(map(printable, lines))


def _energy(result: DemoResult) -> str:
    gpus, host = result.ledger_summary.gpus.counters_uj, result.ledger_summary.host
    if not host.devices:
        return f"{_kwh(gpus)} kWh for the GPUs ({joules(gpus):,.0f} J)"
    whole = gpus + host.counters_uj
    return f"{_kwh(whole)} kWh for the node ({joules(whole):,.0f} J), {_kwh(gpus)} kWh of it for the GPUs"


def _workloads(result: DemoResult) -> str:
    """Shares of the GPUs' energy, the largest first."""
    gpus = result.ledger_summary.gpus
    parts = [(result.names.get(name, name), bounds.energy_uj) for name, bounds in gpus.workloads]
    parts += [("unallocated", gpus.unallocated_uj), ("unattributed", gpus.unattributed_uj)]
    ordered = sorted(((name, uj) for name, uj in parts if uj), key=lambda part: -part[1])
    total = sum(uj for _, uj in ordered)
    if not total:
        return "no energy was recorded"
    return ", ".join(f"{name} {100 * uj / total:.0f} %" for name, uj in ordered[:_LARGEST]) + " of the GPU energy"


def _tokens(result: DemoResult) -> list[str]:
    costs = result.ledger_summary.tokens
    return [
        f"{t.j_per_token:.3f} J ({t.lower:.3f} to {t.upper:.3f}), {result.names.get(t.workload, t.workload)}, GPUs only"
        for t in costs
    ] or ["not available: no tokens were generated"]


def _figure(figures: Figures, name: str, unit: str, no_report: str, note: str) -> str:
    """A figure with its bounds, or the reason for its absence."""
    figure = figures.get(name)
    if figure is None or figure.get("value") is None:
        return f"not available: {(figure or {}).get('reason') or no_report}"
    low, high = figure.get("low"), figure.get("high")
    bounds = f" ({_short(low)} to {_short(high)})" if low is not None and high is not None else ""
    return f"{_short(figure['value'])}{' ' + unit if unit else ''}{bounds} {note}"


def _building(figures: Figures, no_report: str) -> str:
    """The energy that CO2e and cost are for, which is several times the node's."""
    figure = figures.get("energy.facility", {})
    if figure.get("value") is None:
        return f"not available: {figure.get('reason') or no_report}"
    return f"{_short(float(figure['value']) / J_PER_KWH)} kWh for the simulated building that contains this node"


def _cost(figures: Figures, no_report: str) -> str:
    of_site = {name: figure for name, figure in figures.items() if name == "cost" or name.startswith("cost/site/")}
    for figure in of_site.values():
        if figure.get("value") is not None:
            return f"{_short(figure['value'])} {figure['unit']} for the building at a sample price"
    return f"not available: {of_site.get('cost', {}).get('reason') or no_report}"


def _ledger(result: DemoResult) -> str:
    ledger = result.ledger_summary
    if ledger.chain_faults:
        return f"NOT intact: {ledger.chain_faults[0]}"
    if not ledger.conserved:
        return f"does NOT add up: {ledger.gpus.buckets_uj:,} uJ by workload, {ledger.gpus.counters_uj:,} uJ by device"
    return "verified: energy by workload == energy by device, to the microjoule"


def _first_workload(result: DemoResult) -> str:
    ledger = result.ledger_summary
    return ledger.tokens[0].workload if ledger.tokens else next((name for name, _ in ledger.gpus.workloads), "NAME")


def _kwh(uj: int) -> str:
    return _short(uj / UJ_PER_KWH)


def _short(value: object) -> str:
    """Three significant digits, without an exponent."""
    number = float(str(value))
    return f"{number:.{max(0, 2 - _magnitude(number))}f}"


def _magnitude(number: float) -> int:
    return int(f"{number:e}".partition("e")[2]) if number else 0
