"""Node energy in a report: figures at the GPU boundary stay what they are, and what is around it names its own boundary."""

from energy_agent.core.boundary import UNBOUNDED, host, part
from energy_agent.core.types import Method, State
from energy_agent.ledger.rows import Cell, DeviceFacts, GapRow, Span
from energy_agent.ledger.uncertainty import Run
from reports.facts import build_facts
from reports.sums import Sums

CELL = 1_700_000_100_000_000_000 // (900 * 10**9) * (900 * 10**9)
END = CELL + 900 * 10**9
HOST = host("c", "n")
GPU = "GPU-1"


def rows(device, uj, workload="w", state=State.ACTIVE, gain=0.05):
    run = Run(CELL, END, 0, 2_000, 0)
    yield DeviceFacts(device, "x", gain, 0)
    yield Cell(CELL, device, workload, state, Method.INTEGRATED, uj, 0, run)
    yield Span(CELL, device, "", run)
    yield Span(CELL, device, workload, run)


def facts(*found):
    sums = Sums()
    for row in found:
        sums.add(row, "n")
    sums.close()
    return build_facts(sums)


def test_the_gpu_figures_do_not_change():
    alone = facts(*rows(GPU, 7_000_000_000))
    both = facts(*rows(GPU, 7_000_000_000), *rows(HOST, 3_000_000_000))
    assert {i: f for i, f in both.figures.items() if ".host" not in i} == dict(alone.figures)
    assert both.conservation == alone.conservation
    assert {f.boundary for i, f in both.figures.items() if ".host" in i} == {"node"}


def test_the_hosts_error_is_that_of_the_whole_nodes_meter():
    """5 % of 10 kJ on the node's side and 5 % of 7 kJ on the GPUs': at least 850 J on a host of 3 kJ."""
    figure = facts(*rows(GPU, 7_000_000_000), *rows(HOST, 3_000_000_000)).figures[f"energy.host/{HOST}"]
    assert float(figure.value) == 3000
    assert 850 <= float(figure.high) - 3000 <= 900
    assert 850 <= 3000 - float(figure.low) <= 900


def test_parts_are_never_called_node():
    found = facts(*rows(GPU, 7_000_000), *rows(part(HOST, "package-0"), 3_000_000)).figures
    assert {f.boundary for i, f in found.items() if ".host" in i} == {"gpu+cpu"}


def test_a_gap_without_a_bound_has_no_number():
    gap = GapRow(CELL, HOST, UNBOUNDED + "no readings", CELL, END, 0)
    found = facts(*rows(GPU, 7_000_000), *rows(HOST, 3_000_000), gap).figures
    figure = found[f"gap/{HOST}/{UNBOUNDED}no readings"]
    assert (figure.value, figure.low, figure.high) == (None, None, None)
    assert figure.dims["seconds"] == "900"
