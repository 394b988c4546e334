"""What one node, or anyone who can write into the folder, does to the fleet's ledger: it is named, and stops no other node."""

import gzip
import json
import os
import shutil
import subprocess
import sys

import pytest

from energy_agent.core.energy import Gap, Steps, Tokens
from energy_agent.ledger import chain, reading
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import compact_days
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.rows.kinds import StepRow, TokenRow
from energy_agent.ledger.rows.text import canonical
from energy_agent.ledger.segments import segment
from tests.energy_agent.ledger.cases import T0
from tests.energy_agent.ledger.shared_folder import HOUR_UJ, H, M, book, compact, inventory, shared
from wattlens.cli import main

__all__ = ["shared"]


def forge(folder, name, rows, *, sequence=0, previous=segment.FIRST_PREVIOUS, cluster="lab", file=None, **header):
    """A segment of anything, canonical."""
    lines = sorted({canonical(row) for row in rows})
    values = {"kind": "segment", "schema": 2, "cluster": cluster, "node": name, "boot_id": "b", "sequence": sequence}
    values |= {"previous": previous, "version": "0", "simulated": True, "from_ns": T0, "to_ns": T0 + H, "rows": len(lines)}
    data = "\n".join([canonical(values | header), *lines, ""]).encode()
    path = folder / (file or segment.file_name(cluster, name, sequence))
    path.write_bytes(segment.compress(data))
    return path


def cell(device, uj, start=T0, workload=""):
    row = {"kind": "cell", "cell_start_ns": start, "device": device, "workload": workload, "state": "unheld"}
    row |= {"method": "counter", "energy_uj": uj, "gpu_ns": 0, "start_ns": start, "end_ns": start + H // 4}
    return row | {"edge_first_uj": 0, "edge_inner_uj": 0, "edge_last_uj": 0}


def facts(device):
    return {"kind": "device", "device": device, "since_ns": T0, "sku": "H100", "gain_ppm": 50_000, "counter_scope": "unknown"}


@pytest.fixture
def fleet(shared):
    book(shared, "a", [0, 1])
    return shared


def named_alone(folder, capsys, *words):
    """Whether verify and compaction name the evil node's file, and the other node's day is whole."""
    assert not chain.verify([folder]).ok
    code, energy, err = compact(folder, capsys)
    assert (code, energy) == (1, {"a": 2 * HOUR_UJ}), err
    assert all(word in err for word in ("evil", *words)), err
    code, energy, _ = compact(folder, capsys, "--accept-faults")
    assert (code, energy["a"]) == (0, 2 * HOUR_UJ)
    return energy


def holding(data):
    return lambda path: path.write_bytes(data)


NO_FILE = [os.mkfifo, lambda path: os.mknod(path, 0o140644), lambda path: path.symlink_to("/dev/zero")]
JUNK = [b"junk", b"", b"\x1f\x8b", segment.compress(b"{}\n"), segment.compress(b"\n" * 1000), b"\0" * 10_000]
PAST_INT64 = ["c_evil_99999999999999999999", "c_evil_9223372036854775808", f"evil_{'9' * 200}"]
EVIL = [(name, make) for name in ("lab_evil_00000000", "lab_evil_00000007", "evil") for make in NO_FILE]
EVIL += [("lab_evil_00000000", holding(data)) for data in JUNK]
EVIL += [(name, holding(data)) for name in PAST_INT64 for data in JUNK[:2]]
EVIL += [(name, lambda path: shutil.copy(path.with_name(segment.file_name("lab", "a", 1)), path)) for name in PAST_INT64]


@pytest.mark.parametrize(("name", "make"), EVIL)
def test_what_is_no_segment_is_named(fleet, capsys, name, make):
    make(fleet / f"{name}.jsonl.gz")
    named_alone(fleet, capsys)


@pytest.mark.parametrize("sequence", [500, 2**63 - 1])
def test_a_number_far_ahead_leaves_a_hole_that_is_named(fleet, capsys, sequence):
    book(fleet, "evil", [0, 1], device="GPU-e")
    forge(fleet, "evil", [], sequence=sequence)
    named_alone(fleet, capsys, f"segment 2 to {sequence - 1} is missing; copy it")


@pytest.mark.parametrize("field", ["from_ns", "to_ns", "sequence", "rows", "schema"])
@pytest.mark.parametrize(
    "value", ["9223372036854775808", "1" + "0" * 30, "1" + "0" * 5000, "-1", "true", "1.5", '"1"'], ids=lambda value: value[:20]
)
def test_numbers_of_a_header_are_in_bounds(fleet, capsys, field, value):
    path = forge(fleet, "evil", [])
    text = gzip.decompress(path.read_bytes()).decode()
    old = json.loads(text)[field]
    path.write_bytes(segment.compress(text.replace(f'"{field}":{old}', f'"{field}":{value}').encode()))
    named_alone(fleet, capsys)


def test_cells_that_sum_past_int64_leave_out_their_node(fleet, capsys):
    most = 2**63 - 1
    forge(fleet, "evil", [facts("GPU-e"), cell("GPU-e", most), cell("GPU-e", most, T0 + H // 4)])
    # Each row is in the bounds of a segment: what no device can do is compaction's, and what a column cannot hold.
    assert chain.verify([fleet]).ok
    code, energy, err = compact(fleet, capsys)
    assert (code, energy) == (1, {"a": 2 * HOUR_UJ})
    assert "the maximum of such a device" in err
    code, energy, _ = compact(fleet, capsys, "--accept-faults")
    assert (code, energy) == (0, {"a": 2 * HOUR_UJ})


def test_a_device_without_its_uncertainty_is_named_and_the_rest_is_summed(fleet, capsys):
    forge(fleet, "evil", [facts("GPU-other"), cell("GPU-e", 7)])
    code, energy, _ = compact(fleet, capsys)
    assert (code, energy) == (0, {"a": 2 * HOUR_UJ, "evil": 7})
    assert main(["ledger", "export", str(fleet.parent / "days"), "--sum", "--json"]) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["energy_uj"] == 2 * HOUR_UJ
    assert "GPU-e" in output.err
    assert main(["ledger", "export", str(fleet.parent / "days"), "--sum", "--device", "GPU-e"]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("site", ["../../etc", "/etc", ".hidden", "", "x" * 300, "a\0b"])
def test_a_meter_of_a_site_that_cannot_be_a_folder(fleet, capsys, site):
    device = f"meter:{site}:main"
    forge(fleet, "evil", [facts(device), cell(device, 7)])
    code, energy, err = compact(fleet, capsys)
    assert (code, energy, "evil" in err) == (1, {"a": 2 * HOUR_UJ}, True)


def test_a_folder_that_cannot_be_read_stops_nothing(fleet, capsys):
    (fleet / "evil").mkdir()
    (fleet / "evil").chmod(0)
    if os.access(fleet / "evil", os.R_OK):  # root reads it all the same
        book(fleet, "evil", [0, 1], device="GPU-e")
        assert compact(fleet, capsys)[0] == 0
    else:
        assert compact(fleet, capsys)[:2] == (1, {"a": 2 * HOUR_UJ})


COMPACT = """
import sys
from pathlib import Path
import pyarrow.parquet
from energy_agent.ledger import chain
from wattlens.cli import main
report = chain.verify([Path(sys.argv[1])])
sys.exit(main(["ledger", "compact", sys.argv[1], "--out", sys.argv[2], "--day", "2026-01-01", "--site", "here"]))
"""
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def peak_mib(source, out):
    """(finished process, its peak memory) of verification and compaction."""
    command = [sys.executable, "-c", MEASURE, sys.executable, "-c", COMPACT, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, int(done.stdout.split()[-1]) >> 10


def bulky(kind, size_b):
    """A canonical segment with about so many bytes, compressed as well as can be."""
    head = {"kind": "segment", "schema": 2, "cluster": "lab", "node": "evil", "boot_id": "b", "sequence": 0}
    head |= {"previous": segment.FIRST_PREVIOUS, "version": "0", "simulated": True, "from_ns": T0, "to_ns": T0 + H}
    text, labels = "x" * 65_000, ",".join(f'"{i:x}":""' for i in range(9))
    row = {
        "short rows": lambda i: f'{{"counter_scope":"","device":"{i:07x}","gain_ppm":0,"kind":"device","since_ns":0,"sku":""}}',
        "long texts": lambda i: (
            f'{{"counter_scope":"","device":"{i:07x}{text}","gain_ppm":0,"kind":"device","since_ns":0,"sku":"{text}"}}'
        ),
        "labels": lambda i: (
            f'{{"kind":"workload","labels":{{{labels}}},"since_ns":{10**9 + i},"workload":"w","workload_kind":""}}'
        ),
    }[kind]
    rows = [row(i) for i in range(size_b // len(row(0)))]
    return gzip.compress("\n".join([canonical(head | {"rows": len(rows)}), *rows, ""]).encode(), 9, mtime=0)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["short rows", "long texts", "labels"])
def test_what_expands_beyond_any_segment_takes_no_memory(fleet, kind, tmp_path):
    plain, before = peak_mib(fleet, tmp_path / "without")
    assert plain.returncode == 0, plain.stderr
    data = bulky(kind, 36 << 20)
    (fleet / "lab_evil_00000000.jsonl.gz").write_bytes(data)
    done, after = peak_mib(fleet, tmp_path / "days")
    assert (done.returncode, "the maximum of a segment" in done.stderr) == (1, True), done.stderr
    assert after - before < 120
    (manifest,) = (tmp_path / "days").rglob("manifest.json")
    assert json.loads(manifest.read_text())["energy_uj"] == str(2 * HOUR_UJ)


@pytest.mark.smoke
def test_the_largest_segment_that_is_read_takes_half_a_gigabyte(fleet, tmp_path):
    _, before = peak_mib(fleet, tmp_path / "without")
    (fleet / "lab_evil_00000000.jsonl.gz").write_bytes(bulky("short rows", 31 << 20))
    done, after = peak_mib(fleet, tmp_path / "days")
    assert done.returncode == 0, done.stderr
    assert 100 < after - before < 512


def test_a_node_with_more_rows_than_a_day_can_have(fleet, capsys, monkeypatch):
    monkeypatch.setattr("energy_agent.ledger.fleet.compact.ROWS_MAX", 40)
    rows = [facts("GPU-e"), *(cell("GPU-e", 7, workload=f"w{i}") for i in range(50))]
    forge(fleet, "evil", rows)
    results = list(compact_days(index.build([fleet]), fleet.parent / "few", [index.build([fleet]).days[0]], Sites({}, "here")))
    assert [(r.left_out, [f.kind for f in r.faults]) for r in results] == [(("lab_evil",), ["alien"])]
    assert results[0].statements[0].energy_uj == 2 * HOUR_UJ


def test_a_name_that_is_taken_does_not_keep_the_node_from_shipping(fleet, tmp_path, capsys):
    """Somebody wrote segment 0 before the node shipped its own: the others arrive, and the one is named."""
    (tmp_path / "shipped").mkdir()
    forge(tmp_path / "shipped", "a", [facts("GPU-a"), cell("GPU-a", 20 * HOUR_UJ)])
    assert main(["ledger", "ship", str(fleet), f"file://{tmp_path}/shipped"]) == 1
    out = capsys.readouterr()
    assert "1 segments copied" in out.out
    assert "_00000000.jsonl.gz: already exists, with other content" in out.err
    assert (tmp_path / "shipped" / segment.file_name("lab", "a", 1)).exists()


def test_a_device_that_two_agents_measure_counts_for_its_node(shared, capsys):
    """A unit and a DaemonSet on one host, under two names: hour 1 to 2 of both, before and after it of one each."""
    book(shared, "a", [(0, 60), (60, 120)], device="GPU-1")
    book(shared, "b", [(60, 120), (120, 180)], device="GPU-1")
    report = chain.verify([shared])
    (fault,) = report.faults
    assert fault.kind == "twice"
    assert "GPU-1: measured by lab/a and lab/b from 2026-01-01T01:00Z to 2026-01-01T02:00Z" in fault.line
    code, energy, err = compact(shared, capsys, "--inventory", inventory(shared, "lab,b,GPU-1,H100,here,,", "lab,a,,,here,,"))
    assert (code, energy) == (1, {"a": HOUR_UJ, "b": 2 * HOUR_UJ})
    assert "the rows of lab/b count, because the inventory assigns the device to it" in err


def test_unallocated_device_of_two_agents_counts_for_the_first_agent(shared, capsys):
    book(shared, "a", [(0, 60), (60, 120)], device="GPU-1")
    book(shared, "a2", [(60, 120)], device="GPU-2", gaps=[Gap("GPU-2", T0 + 70 * M, T0 + 71 * M, 9, "lost")])
    book(shared, "b", [(60, 120), (120, 180)], device="GPU-1", gaps=[Gap("GPU-1", T0 + 70 * M, T0 + 71 * M, 9, "lost")])
    code, energy, err = compact(shared, capsys)
    assert (code, energy) == (1, {"a": 2 * HOUR_UJ, "a2": HOUR_UJ, "b": HOUR_UJ})
    assert "the rows of lab/a count, because it had the device first" in err
    rows = [located for located in reading.read_rows(shared.parent / "days") if getattr(located.row, "device", "") == "GPU-1"]
    assert {row.row.cell_start_ns for row in rows if row.node == "b"} == {T0 + (120 + q * 15) * M for q in range(4)}
    # The same again is unchanged, and a third node's late hour does not wait: nothing more is lost than before.
    code, _, _ = compact(shared, capsys)
    assert (code, len(list((shared.parent / "days").rglob("manifest.json")))) == (1, 1)
    book(shared, "c", [(0, 60)], device="GPU-3")
    code, energy, _ = compact(shared, capsys)
    assert (code, energy["c"], energy["a"]) == (1, HOUR_UJ, 2 * HOUR_UJ)


def test_two_chains_that_begin_together_count_for_neither(shared, capsys):
    book(shared, "a", [(0, 60)], device="GPU-1")
    book(shared, "b", [(0, 60)], device="GPU-1")
    code, energy, err = compact(shared, capsys)
    assert (code, energy) == (1, {})
    assert "no rows of this device count" in err


def test_a_chain_that_claims_a_device_since_midnight_takes_nothing_from_the_one_that_is_published(shared, capsys):
    book(shared, "a", range(20), device="GPU-1")
    assert compact(shared, capsys)[:2] == (0, {"a": 20 * HOUR_UJ})
    book(shared, "a", range(25, 30), device="GPU-1")
    book(shared, "evil", range(24, 30), device="GPU-1")
    code, energy, err = compact(shared, capsys, day="2026-01-02")
    assert (code, energy) == (1, {"a": 25 * HOUR_UJ, "evil": HOUR_UJ})  # the hour that nobody else claims
    assert "the rows of lab/a count" in err


def test_what_was_stated_stays_when_another_chain_claims_the_device_later(shared, capsys):
    book(shared, "a", [(0, 60)], device="GPU-1")
    assert compact(shared, capsys)[:2] == (0, {"a": HOUR_UJ})
    book(shared, "evil", [(0, 60)], device="GPU-1")
    code, energy, err = compact(shared, capsys)
    assert (code, energy) == (1, {"a": HOUR_UJ})
    assert "the rows of lab/a count" in err
    assert compact(shared, capsys, "--accept-faults")[:2] == (0, {"a": HOUR_UJ})


@pytest.mark.parametrize("minute", [60, 67])
def test_a_device_that_moved_is_no_fault(shared, capsys, minute):
    book(shared, "a", [(0, 60), (60, minute)] if minute > 60 else [(0, 60)], device="GPU-1")
    book(shared, "b", [(minute, 120)], device="GPU-1")
    assert chain.verify([shared]).ok
    assert compact(shared, capsys)[:2] == (0, {"a": minute * HOUR_UJ // 60, "b": (120 - minute) * HOUR_UJ // 60})


def test_tokens_and_steps_are_of_no_device(shared, capsys):
    tokens = Tokens(T0, T0 + H, "job", "llama", "generation", 77)
    steps = Steps(T0, T0 + H, "job", "training", 5)
    book(shared, "a", [(0, 60)], device="GPU-1", tokens=[tokens], steps=[steps])
    book(shared, "b", [(0, 60)], device="GPU-1")
    assert compact(shared, capsys)[:2] == (1, {})
    rows = [located.row for located in reading.read_rows(shared.parent / "days")]
    assert sum(row.tokens for row in rows if isinstance(row, TokenRow)) == 77
    assert sum(row.steps for row in rows if isinstance(row, StepRow)) == 5


def test_three_chains_of_a_host_count_for_the_one_that_it_is_named_after(shared, capsys):
    for name in "abc":
        book(shared, name, [(0, 60)], device="host:lab:b")
    assert compact(shared, capsys)[:2] == (1, {"b": HOUR_UJ})


def test_meters_of_a_building_are_those_of_the_sites_process(shared, capsys):
    book(shared, "fra1", [(0, 60)], device="meter:fra1:main", cluster="site")
    book(shared, "evil", [(0, 60)], device="meter:fra1:other")
    label = {"kind": "workload", "workload": "meter:fra1:main", "since_ns": T0, "workload_kind": "meter", "labels": {}}
    forge(shared, "evil-2", [facts("GPU-2"), cell("GPU-2", 7), label])
    assert "is a building meter" in str(chain.verify([shared]).faults)
    code, energy, err = compact(shared, capsys)
    assert (code, energy["fra1"]) == (1, HOUR_UJ)
    assert not energy.keys() & {"evil", "evil-2"}
    assert err.count("is a building meter") == 2
    assert "lab_evil: skipped" in err


def test_two_processes_of_one_site_count_once(shared, capsys):
    for cluster in ("one", "two"):
        book(shared, "fra1", [(0, 60)], device="meter:fra1:main", cluster=cluster)
    code, energy, _ = compact(shared, capsys, "--inventory", inventory(shared, "two,fra1,,,fra1,,"))
    assert (code, energy) == (1, {"fra1": HOUR_UJ})
    (manifest,) = (shared.parent / "days").rglob("manifest.json")
    assert json.loads(manifest.read_text())["refused"] == [["one_fra1", "meter:fra1:main", T0, T0 + H]]


def test_day_with_missing_first_segments_is_not_counted(shared, capsys):
    book(shared, "a", [22, 23, 24, 25])
    first, second, third, _ = segment.list_files(shared)
    first.unlink()
    code, energy, err = compact(shared, capsys)
    assert (code, energy) == (1, {})
    assert "the segments before 1 are missing" in err
    second.unlink()
    assert segment.read(third).header.from_ns == T0 + 24 * H  # nothing of this day is in the segments before
    assert compact(shared, capsys, day="2026-01-02")[:2] == (0, {"a": 2 * HOUR_UJ})
