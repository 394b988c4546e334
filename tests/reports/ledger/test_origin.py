"""Imported rows are marked as such, and a device that two chains report at the same time is refused."""

from pathlib import Path

import pytest

from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.errors import WattlensError
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.journal.journal import Journal
from reports.period import PeriodRequest
from tests.reports import ledgers
from wattlens.report.build import Options, build


def test_one_device_in_the_chains_of_two_nodes_at_once_is_refused(tmp_path: Path) -> None:
    ledgers.write(tmp_path / "one", "gpu-node-1")
    ledgers.write(tmp_path / "two", "gpu-node-2")
    with pytest.raises(WattlensError, match=r"GPU-.*: measured by demo/gpu-node-1 and demo/gpu-node-2 from 2026-07-01"):
        build(Options(str(tmp_path), PeriodRequest()))


def test_share_of_imported_energy_is_a_figure(tmp_path: Path) -> None:
    """GPU 1 is marked: it drew 60 s x 600.000003 J of 46,450.00019 J in all."""
    clock = ledgers.START_NS
    journal = Journal.open(tmp_path / "journal.db", ledgers.identity(), utc_ns=lambda: clock)
    mark = WorkloadFacts(ledgers.GPUS[0], ledgers.START_NS, "import", {"from": "dcgm"})
    journal.commit(Batch(facts=[mark]))
    journal.commit(ledgers.facts())
    for at_s in range(ledgers.SECONDS):
        journal.commit(ledgers.batch(at_s))
    journal.seal(None)
    journal.close()
    figures = build(Options(str(tmp_path), PeriodRequest())).figures
    assert figures["quality.imported"].text == f"{36_000.00018 / 46_450.00019:.9f}"
    assert "import" not in {f.dims["kind"] for i, f in figures.items() if i.startswith("energy.held/kind/")}
