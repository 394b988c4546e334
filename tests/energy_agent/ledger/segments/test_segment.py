import gzip
import json
import os
import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import ChainError, JournalError
from energy_agent.ledger.journal.book import Book
from energy_agent.ledger.journal.sealing import take
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.files import RealFiles
from tests.doubles.failing_files import FailingFiles
from tests.energy_agent.ledger.cases import IDENTITY, batches, second
from tests.support import LONG_NUMBERS_REFUSED, examples, need_program


def sealed(batch, sequence=0, identity=IDENTITY):
    book = Book()
    book.add(batch)
    return take(book, None, identity, sequence, segment.FIRST_PREVIOUS)


def text_of(item):
    return gzip.decompress(item.body)


@given(batches, st.randoms(use_true_random=False))
@settings(max_examples=examples(50))
def test_bytes_depend_on_nothing_but_the_content(batch, order):
    first = sealed(batch)
    for name in ("gaps", "actions", "devices"):
        rows = list(getattr(batch, name))
        order.shuffle(rows)
        setattr(batch, name, rows)
    again = sealed(batch)
    assert (first and first.body) == (again and again.body)


@given(batches)
@settings(max_examples=examples(50))
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


def head_with(old, new):
    return lambda head, rows: [head.replace(old, new), *rows]


def rows_with(old, new):
    return lambda head, rows: [head, *(row.replace(old, new) for row in rows)]


LONG = "2: is corrupted (not JSON)" if LONG_NUMBERS_REFUSED else ":2: invalid row: not a JSON object"
DAMAGE = {
    "rows, but its header states": lambda head, rows: [head, *rows[1:]],
    ":3: is corrupted (not canonical": lambda head, rows: [head, rows[0], *rows],
    "is corrupted (not canonical": lambda head, rows: [head, *rows[::-1]],
    ":2: is corrupted (not canonical": lambda head, rows: [head, rows[0].replace(":", ": ", 1), *rows[1:]],
    ":2: invalid row: unknown kind": lambda head, rows: [head, rows[0].replace('"kind":"', '"kind":"x'), *rows[1:]],
    ":2: invalid row: unknown field 'zzz'": lambda head, rows: [head, rows[0][:-1] + ',"zzz":1}', *rows[1:]],
    "invalid row: energy_uj is not an integer": rows_with('"energy_uj":', '"energy_uj":-'),
    "invalid row: energy_uj": lambda head, rows: [head, *(re.sub(r'("energy_uj":)(\d+)', r'\1"\2"', row) for row in rows)],
    ":1: is corrupted (not JSON)": lambda head, rows: [head[:-5], *rows],
    ":1: is not a segment header": lambda head, rows: [rows[0], *rows],
    ":1: expected segment schema 2 or 3, got 99; read it": head_with(f'"schema":{segment.SCHEMA}', '"schema":99'),
    ":1: expected segment schema 2 or 3, got 1; read it": head_with(f'"schema":{segment.SCHEMA}', '"schema":1'),
    ":1: is corrupted (header: invalid values)": head_with("0" * 64, "0" * 63 + "g"),
    ":1: is corrupted (header: unknown or missing keys)": head_with("true", "1"),
    ":2: is corrupted (not JSON)": lambda head, rows: [head, "[" * 100_000, *rows],
    LONG: lambda head, rows: [head, "9" * 10_000, *rows],
    "is corrupted (not ASCII)": lambda head, rows: [head, *rows, "é"],
}


@pytest.mark.parametrize(("says", "damage"), DAMAGE.items())
def test_each_damage_is_one_line_that_names_the_place(says, damage):
    head, *rows = lines_of(sealed(second(0)))
    with pytest.raises(ChainError) as caught:
        segment.decode("\n".join([*damage(head, rows), ""]).encode(), "f.gz")
    line = str(caught.value)
    assert (line.startswith("f.gz:"), says in line, "\n" in line) == (True, True, False), line


def test_gzip_damage_and_what_is_not_a_file_are_named(tmp_path):
    body = sealed(second(0)).body
    make = {
        **{f"bytes-{i}": lambda path, data=data: path.write_bytes(data)
           for i, data in enumerate((body[:-5], body + b"x", body + body, b"hello", b""))},
        "link": lambda path: path.symlink_to(tmp_path / "real"),
        "folder": lambda path: path.mkdir(),
        "fifo": os.mkfifo,
        "missing": lambda _: None,
    }  # fmt: skip
    (tmp_path / "real").write_bytes(body)
    for name, create in make.items():
        create(tmp_path / f"{name}.jsonl.gz")
        with pytest.raises(ChainError, match=f"{name}.jsonl.gz"):
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


def test_a_segment_has_the_facts_of_its_rows_and_its_header_can_be_read_alone(tmp_path):
    item, path = sealed(second(0)), tmp_path / "s.jsonl.gz"
    kinds = [type(row).__name__ for row in segment.decode(text_of(item), "x").rows]
    assert (kinds.count("DeviceFacts"), kinds.count("WorkloadFacts")) == (2, 1)
    path.write_bytes(item.body)
    assert segment.peek(path) == item.header
    path.write_bytes(b"no")
    with pytest.raises(ChainError):
        segment.peek(path)
