import gzip
import json
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import ChainError, JournalError
from energy_agent.ledger.journal.book import Book
from energy_agent.ledger.journal.sealing import take
from energy_agent.ledger.rows.kinds import StepRow
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.files import FailingFiles, RealFiles
from tests.energy_agent.ledger.cases import IDENTITY, batches, second
from tests.support import need_program


def sealed(batch, sequence=0, identity=IDENTITY):
    book = Book()
    book.add(batch)
    return take(book, None, identity, sequence, segment.FIRST_PREVIOUS)


def text_of(item):
    return gzip.decompress(item.body)


@given(batches, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_bytes_depend_on_nothing_but_the_content(batch, order):
    first = sealed(batch)
    for name in ("gaps", "actions", "devices"):
        rows = list(getattr(batch, name))
        order.shuffle(rows)
        setattr(batch, name, rows)
    again = sealed(batch)
    assert (first and first.body) == (again and again.body)


@given(batches)
@settings(max_examples=50)
def test_what_is_read_is_what_was_written(batch):
    item = sealed(batch)
    if item is None:
        return
    content = segment.decode(text_of(item), "x")
    assert (content.header, content.sha256) == (item.header, item.sha256)
    assert segment.encode(content.header, content.rows) == text_of(item)


def test_an_auditor_needs_gunzip_and_sha256sum_alone(tmp_path):
    gunzip, sha256sum = need_program("gunzip"), need_program("sha256sum")
    item = sealed(second(0))
    path = segment.store(RealFiles(), tmp_path, "s.jsonl.gz", item.body, item.sha256)
    text = subprocess.run([gunzip, "-c", path], capture_output=True, check=True).stdout
    digest = subprocess.run([sha256sum], input=text, capture_output=True, check=True).stdout.split()[0].decode()
    assert digest == item.sha256
    header, *rows = text.decode("ascii").splitlines()
    assert json.loads(header)["rows"] == len(rows)
    assert rows == sorted(rows)
    assert path.read_bytes()[3:8] == bytes(5)  # no name, no time stamp


def lines_of(item):
    return text_of(item).decode().splitlines()


def damage(name, lines):
    head, rows = lines[0], lines[1:]
    if name == "row lost":
        rows = rows[1:]
    elif name == "row twice":
        rows = [rows[0], *rows]
    elif name == "reordered":
        rows = rows[::-1]
    elif name == "spelled otherwise":
        rows = [rows[0].replace(":", ": ", 1), *rows[1:]]
    elif name == "unknown kind":
        rows = [rows[0].replace('"kind":"', '"kind":"x'), *rows[1:]]
    elif name == "unknown field":
        rows = [rows[0][:-1] + ',"zzz":1}', *rows[1:]]
    elif name == "negative energy":
        rows = [row.replace('"energy_uj":', '"energy_uj":-') for row in rows]
    elif name == "energy as text":
        rows = [row.replace('"energy_uj":5', '"energy_uj":"5"') if "energy_uj" in row else row for row in rows]
    elif name == "header cut":
        head = head[:-5]
    elif name == "no header":
        head = rows[0]
    elif name == "newer schema":
        head = head.replace(f'"schema":{segment.SCHEMA}', '"schema":99')
    elif name == "previous no hash":
        head = head.replace("0" * 64, "0" * 63 + "g")
    elif name == "simulated as number":
        head = head.replace("true", "1")
    elif name == "nested deep":
        rows = ["[" * 100_000, *rows]
    elif name == "number without end":
        rows = ["9" * 10_000, *rows]
    elif name == "not ascii":
        rows = [*rows, "é"]
    return "\n".join([head, *rows, ""]).encode()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("row lost", "rows, its header says"),
        ("row twice", ":3: is corrupted (not canonical"),
        ("reordered", "is corrupted (not canonical"),
        ("spelled otherwise", ":2: is corrupted (not canonical"),
        ("unknown kind", ":2: alien row: unknown kind"),
        ("unknown field", ":2: alien row: unknown field 'zzz'"),
        ("negative energy", "alien row: energy_uj is not an integer"),
        ("energy as text", "not canonical|alien row: energy_uj|not JSON"),
        ("header cut", ":1: is corrupted (not JSON)"),
        ("no header", ":1: is not a segment header"),
        ("newer schema", "update Wattlens"),
        ("previous no hash", ":1: is corrupted (header values)"),
        ("simulated as number", ":1: is corrupted (header fields)"),
        ("nested deep", ":2: is corrupted (not JSON)"),
        ("number without end", ":2: is corrupted (not JSON)"),
        ("not ascii", "is corrupted (not ASCII)"),
    ],
)
def test_each_damage_is_one_line_that_names_the_place(name, says):
    data = damage(name, lines_of(sealed(second(0))))
    with pytest.raises(ChainError) as caught:
        segment.decode(data, "f.gz")
    assert str(caught.value).startswith("f.gz:")
    assert any(part in str(caught.value) for part in says.split("|"))
    assert "\n" not in str(caught.value)


def test_gzip_damage_is_named(tmp_path):
    body = sealed(second(0)).body
    bombs = {"cut": body[:-5], "tail": body + b"x", "two": body + body, "no": b"hello", "empty": b""}
    for name, data in bombs.items():
        path = tmp_path / f"{name}.jsonl.gz"
        path.write_bytes(data)
        with pytest.raises(ChainError, match=f"{name}.jsonl.gz"):
            segment.read(path)


def test_what_is_not_a_file_is_refused(tmp_path):
    (tmp_path / "real").write_bytes(sealed(second(0)).body)
    (tmp_path / "link.jsonl.gz").symlink_to(tmp_path / "real")
    (tmp_path / "folder.jsonl.gz").mkdir()
    import os

    os.mkfifo(tmp_path / "fifo.jsonl.gz")
    for name in ("link", "folder", "fifo", "missing"):
        with pytest.raises(ChainError, match=name):
            segment.read(tmp_path / f"{name}.jsonl.gz")


def test_names_are_safe_and_differ():
    plain = segment.file_name("lab", "node-1.example.org", 7)
    assert plain == "lab_node-1.example.org_00000007.jsonl.gz"
    hostile = [segment.file_name("lab", n, 0) for n in ("../../etc", "a_b", "a-b", "a b", "", "é", "x" * 300, ".hid")]
    assert len(set(hostile)) == len(hostile)
    assert not any("/" in n or n.startswith(".") or len(n) > 255 for n in hostile)


@pytest.mark.parametrize("step", range(3))
def test_a_failed_step_leaves_no_half_segment_and_can_be_done_again(tmp_path, step):
    item = sealed(second(0))
    with pytest.raises(OSError):
        segment.store(FailingFiles(step), tmp_path, "s.jsonl.gz", item.body, item.sha256)
    for path in segment.list_files(tmp_path):
        assert segment.read(path).sha256 == item.sha256
    path = segment.store(RealFiles(), tmp_path, "s.jsonl.gz", item.body, item.sha256)
    assert segment.read(path).sha256 == item.sha256


def test_a_taken_name_is_adopted_or_refused_never_overwritten(tmp_path):
    item, other = sealed(second(0)), sealed(second(1))
    path = segment.store(RealFiles(), tmp_path, "s.jsonl.gz", item.body, item.sha256)
    assert segment.store(RealFiles(), tmp_path, "s.jsonl.gz", item.body, item.sha256) == path
    with pytest.raises(JournalError, match="other content"):
        segment.store(RealFiles(), tmp_path, "s.jsonl.gz", other.body, other.sha256)
    assert path.read_bytes() == item.body


def test_a_segment_names_the_facts_of_its_rows():
    content = segment.decode(text_of(sealed(second(0))), "x")
    kinds = sorted(type(row).__name__ for row in content.rows)
    assert kinds.count("DeviceFacts") == 2
    assert kinds.count("WorkloadFacts") == 1


def test_a_header_can_be_read_alone(tmp_path):
    item = sealed(second(0))
    path = tmp_path / "s.jsonl.gz"
    path.write_bytes(item.body)
    assert segment.peek(path) == item.header
    path.write_bytes(b"no")
    with pytest.raises(ChainError):
        segment.peek(path)


def test_a_segment_from_before_steps_is_read_as_it_is_and_can_hold_none():
    new = segment.decode(text_of(sealed(second(0))), "x")
    (steps,) = (row for row in new.rows if isinstance(row, StepRow))
    assert (new.header.schema, steps.workload, steps.phase, steps.steps) == (2, "job", "training", 3)
    rows = [row for row in new.rows if row is not steps]
    old = segment.encode(replace(new.header, schema=1, rows=len(rows)), rows)
    assert segment.encode(segment.decode(old, "x").header, segment.decode(old, "x").rows) == old
    with pytest.raises(ChainError, match="schema 1 has no steps"):
        segment.decode(segment.encode(replace(new.header, schema=1), new.rows), "x")
