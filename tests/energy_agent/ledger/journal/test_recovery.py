"""A torn, empty or missing journal: no total decreases, no row is duplicated, and later energy is recorded as usual."""

import contextlib
import random
import shutil
import sqlite3
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from energy_agent.core.saved_state import Component
from energy_agent.ledger.journal import database, recovery
from energy_agent.ledger.journal.journal import SNAPSHOT_RETRY, Batch
from energy_agent.ledger.segments import segment
from tests.energy_agent.ledger.cases import IDENTITY, T0, S, check, energy, filled, opened, second, truth
from tests.support import examples

SECONDS = 200
HEADER = ((0, b"SQLite format 3\x00"), (60, database.FORMAT.to_bytes(4, "big")), (68, b"WtLJ"))
"""What of a file's header stays, as another program's database is refused and not damaged: magic, schema, application."""


def recorded_energy(journal):
    """How many seconds are in, by the state of a meter, which is that of the last of them."""
    return int(journal.states()["meters"]["GPU-0"].split(":")[1][:-1]) + 1


def goes_on(folder, least=SECONDS):
    """It opens, has `least` seconds or more, each of them once, and goes on to the truth by what a meter would bridge."""
    with contextlib.closing(opened(folder)) as journal:
        done = recorded_energy(journal)
        assert done >= least
        assert energy(journal) == truth(range(done))
        for i in range(done, SECONDS + 1):
            journal.commit(second(i))
        journal.seal(None)
        assert energy(journal) == truth(range(SECONDS + 1))
    check(folder)
    return done


@pytest.fixture(scope="module", params=[(), (90,), (50, 150)], ids=["unsealed", "sealed", "sealed twice"])
def state(request, tmp_path_factory):
    """A state folder as after a power loss, with the write-ahead log still there."""
    folder = tmp_path_factory.mktemp("state")
    journal = filled(folder, SECONDS, seals=request.param)
    state_copy = tmp_path_factory.mktemp("left") / "state"
    shutil.copytree(folder, state_copy)  # with the write-ahead log, which closing would fold in
    journal.close()
    return state_copy


@pytest.fixture
def folder(state, tmp_path):
    shutil.copytree(state, tmp_path / "state")
    return tmp_path / "state"


def test_where_nothing_but_segments_is_left_the_end_of_each_devices_rows_is_known_until_it_is_closed(tmp_path):
    with contextlib.closing(filled(tmp_path, 10, seals=(3, 6))) as journal:
        assert recovery.lost_devices(journal.states()) == {}
    for path in tmp_path.glob("journal.*"):
        path.unlink()
    with contextlib.closing(opened(tmp_path)) as journal:
        assert database.SNAPSHOT in journal.notice
        ends = dict.fromkeys(("GPU-0", "GPU-1"), T0 + 7 * S)  # the last three seconds were not sealed
        assert recovery.lost_devices(journal.states()) == ends
        assert energy(journal) == truth(range(7))
    with contextlib.closing(opened(tmp_path)) as journal:
        assert journal.notice == ""
        assert recovery.lost_devices(journal.states()) == ends
        journal.commit(Batch(states={Component.LOST_READINGS: {"GPU-0": ""}}))
        assert recovery.lost_devices(journal.states()).keys() == {"GPU-1"}


def test_a_snapshot_that_cannot_be_written_is_reported_and_retried(folder):
    blocked = folder / f".{database.SNAPSHOT}.new"
    blocked.mkdir()
    with contextlib.closing(opened(folder)) as journal:
        (source,) = journal.stats().health()
        assert not source.up
        assert database.SNAPSHOT in source.reason
        blocked.rmdir()
        for i in range(SNAPSHOT_RETRY):
            journal.commit(second(SECONDS + i))
        assert journal.stats().health() == ()
        snapshot = recovery.read_snapshot(folder / database.SNAPSHOT, IDENTITY)
        assert snapshot.book.commits + len(snapshot.tail) == journal.totals().commits


def empty(folder):
    (folder / "journal.db").write_bytes(b"")
    with contextlib.closing(opened(folder)) as journal:
        assert "torn" in journal.notice
    assert list(folder.glob("journal.db.torn-*"))


def damage_snapshot(folder):
    path = folder / database.SNAPSHOT
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    assert recovery.read_snapshot(path, IDENTITY) is None


def damage_both(folder):
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection, connection:
        (last,) = connection.execute("SELECT max(sequence) FROM log").fetchone()
        connection.execute("UPDATE log SET batch = 'torn' WHERE sequence = ?", (last - 5,))
    path = folder / database.SNAPSHOT
    path.write_bytes(path.read_bytes()[:-20])


def tear_tail(folder):
    path = folder / database.SNAPSHOT
    lines = path.read_bytes().split(b"\n")
    lines[len(lines) // 2] = b"torn"
    path.write_bytes(b"\n".join(lines))


def remove(*suffixes):
    return lambda folder: [(folder / f"journal.db{suffix}").unlink() for suffix in suffixes]


@pytest.mark.parametrize(
    "harm", [lambda _: None, empty, damage_snapshot, damage_both, tear_tail, remove(""), remove("", "-wal", "-shm")]
)
def test_what_is_left_goes_on_to_the_last_second(folder, harm):
    harm(folder)
    goes_on(folder)


@pytest.mark.parametrize("lost", [0, 7])
def test_a_segment_that_was_written_after_the_snapshot_counts_once(tmp_path, lost):
    with contextlib.closing(filled(tmp_path, 100)) as journal:
        before = (tmp_path / database.SNAPSHOT).read_bytes().split(b"\n")
        journal.seal(None)
    (tmp_path / database.SNAPSHOT).write_bytes(
        b"\n".join(before[: len(before) - 1 - lost])
    )  # as if it had ended between the two
    (tmp_path / "journal.db").unlink()
    with contextlib.closing(opened(tmp_path)) as journal:
        assert energy(journal) == truth(range(100))
        ends = {"GPU-0": T0 + 100 * S, "GPU-1": T0 + 100 * S}
        assert recovery.lost_devices(journal.states()) == (ends if lost else {})
        # A meter's state of before would bridge what the segment has.
        assert (Component.METERS in journal.states()) == (not lost)
        journal.commit(second(100))
        journal.seal(None)
    check(tmp_path)


@pytest.mark.parametrize("lost", [0, 7])
def test_workload_that_ended_before_the_snapshot_counts_once_and_stays_with_its_namespace(tmp_path, lost):
    ended_energy = {'["research"]': str(truth(range(50)))}
    with contextlib.closing(filled(tmp_path, 50)) as journal:
        journal.commit(Batch(ended={"job": T0 + 50 * S}, states={Component.ENDED_ENERGY: ended_energy}))
        for i in range(50, 100):
            journal.commit(second(i, workload="next"))
        before = (tmp_path / database.SNAPSHOT).read_bytes().split(b"\n")
        journal.seal(None)
        totals = journal.totals()
    (tmp_path / database.SNAPSHOT).write_bytes(
        b"\n".join(before[: len(before) - 1 - lost])
    )  # as if it had ended between the two
    (tmp_path / "journal.db").unlink()
    with contextlib.closing(opened(tmp_path)) as journal:
        after = journal.totals()
        assert (after.energy, after.gpu_ns) == (totals.energy, totals.gpu_ns)
        assert (after.tokens, after.steps) == (totals.tokens, totals.steps)
        assert journal.states()[Component.ENDED_ENERGY] == ended_energy
        journal.commit(second(100, workload="next"))
        journal.seal(None)
        assert energy(journal) == truth(range(101))
    check(tmp_path)


def test_rows_of_another_boot_are_sealed_under_it(tmp_path):
    filled(tmp_path, 5).close()
    (tmp_path / "journal.db").unlink()
    filled(tmp_path, 0, identity=replace(IDENTITY, boot_id="later")).close()
    (path,) = segment.list_files(tmp_path / "segments")
    assert segment.read(path).header.boot_id == IDENTITY.boot_id
    check(tmp_path)


def test_another_nodes_snapshot_is_left_alone(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    filled(tmp_path / "a", 100, seals=(99,)).close()
    shutil.copy(tmp_path / "a" / database.SNAPSHOT, tmp_path / "b")
    with contextlib.closing(opened(tmp_path / "b", identity=replace(IDENTITY, node="other"))) as journal:
        assert energy(journal) == 0


def damage(folder, rng):
    """Damage the database, its write-ahead log or both."""
    for name in rng.sample(("journal.db", "journal.db-wal"), rng.choice((1, 1, 2))):
        path = folder / name
        data = bytearray(path.read_bytes())
        match rng.randrange(5):
            case 0:
                del data[rng.randrange(len(data) + 1) :]
            case 1:
                at = rng.randrange(len(data))
                data[at : at + 4096] = bytes(len(data[at : at + 4096]))
            case 2:
                for _ in range(rng.randrange(1, 50)):
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 3:
                data = bytearray()
            case _:
                page = rng.randrange(max(1, len(data) // 4096)) * 4096
                data[page : page + 4096] = rng.randbytes(len(data[page : page + 4096]))
        if name == "journal.db":
            for at, right in HEADER:
                data[at : at + len(right)] = right[: len(data[at : at + len(right)])]
        path.write_bytes(bytes(data))


@settings(max_examples=examples(30, quick=10))
@given(st.integers(0, 1 << 40))
@example(10_653)  # the seal alone was dropped with the end of the write-ahead log
@example(10_655)
def test_whatever_is_damaged_no_counter_falls(state, tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("damaged") / "state"
    shutil.copytree(state, folder)
    damage(folder, random.Random(seed))
    goes_on(folder)
    shutil.rmtree(folder)
