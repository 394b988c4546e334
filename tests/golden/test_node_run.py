"""A node's run gives today the pages, exports, segments and journal that were recorded: a change of structure changes nothing.

A change of behaviour records them again, `python -m tests.golden.node_run`, and its commit explains each line that differs.
"""

import pytest

pytest.importorskip("cryptography", reason="needs the extra signing")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otlp")

from energy_agent.ledger import chain
from energy_agent.ledger.rows.kinds import Cell
from energy_agent.ledger.segments import segment
from tests.golden.node_run import COUNTED_MJ, RECORDED, RESTARTS, SECONDS


def test_nothing_that_was_recorded_has_changed(texts):
    recorded = {name: (RECORDED / name).read_text() for name in texts}
    for name in ("segments.jsonl", "metrics.txt", "digests.json"):
        assert texts[name].splitlines() == recorded[name].splitlines(), name


def test_the_energy_of_a_counter_is_whole(texts, folder):
    """GPU-b, from its first reading to its last. After the second load of the driver its counter shows more than it can have
    drawn since, so what it shows first is not counted.
    """
    assert chain.verify([folder / "segments"]).ok
    rows = [row for path in segment.list_files(folder / "segments") for row in segment.read(path).rows]
    recorded_uj = sum(row.energy_uj for row in rows if isinstance(row, Cell) and row.device == "GPU-b")
    counted_mj = COUNTED_MJ[1]
    before_mj = counted_mj[RESTARTS[1] - 1] - counted_mj[0]
    after_mj = counted_mj[SECONDS - 1] - counted_mj[RESTARTS[1]]
    assert recorded_uj == 1000 * (before_mj + after_mj)
