import contextlib
import gzip
import json
import shutil
import sqlite3

import pytest

from energy_agent.core.energy import Identity
from energy_agent.core.errors import UsageError
from energy_agent.ledger import chain
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.segments import segment
from tests.energy_agent.ledger.cases import filled, opened, second


@pytest.fixture
def ledger(tmp_path):
    filled(tmp_path, 10, seals=(1, 3, 5, 7)).close()
    return tmp_path


def files(folder):
    return segment.list_files(folder / "segments")


def faults(folder, journal=False):
    view = read_journal(folder / "journal.db") if journal else None
    return chain.verify([folder / "segments"], view).faults


def rewrite(path, change):
    path.write_bytes(segment.compress(change(gzip.decompress(path.read_bytes()))))


def test_a_changed_joule_breaks_the_next_link_and_the_journal(ledger):
    rewrite(files(ledger)[1], lambda text: text.replace(b'"energy_uj":1000000005', b'"energy_uj":1000000006', 1))
    assert [f.kind for f in faults(ledger)] == ["previous"]
    fault_list = faults(ledger, journal=True)
    assert {"previous", "journal"} == {f.kind for f in fault_list}
    assert any("energy of GPU-0/job/active/counter: rows sum to" in f.line for f in fault_list)


def copy_one(paths):
    (paths[1].parent / "copy").mkdir()
    shutil.copy(paths[1], paths[1].parent / "copy")


def first_alone(paths):
    for path in paths[1:]:
        path.unlink()
    rewrite(paths[0], lambda text: text.replace(b"0" * 64, b"1" * 64))


def change_total(paths):
    with contextlib.closing(sqlite3.connect(paths[0].parents[1] / "journal.db")) as connection, connection:
        number, book = connection.execute("SELECT log, book FROM checkpoint").fetchone()
        body = json.loads(book)
        (total,) = (row for row in body["totals"]["energy"] if row[:4] == ["GPU-1", "job", "idle", "counter"])
        total[-1] += 1
        connection.execute("UPDATE checkpoint SET log = ?, book = ?", (number, json.dumps(body)))


@pytest.mark.parametrize(
    ("change", "kind", "words", "journal_alone"),
    [
        (lambda paths: rewrite(paths[2], lambda text: text.replace(b'"kind":"cell"', b'"kind":"cell" ', 1)),
         "corrupted", "{2}:2: ", False),
        (lambda paths: paths[2].write_bytes(b""), "corrupted", "{2}", False),
        (lambda paths: paths[2].unlink(), "missing", "segment 2 is missing; copy it", False),
        (lambda paths: paths[3].unlink(), "missing", "{3.name}", True),  # a chain cut short
        (copy_one, "duplicate", "duplicate of segment", False),
        (first_alone, "previous", "", False),
        (change_total, "journal", "energy of GPU-1/job/idle/counter", True),
    ],
)  # fmt: skip
def test_one_change_is_one_fault_that_names_it(ledger, change, kind, words, journal_alone):
    paths = files(ledger)
    change(paths)
    assert not (journal_alone and faults(ledger))
    (fault,) = faults(ledger, journal=journal_alone)
    assert (fault.kind, words.format(*paths) in fault.line) == (kind, True)


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        chain.verify([tmp_path / "nothing"])


def test_two_segments_exchanged(ledger):
    paths = files(ledger)
    first, second = paths[1].read_bytes(), paths[2].read_bytes()
    paths[1].write_bytes(second)
    paths[2].write_bytes(first)
    assert {f.kind for f in faults(ledger)} >= {"alien"}


def test_rows_that_cannot_be(ledger):
    path = files(ledger)[0]
    content = segment.read(path)
    header = content.header
    twice = gzip.decompress(path.read_bytes()).decode().splitlines()
    row = next(line for line in twice[1:] if '"kind":"cell"' in line)
    again = row.replace('"gpu_ns":', '"gpu_ns":1')  # same key, other numbers
    late = row.replace('"end_ns":1', '"end_ns":2').replace('"workload":"job"', '"workload":"x"')
    lines = sorted([*twice[1:], again, late])
    head = twice[0].replace(f'"rows":{header.rows}', f'"rows":{header.rows + 2}')
    path.write_bytes(segment.compress("\n".join([head, *lines, ""]).encode()))
    alien_lines = [f.line for f in faults(ledger) if f.kind == "alien"]
    assert any("duplicate key" in line for line in alien_lines)
    assert any("outside the interval of the segment" in line for line in alien_lines)


def test_nodes_are_distinguished_and_a_second_node_is_no_fault(ledger, tmp_path):
    other = tmp_path / "other"
    filled(other, 4, seals=(1, 3), identity=Identity("lab", "node-2", "b", "0", True)).close()
    for path in files(other):
        shutil.copy(path, ledger / "segments")
    report = chain.verify([ledger / "segments"], read_journal(ledger / "journal.db"))
    assert [(c.node, c.count) for c in report.chains] == [("node-1", 4), ("node-2", 2)]
    assert {f.kind for f in report.faults} == {"twice"}  # its devices are of the same names, and nothing else is wrong


def test_what_is_sealed_while_verifying_does_no_harm(ledger):
    view = read_journal(ledger / "journal.db")
    with contextlib.closing(opened(ledger)) as journal:
        journal.commit(second(30))
        journal.seal(None)
    assert len(files(ledger)) == 5
    assert chain.verify([ledger / "segments"], view).faults == ()
