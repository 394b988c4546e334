"""Nodes of version 0.1 and of this version in one report, from state folders that 0.1 wrote (tests/data/stored-0.1)."""

import tarfile
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.mixed_versions import CLUSTER, NEW, REVERTED_CLUSTER, Fleet, Visit, overlaps, play, report_uj
from tests.support import said_here

STORED = Path(__file__).parents[1] / "data/stored-0.1/fleet.tar.gz"
OLD_UJ = {"stays": 6_329_406_000, "upgraded": 6_571_241_000, "reverted": 6_115_495_000}
AFTER_ROLLBACK_UJ = 6_182_715_000


@pytest.mark.smoke
@pytest.mark.timeout(600)
def test_energy_of_each_node_of_both_versions_is_in_one_report_once(tmp_path: Path) -> None:
    with tarfile.open(STORED) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2, as in Debian 12, has none
        archive.extractall(tmp_path)
    fleet = Fleet(tmp_path, tmp_path, 4.0)
    play(fleet, [Visit(node, "2026-08-15T12:30:00Z", (NEW,)) for node in ("upgraded", "reverted", "new")])
    fleet.clusters["reverted"] = REVERTED_CLUSTER  # 0.1 ran from 13:00 on, after the rollback
    play(fleet, [Visit("reverted", "2026-08-15T13:30:00Z", (NEW,))])

    states = sorted(path.parent for path in tmp_path.glob("*/*/journal.db"))
    for state in states:
        reply = said_here("ledger", "verify", state)
        assert reply.returncode == 0, reply.stdout + reply.stderr
    cells, compacted, reported_uj = report_uj(tmp_path, states)
    assert reported_uj == compacted.total() == sum(i.energy_uj for i in cells)
    assert overlaps(cells) == 0
    devices = {(i.node, i.device) for i in cells}
    assert Counter(node for node, _ in devices) == {"stays": 2, "upgraded": 2, "reverted": 2, "new": 2}
    by_chain = Counter[tuple[str, str]]()
    for i in cells:
        by_chain[i.cluster, i.node] += i.energy_uj
    assert by_chain[CLUSTER, "stays"] == OLD_UJ["stays"]
    for node in ("upgraded", "reverted"):
        assert by_chain[CLUSTER, node] > OLD_UJ[node]
    assert by_chain[REVERTED_CLUSTER, "reverted"] > AFTER_ROLLBACK_UJ
