import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import date
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Gap, Method, State, Steps, Tokens
from energy_agent.core.errors import JournalError, UsageError
from energy_agent.ledger.fleet import index
from energy_agent.ledger.journal import database
from energy_agent.ledger.journal.journal import Batch
from energy_agent.ledger.journal.recovery import lost_devices
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.ledger.segments import segment as segments
from tests.doubles.failing_files import FailingFiles
from tests.energy_agent.ledger.cases import IDENTITY, T0, S, check, energy, filled, opened, second, set_format, truth


def test_what_is_committed_is_there_after_reopening(tmp_path):
    with contextlib.closing(filled(tmp_path, 10, seals=(2,), utc_ns=lambda: T0)) as journal:
        stats = journal.stats()
    with contextlib.closing(opened(tmp_path)) as journal:
        assert journal.states() == {"meters": {"GPU-0": '{"second":9}', "GPU-1": '{"second":9}'}}
        totals = journal.totals()
    assert sum(totals.energy.values()) == truth(range(10))
    assert totals.energy["GPU-0", "job", State.IDLE, Method.COUNTER] == 2 * 500_000_000 + 0 + 5
    assert totals.gpu_ns == {("job", State.ACTIVE): 16 * S, ("job", State.IDLE): 4 * S}
    assert totals.tokens == {("job", "llama", "generation"): 1_045}
    assert (totals.entries, totals.commits) == (20, 10)
    assert (stats.commits_total, stats.segments_total, stats.last_commit_ns) == (10, 1, T0)
    assert stats.journal_bytes > 0
    check(tmp_path)


@contextlib.contextmanager
def read_only(folder):
    """Nobody here can write into it, root neither; skips where root may not mount."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    done = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"root may not mount here: {done.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_journal_is_read_where_nothing_can_be_written(tmp_path):
    closed, killed = tmp_path / "closed", tmp_path / "killed"
    for folder in (closed, killed):
        folder.mkdir()
    filled(closed, 10).close()
    code = "import os, sys, pathlib; from tests.energy_agent.ledger.cases import filled"
    code += "; filled(pathlib.Path(sys.argv[1]), 10); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, killed], check=True, cwd=Path(__file__).parents[4])
    assert [(folder / "journal.db-wal").exists() for folder in (closed, killed)] == [False, True]
    for folder in (closed, killed):
        with read_only(folder):
            check(folder)
            assert sum(read_journal(folder / "journal.db").book.totals.energy.values()) == truth(range(10))


def test_segments_follow_each_other_and_totals_go_on(tmp_path):
    filled(tmp_path, 8, seals=(3, 7)).close()
    journal = opened(tmp_path, identity=replace(IDENTITY, boot_id="boot-b"))
    for i in (8, 9):
        journal.commit(second(i))
    last = journal.seal(None)
    assert last is not None
    assert journal.seal(None) is None
    contents = [segments.read(p) for p in segments.list_files(tmp_path / "segments")]
    assert [(c.header.sequence, c.header.boot_id) for c in contents] == [(0, "boot-a"), (1, "boot-a"), (2, "boot-b")]
    assert [c.header.previous for c in contents] == [segments.FIRST_PREVIOUS, contents[0].sha256, contents[1].sha256]
    assert last.sha256 == contents[2].sha256
    assert energy(journal) == truth(range(10))
    assert (journal.stats().segments_total, journal.stats().writable) == (3, True)
    journal.close()
    check(tmp_path)


def test_only_rows_that_end_in_time_are_sealed(tmp_path):
    journal = opened(tmp_path)
    journal.commit(
        Batch([Entry(T0, T0 + 1_800 * S, "GPU-0", "", State.UNALLOCATED, Method.COUNTER, 1_800, 1)], devices=second(0).devices)
    )
    segment = journal.seal(T0 + 900 * S)
    assert segment is not None
    cells = [r for r in segments.read(segment.path).rows if hasattr(r, "energy_uj")]
    assert [c.energy_uj for c in cells] == [900]
    journal.close()
    check(tmp_path)


@pytest.mark.parametrize(
    ("change", "owner"),
    [({"cluster": "other"}, "cluster "), ({"node": "other"}, "node "), ({"simulated": False}, "a simulated node")],
)
def test_another_nodes_journal_is_refused(tmp_path, change, owner):
    filled(tmp_path, 1).close()
    with pytest.raises(UsageError, match=f"belongs to {owner}"):
        opened(tmp_path, identity=replace(IDENTITY, **change))
    with contextlib.closing(opened(tmp_path)) as journal:
        assert energy(journal) == truth([0])


REFUSED = {
    "PRAGMA application_id=77; CREATE TABLE t (x);": "a database of another program",
    "CREATE TABLE thesis (chapter TEXT); INSERT INTO thesis VALUES ('one');": "a database of another program",
    "my thesis, chapter one, and the rest of it": "not a database",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items())
def test_what_is_not_a_journal_is_refused_untouched(tmp_path, text, message):
    path = tmp_path / "journal.db"
    if text.startswith("my"):
        path.write_text(text)
    else:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(text)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=message):
        opened(tmp_path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.torn-*"))


@pytest.mark.parametrize("number", [1, database.FORMAT - 1, database.FORMAT + 1, 99])
def test_a_journal_of_another_format_is_moved_aside_whole_and_the_chain_goes_on(tmp_path, number):
    filled(tmp_path, 10, seals=(4, 7)).close()
    path = tmp_path / "journal.db"
    for nth, sealed in enumerate((8, 20)):
        set_format(path, number)
        before = {"": path.read_bytes(), "-snapshot": (tmp_path / database.SNAPSHOT).read_bytes()}
        with pytest.raises(UsageError, match=f"^{path}: expected journal format {database.FORMAT}, got {number}; read it with"):
            read_journal(path)
        with contextlib.closing(opened(tmp_path, utc_ns=lambda: T0)) as journal:
            aside = f"journal.db.format-{number}-20260101T000000Z" + "-2" * nth
            assert {suffix: (tmp_path / f"{aside}{suffix}").read_bytes() for suffix in before} == before
            assert "\n" not in journal.notice
            assert f"expected journal format {database.FORMAT}, got {number}; moved to {aside};" in journal.notice
            assert journal.stats().moved_aside == nth + 1
            assert energy(journal) == truth([*range(8), *range(10, sealed)])  # all that was sealed
            lost_ns = T0 + max(8, sealed) * S
            assert lost_devices(journal.states()) == {"GPU-0": lost_ns, "GPU-1": lost_ns}
            if nth == 0:
                for i in range(10, 20):
                    journal.commit(second(i))
                assert journal.seal(None).sequence == 2
                journal.commit(second(20))
        check(tmp_path)
    with contextlib.closing(opened(tmp_path)) as journal:
        assert (journal.notice, journal.stats().moved_aside) == ("", 2)


def test_journals_that_were_moved_aside_are_counted_until_they_are_taken_away(tmp_path):
    filled(tmp_path, 1).close()
    set_format(tmp_path / "journal.db", 5)
    (tmp_path / "journal.db.torn-20251231T000000Z").touch()
    (tmp_path / "journal.db.torn-20251231T000000Z-wal").touch()
    with contextlib.closing(opened(tmp_path)) as journal:
        assert journal.stats().moved_aside == 2
        for path in tmp_path.glob("journal.db.*-*"):
            path.unlink()
        journal.commit(second(1))
        journal.seal(None)
        assert journal.stats().moved_aside == 0


def test_what_is_no_place_for_a_journal_is_refused(tmp_path):
    with pytest.raises(UsageError, match="journal not found"):
        read_journal(tmp_path / "nothing.db")
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(UsageError, match="expected a regular file"):
        opened(tmp_path)
    (tmp_path / "state").write_text("")
    with pytest.raises(UsageError, match="state: cannot be written"):
        opened(tmp_path / "state")


@pytest.mark.parametrize(
    "tear",
    [
        lambda data: bytes(4_096) + data[4_096:],
        lambda data: data[:100] + b"\xff" * (len(data) - 100),
        lambda data: data[: len(data) // 2],
        lambda _: None,
    ],
    ids=["head of zeros", "garbled", "cut", "missing, and so is its snapshot"],
)
def test_a_torn_or_missing_journal_is_moved_aside_and_the_chain_goes_on(tmp_path, tear):
    filled(tmp_path, 10, seals=(4, 9 if tear(b"") is None else 7)).close()
    path, aside = tmp_path / "journal.db", tmp_path / "journal.db.torn-20260101T000000Z"
    torn = tear(path.read_bytes())
    if torn is None:
        path.unlink()
        (tmp_path / "journal.snapshot").unlink()
    else:
        path.write_bytes(torn)
    with contextlib.closing(opened(tmp_path, utc_ns=lambda: T0)) as journal:
        assert "\n" not in journal.notice
        assert ("is missing" if torn is None else aside.name) in journal.notice
        assert torn is None or aside.read_bytes() == torn
        assert energy(journal) == truth(range(10))
        assert torn is None or journal.states()["meters"]["GPU-0"] == '{"second":9}'
        journal.commit(second(20))
        assert journal.seal(None).sequence == 2
    assert len(check(tmp_path).chains[0].digests) == 3


def test_rows_that_make_no_sense_are_a_torn_journal(tmp_path):
    filled(tmp_path, 3, seals=(1,)).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as connection, connection:
        connection.execute("UPDATE checkpoint SET book = replace(replace(book, 'GPU-0', 7), 'rows', 'row')")
    with pytest.raises(JournalError, match="is damaged"):
        read_journal(tmp_path / "journal.db")
    with contextlib.closing(opened(tmp_path)) as journal:
        assert "unreadable rows" in journal.notice


@pytest.mark.parametrize("step", range(3))
def test_a_segment_that_could_not_be_written_is_written_later_byte_by_byte(tmp_path, step):
    journal = filled(tmp_path, 3, files=FailingFiles(step))
    with pytest.raises(JournalError, match="its rows are safe"):
        journal.seal(None)
    assert energy(journal) == truth(range(3))
    check(tmp_path)
    entry = read_journal(tmp_path / "journal.db").segments[0]
    journal.commit(second(3))  # recording continues
    assert journal.seal(None).sequence == 1
    journal.close()
    assert segments.read(tmp_path / "segments" / entry.name).sha256 == entry.sha256
    check(tmp_path)


def test_what_feeds_a_building_passes_int64_and_is_exact(tmp_path):
    """100 MW for a day and a half, of which the last hours went unseen: 9.2e18 uJ are 25.6 h of it."""
    journal, hour = opened(tmp_path), 3_600 * S
    first = Entry(T0, T0 + hour, "meter:node-1:main", "", State.UNALLOCATED, Method.COUNTER, 36 * 10**16, 7)
    for i in range(36):
        entry = replace(first, start_ns=T0 + i * hour, end_ns=T0 + (i + 1) * hour, energy_uj=first.energy_uj + i)
        gap = Gap(entry.device, entry.start_ns + 36 * hour, entry.end_ns + 36 * hour, 36 * 10**16, "no readings")
        journal.commit(Batch([entry], gaps=[gap]))
        journal.seal(entry.end_ns)
    journal.close()
    whole = 36 * first.energy_uj + sum(range(36))
    assert whole > 1 << 63
    with contextlib.closing(opened(tmp_path)) as journal:
        assert (energy(journal), journal.totals().gap_bound_uj) == (whole, {"meter:node-1:main": 36 * 36 * 10**16})
    check(tmp_path)


def test_a_row_at_the_end_of_int64_is_exact(tmp_path):
    entry = Entry(T0, T0 + S, "GPU-0", "", State.UNALLOCATED, Method.COUNTER, INT64_MAX, 0)
    with contextlib.closing(opened(tmp_path)) as journal:
        journal.commit(Batch([entry]))
        with pytest.raises(JournalError, match="int64"):
            journal.commit(Batch([replace(entry, start_ns=T0 + S, end_ns=T0 + 2 * S, energy_uj=1)]))
    with contextlib.closing(opened(tmp_path)) as journal:
        assert energy(journal) == INT64_MAX


counts = st.lists(st.sampled_from([0, 1, 1 << 53, 1 << 62, INT64_MAX, 1 << 70]), max_size=5)


@settings(max_examples=20)
@given(counts, counts, st.booleans(), st.booleans())
def test_no_count_of_tokens_or_steps_refuses_energy(token_counts, done, seal, lose):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = opened(folder)
        for i, (tokens, steps) in enumerate(zip_longest(token_counts, done, fillvalue=0)):
            batch, at = second(i), (T0 + i * S, T0 + (i + 1) * S)
            counts = [Tokens(*at, "job", "llama", "training", tokens)], [Steps(*at, "job", "training", steps)]
            journal.commit(replace(batch, tokens=counts[0], steps=counts[1]))
        if seal or lose:
            journal.seal(None)
        journal.close()
        if lose:  # the journal alone: another begins from the segments
            (folder / "journal.db").unlink()
        journal = opened(folder)
        journal.commit(replace(second(9), steps=()))
        totals = journal.totals()
        assert energy(journal) == truth([*range(max(len(token_counts), len(done))), 9])
        assert totals.tokens.get(("job", "llama", "training"), 0) == min(sum(token_counts), INT64_MAX)
        assert totals.steps.get(("job", "training"), 0) == min(sum(done), INT64_MAX)
        journal.close()
        assert check(folder)


@pytest.mark.parametrize("years", [1, 2, 20, 56])
@pytest.mark.parametrize("crash", [False, True])
def test_a_clock_that_was_years_off_gives_a_segment_for_each_time(tmp_path, years, crash):
    journal = opened(tmp_path)
    wrong_ns = T0 - years * 365 * 86_400 * S
    right = second(0)
    wrong = [replace(e, start_ns=e.start_ns - T0 + wrong_ns, end_ns=e.end_ns - T0 + wrong_ns) for e in right.entries]
    bridged = [replace(e, start_ns=wrong_ns + S, end_ns=T0, method=Method.BRIDGED, gpu_ns=0) for e in right.entries]
    for entries in (wrong, bridged, right.entries):
        journal.commit(Batch(entries))
    if not crash:  # else the next boot seals what the last one left
        journal.seal(None)
    journal.close()
    opened(tmp_path, identity=replace(IDENTITY, boot_id="boot-b")).close()
    headers = [segments.read(path).header for path in segments.list_files(tmp_path / "segments")]
    assert len(headers) == (2 if years > 1 else 1)
    assert all(header.to_ns - header.from_ns <= segments.SPAN_MAX_NS for header in headers)
    check(tmp_path)
    segment_index = index.build([tmp_path / "segments"])
    assert (segment_index.faults, segment_index.count([date(2026, 1, 1)])) == ([], 1)


def copies(folder):
    """Number of sealed segments that the journal has a copy of."""
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as connection:
        return connection.execute("SELECT count(body) FROM segment").fetchone()[0]


def test_copies_of_sealed_segments_go_after_their_time(tmp_path):
    now = [T0]
    journal = filled(tmp_path, 2, seals=(0,), keep_ns=10 * S, utc_ns=lambda: now[0])
    assert copies(tmp_path) == 1
    now[0] += 11 * S
    journal.seal(None)
    assert copies(tmp_path) == 1
    journal.close()
    check(tmp_path)


def many(i, count):
    start, end = T0 + i * 900 * S, T0 + i * 900 * S + S
    return Batch([Entry(start, end, "GPU-0", os.urandom(30).hex(), State.ACTIVE, Method.COUNTER, 5, 0) for _ in range(count)])


def fill(journal, batch_of, seals=0):
    """Commit until there is no room; returns the number of commits and the refusal."""
    for committed in range(100_000):
        try:
            journal.commit(batch_of(committed))
        except JournalError as error:
            return committed, str(error)
        if committed < seals:
            journal.seal(None)
    return pytest.fail("it never got full")


def test_the_disk_budget_drops_sealed_copies_first_and_unsealed_rows_never(tmp_path):
    journal = opened(tmp_path, disk_budget_b=1 << 20)
    commits, refusal = fill(journal, lambda i: many(i, 50), seals=20)
    assert "disk budget of 1048576 bytes is full of unsealed rows" in refusal
    assert commits > 20
    assert copies(tmp_path) == 0
    assert energy(journal) == commits * 250
    assert not journal.stats().writable
    journal.close()
    assert (tmp_path / "journal.db").stat().st_size <= 1 << 20
    check(tmp_path)
    journal = opened(tmp_path)  # a larger budget, and it goes on
    journal.commit(many(0, 1))
    assert energy(journal) == commits * 250 + 5
    journal.close()


CHILD = """
import os, resource, signal, sys
from pathlib import Path
from energy_agent.core.errors import WattlensError
from energy_agent.ledger.journal.journal import Journal
from tests.energy_agent.ledger.cases import IDENTITY, second
mode, folder = sys.argv[1], Path(sys.argv[2])
if mode == "readonly":
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    journal = Journal.open(folder / "journal.db", IDENTITY)
    print(journal.notice, end="")
    if mode == "limit":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    for i in range(100_000):
        done = i
        journal.commit(second(i, workload=f"job-{i}"))
except WattlensError as error:
    print(error)
    if mode == "limit":
        assert sum(journal.totals().energy.values()) == sum(2 * (500_000_000 + i) for i in range(done))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        journal.commit(second(done, workload=f"job-{done}"))
        journal.close()
    sys.exit(error.exit_code)
"""


def child(mode, folder):
    root = Path(__file__).parents[4]
    command = [sys.executable, "-c", CHILD, mode, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})


def test_a_disk_that_is_full_fails_the_commit_and_loses_nothing(tmp_path):
    done = child("limit", tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("\n") == 1
    assert "nothing" in done.stdout or "cannot be written" in done.stdout
    check(tmp_path)


def test_full_file_system_is_reported(tmp_path):
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no right to mount a tmpfs here")
    try:
        journal = opened(tmp_path)
        recorded, refusal = fill(journal, lambda i: second(i, workload=f"job-{i}"))
        assert "the disk is full; free some space, no committed data is lost" in refusal
        assert energy(journal) == truth(range(recorded))
        journal.close()
        reopened = read_journal(tmp_path / "journal.db")
        assert sum(reopened.book.totals.energy.values()) == truth(range(recorded))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
        with pytest.raises(UsageError, match="cannot be written"):
            opened(folder)
        return
    for parent in (tmp_path, *list(tmp_path.parents)[:2]):
        parent.chmod(0o755)
    done = child("readonly", folder)
    assert (done.returncode, done.stdout.count("\n")) == (2, 1), done.stderr
    assert f"{folder}: cannot be written" in done.stdout


def test_reading_and_writing_beside_a_running_writer(tmp_path):
    with contextlib.closing(filled(tmp_path, 5, seals=(2,))) as journal:
        assert sum(read_journal(tmp_path / "journal.db").book.totals.energy.values()) == truth(range(5))
        with pytest.raises(JournalError, match="another agent"):
            opened(tmp_path)
        journal.commit(second(5))
        check(tmp_path)
    opened(tmp_path).close()
