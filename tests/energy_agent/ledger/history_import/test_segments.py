"""A folder takes imported segments all or not at all, and never energy that it has."""

from dataclasses import replace

import pytest

from energy_agent.core.energy import Entry, Gap, Identity, Method, State
from energy_agent.core.errors import ChainError, UsageError
from energy_agent.ledger import chain
from energy_agent.ledger.history_import.segments import MARK, SegmentFolder, mark
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import Cell, DeviceFacts
from energy_agent.ledger.segments import segment
from energy_agent.ledger.signing import open_signer
from tests.energy_agent.ledger.cases import IDENTITY, T0, S, filled

Q = 900 * S
WHO = Identity("lab-imported", "node-1", f"{MARK}dcgm", "0.1.0", False)


def batch(first, last, device="GPU-x", uj=9_000_000):
    """One entry over quarters [first, last) of an hour."""
    entry = Entry(T0 + first * Q, T0 + last * Q, device, "", State.UNKNOWN_OWNER, Method.COUNTER, uj, 5)
    return Batch([entry], devices=[DeviceFacts(device, "H100", 0.05, T0)], facts=[mark(device, T0, "dcgm")])


def put(folder, first, last, *batches, who=WHO, dry=False, signer=None):
    target = SegmentFolder(folder, T0 + first * Q, T0 + last * Q, dry=dry, signer=signer)
    try:
        node = target.open(who)
        for each in batches:
            node.book(each)
        node.seal(None)
        target.publish()
    finally:
        target.discard()
    return node.written


def energy(folder):
    return sum(r.energy_uj for path in segment.list_files(folder) for r in segment.read(path).rows if isinstance(r, Cell))


def test_what_lies_outside_of_the_time_is_another_imports(tmp_path):
    """9 J over the quarters 2, 3 and 4: an import of the first four quarters has two thirds of it, the next one the last."""
    first = put(tmp_path / "out", 0, 4, batch(2, 5))
    assert (first.energy_uj, first.segments, first.from_ns, first.to_ns) == (6_000_000, 1, T0 + 2 * Q, T0 + 4 * Q)
    assert put(tmp_path / "out", 4, 8, batch(2, 5)).energy_uj == 3_000_000
    assert energy(tmp_path / "out") == 9_000_000
    report = chain.verify([tmp_path / "out"])
    assert report.ok
    assert [(c.first, c.last) for c in report.chains] == [(0, 1)]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"lab-imported_node-1_0000000{n}.jsonl.gz" for n in (0, 1)]


def test_an_import_with_a_key_is_signed_and_its_chain_stays_so(tmp_path):
    out, key = tmp_path / "out", tmp_path / "key"
    signer, _ = open_signer(key)
    other, _ = open_signer(tmp_path / "other")
    put(out, 0, 4, batch(0, 4))
    put(out, 4, 8, batch(4, 8), signer=signer)
    put(out, 8, 12, batch(8, 12), signer=signer)
    (imported,) = chain.verify([out]).chains
    assert (imported.faults, imported.count, imported.unsigned, imported.key) == ([], 3, 1, signer.key)
    assert energy(out) == 27_000_000
    before = {path: path.read_bytes() for path in out.iterdir()}
    for wrong in (None, other):
        with pytest.raises(UsageError, match=signer.key[:16]):
            put(out, 12, 16, batch(12, 16), signer=wrong)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


NODE_2 = replace(WHO, node="node-2")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 8, batch(5, 6)), {}, "already has lab-imported/node-1 from 2026-01-01T00:00Z to 2026-01-01T01:00Z"),
        ((0, 4, batch(0, 4)), {"dry": True}, "already"),
        ((0, 8, batch(3, 6)), {"who": NODE_2}, "node-2: GPU-x from 2026-01-01T00:45Z to 2026-01-01T01:00Z is also in"),
        ((4, 8, batch(4, 8)), {"who": replace(WHO, simulated=True)}, "simulated"),
    ],
)
def test_what_is_there_already_or_is_not_of_the_chain_is_refused_and_nothing_changes(tmp_path, arguments, options, message):
    put(tmp_path, 0, 4, batch(0, 4))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=message):
        put(tmp_path, *arguments, **options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    put(tmp_path, 0, 8, batch(4, 6), who=NODE_2)  # it moved there


def test_a_device_of_two_nodes_of_one_import_is_refused(tmp_path):
    target = SegmentFolder(tmp_path / "out", T0, T0 + 8 * Q)
    nodes = [target.open(who) for who in (WHO, NODE_2)]
    for node, each in zip(nodes, (batch(0, 4), batch(2, 6)), strict=True):
        node.book(each)
    nodes[0].seal(None)
    with pytest.raises(UsageError, match="GPU-x"):
        nodes[1].seal(None)
    target.discard()
    assert list((tmp_path / "out").iterdir()) == []


def test_an_agents_own_chain_is_not_continued_and_its_devices_not_booked_again(tmp_path):
    filled(tmp_path / "state", 10, seals=(3,)).close()  # node-1 of lab, GPU-0 and GPU-1, its first seconds
    segments_of = tmp_path / "state/segments"
    with pytest.raises(UsageError, match="lab/node-1 already has a chain from its own agent"):
        put(segments_of, 96, 100, batch(96, 98), who=replace(WHO, cluster=IDENTITY.cluster))
    with pytest.raises(UsageError, match=r"GPU-0 .* is also in lab/node-1"):
        put(segments_of, 0, 4, batch(0, 4, device="GPU-0"))
    with pytest.raises(UsageError, match="expected a separate folder"):
        put(tmp_path / "state", 0, 4, batch(0, 4))


def test_a_failure_leaves_nothing_and_what_a_killed_import_left_is_cleared(tmp_path):
    out = tmp_path / "out"
    target = SegmentFolder(out, T0, T0 + 8 * Q)
    node = target.open(WHO)
    node.book(batch(0, 4))
    node.seal(None)
    assert segment.list_files(out) == []  # nothing has a segment's name before all are there
    target.publish()  # as if it had been killed before the last line: a second one has put its own
    again = SegmentFolder(out, T0 + 8 * Q, T0 + 16 * Q)
    node = again.open(WHO)
    node.book(batch(8, 12))
    node.seal(None)
    (out / "lab-imported_node-1_00000001.jsonl.gz").write_bytes(b"somebody else's")
    with pytest.raises(ChainError, match="no file was overwritten"):
        again.publish()
    again.discard()
    assert (out / "lab-imported_node-1_00000001.jsonl.gz").read_bytes() == b"somebody else's"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_dry_run_writes_nothing(tmp_path):
    assert put(tmp_path / "out", 0, 4, batch(0, 4), dry=True).energy_uj == 9_000_000
    assert not (tmp_path / "out").exists()


def test_gaps_are_recorded_with_and_without_a_bound(tmp_path):
    gaps = [Gap("GPU-x", T0, T0 + Q, 70, "counter reset"), Gap("GPU-x", T0, T0 + Q, 0, "no bound known: counter reset")]
    written = put(tmp_path, 0, 4, replace(batch(0, 1), gaps=gaps))
    assert (written.gap_bound_uj, written.unbounded_gaps, written.devices) == (70, 1, {"GPU-x"})


@pytest.mark.parametrize(("first", "last"), [(0, 0), (4, 2), (0.5, 4)])
def test_a_time_begins_and_ends_at_cells(tmp_path, first, last):
    with pytest.raises(UsageError, match="quarter of an hour"):
        SegmentFolder(tmp_path, T0 + int(first * Q), T0 + int(last * Q))
