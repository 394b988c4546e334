import csv
import io
import json
from contextlib import closing
from operator import attrgetter, itemgetter

import duckdb
import pytest

from energy_agent.core.energy import Action, Entry, Gap, Method, State
from energy_agent.ledger.journal.journal import Batch, DeviceFacts
from energy_agent.ledger.segments import segment
from energy_agent.ledger.signing import open_signer
from tests.energy_agent.ledger.cases import T0, S, filled, opened, second, truth
from wattlens.cli import main


@pytest.fixture
def state(tmp_path):
    filled(tmp_path / "state", 10, seals=(3, 6)).close()
    return tmp_path / "state"


VALUES = ("t_ns", "device", "policy", "action", "setting", "outcome", "workload")
TOTAL = truth(range(10))


def run(capsys, *arguments):
    code = main(["ledger", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_verify_a_state_folder(state, capsys):
    code, out, err = run(capsys, "verify", state)
    assert (code, err) == (0, "")
    assert "lab/node-1: 2 segments (0 to 1)" in out
    assert "[simulated]" in out
    assert "add up to its totals exactly: 10000.00009 J" in out
    code, out, _ = run(capsys, "verify", state, "--json")
    answer = json.loads(out)
    assert (answer["ok"], answer["chains"][0]["segments"], answer["chains"][0]["faults"]) == (True, 2, [])


def test_verify_reports_each_fault_in_a_line_and_exits_1(state, capsys):
    path = segment.list_files(state / "segments")[0]
    path.write_bytes(path.read_bytes()[:-9])
    code, out, err = run(capsys, "verify", state)
    assert (code, err.count("\n")) == (1, 1)
    assert str(path) in err
    assert "1 fault " in out
    assert json.loads(run(capsys, "verify", state, "--json")[1])["ok"] is False


@pytest.mark.parametrize("data", [None, b"not a segment"])
def test_verify_names_the_file_where_no_node_is_known(state, capsys, data):
    path = segment.list_files(state / "segments")[1]
    strange = path.with_name(f"mine{segment.SUFFIX}")
    path.rename(strange)
    if data is not None:
        strange.write_bytes(data)
    code, out, err = run(capsys, "verify", state / "segments")
    assert (code, err.count("\n"), str(strange) in err) == (1, 1, True)
    assert f"{strange}: not readable: 1 fault\n" in out
    names = {c["file"]: c["node"] for c in json.loads(run(capsys, "verify", state / "segments", "--json")[1])["chains"]}
    assert names == {str(segment.list_files(state / "segments")[0]): "node-1", str(strange): ""}


@pytest.mark.parametrize(
    "words",
    [
        *("verify {0}/nothing", "verify {0}/empty", "export {0}/empty", "export {0}/state --from someday"),
        *("export {0}/state --format parquet", "export {0}/state --out {0}/no/such/folder", "ship {0}/empty memory://x"),
        *("ship {0}/state nonsense://x", "compact {0}/state --out {0}/days"),
        "compact {0}/state --out {0}/days --site here --day today",
        "compact {0}/state --out {0}/days --inventory {0}/no.csv",
    ],
)
def test_wrong_usage_exits_2_with_one_line(state, tmp_path, capsys, words):
    (tmp_path / "empty").mkdir()
    code, _, err = run(capsys, *words.format(tmp_path).split())
    assert (code, err.count("\n"), err.startswith("wattlens")) == (2, 1, True), err


def test_export_holds_every_joule_with_its_bounds(state, tmp_path, capsys):
    code, out, _ = run(capsys, "export", state)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert sum(int(r["energy_uj"]) for r in rows) == TOTAL
    for row in rows:
        low, energy, high = (int(row[name]) for name in ("low_uj", "energy_uj", "high_uj"))
        assert low <= energy < high
        assert high - energy == int(row["systematic_uj"]) + int(row["edge_uj"])
    assert {r["sequence"] for r in rows} == {"0", "1", ""}  # the last are not sealed yet
    lines = [json.loads(line) for line in run(capsys, "export", state, "--format", "jsonl")[1].splitlines()]
    assert sum(r["energy_uj"] for r in lines) == TOTAL
    target = tmp_path / "cells.parquet"
    assert run(capsys, "export", state, "--format", "parquet", "--out", target)[0] == 0
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT sum(energy_uj) FROM '{target}'").fetchall() == [(TOTAL,)]
    assert run(capsys, "export", state, "--out", target)[0] == 2  # never over something


def test_export_filters(state, capsys):
    def energy(*options):
        return sum(json.loads(line)["energy_uj"] for line in run(capsys, "export", state, "--json", *options)[1].splitlines())

    assert energy("--device", "GPU-1") == TOTAL // 2
    assert energy("--workload", "job") == TOTAL
    code, _, err = run(capsys, "export", state, "--workload", "other")
    assert code == 1
    assert "the ledger has: job" in err
    assert energy("--from", "2026-01-01", "--to", "2026-01-01T00:15") == TOTAL
    assert energy("--from", "2026-01-01T00:15") == energy("--to", "2026-01-01") == 0


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_refused_export_leaves_no_file(state, tmp_path, capsys, form):
    target = tmp_path / "cells"
    words = ("export", state, "--format", form, "--out", target, "--workload")
    assert run(capsys, *words, "other")[0] == 1
    assert not target.exists()
    assert run(capsys, *words, "job")[0] == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--workload", "nosuch"), 1, "the ledger has: job"),
        (("--device", "GPU-9"), 1, "the ledger has: GPU-0, GPU-1"),
        (("--workload", "job", "--device", "0"), 1, "the ledger has: GPU-0, GPU-1"),
        (("--from", "2030-01-01T00:00:00Z"), 1, "no energy found (from 2030"),
        (("--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"), 2, "expected a time after"),
    ],
)
def test_a_sum_of_nothing_is_no_number(state, capsys, options, code, words):
    got, out, err = run(capsys, "export", state, "--sum", *options)
    assert (got, out) == (code, "")
    assert words in err


def test_a_sum_has_the_edges_of_one_stretch_alone(state, capsys):
    code, out, _ = run(capsys, "export", state, "--sum", "--json")
    answer = json.loads(out)
    assert (code, answer["energy_uj"], answer["gap_bound_uj"]) == (0, TOTAL, 0)
    assert answer["edge_uj"] == 2 * 2 * 60_000_000  # two devices, two edges each, through three segments
    assert answer["high_uj"] - TOTAL == answer["systematic_uj"] + answer["edge_uj"]
    assert TOTAL * 0.05 < answer["systematic_uj"] < TOTAL * 0.053
    assert run(capsys, "export", state, "--sum", "--workload", "job")[1].startswith("10000.00009 J, at least ")


def test_export_includes_dvfs_actions(tmp_path, capsys):
    did = [
        Action(T0 + 5, "GPU-0", "progress", "set", '{"power_limit_mw":300000}', "ok", "job"),
        Action(T0 + 9, "GPU-1", "actuator", "restore", '{"power":700000}', "ok: expired, wattlens (pid 7)"),
    ]
    with closing(opened(tmp_path / "state")) as journal:
        journal.commit(second(0))
        journal.commit(Batch(actions=did[:1]))
        journal.seal(None)
        journal.commit(Batch(actions=[did[1], did[1]]))  # a duplicate is recorded once
    lines = [json.loads(line) for line in run(capsys, "export", tmp_path / "state", "--actions", "--json")[1].splitlines()]
    values = itemgetter("sequence", *VALUES)
    assert [values(row) for row in lines] == [(n, *attrgetter(*VALUES)(act)) for n, act in zip((0, None), did, strict=True)]
    code, out, _ = run(capsys, "export", tmp_path / "state", "--actions", "--workload", "job")
    assert (code, [r["device"] for r in csv.DictReader(io.StringIO(out))]) == (0, ["GPU-0"])
    target = tmp_path / "actions.parquet"
    output = run(capsys, "export", tmp_path / "state", "--actions", "--format", "parquet", "--out", target)[1]
    assert output == f"2 actions in {target}\n"
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT count(*), max(t_ns) FROM '{target}'").fetchall() == [(2, T0 + 9)]


def test_ship_then_compact_then_export(state, tmp_path, capsys):
    shipped, days = tmp_path / "shipped", tmp_path / "days"
    assert "2 segments copied" in run(capsys, "ship", state, f"file://{shipped}")[1]
    assert json.loads(run(capsys, "ship", state, f"file://{shipped}", "--json")[1]) == {"copied": 0, "there": 2, "faults": []}
    code, out, _ = run(capsys, "compact", shipped, "--out", days, "--site", "here", "--day", "2026-01-01", "--json")
    (statement,) = json.loads(out)
    sealed = truth(range(7))
    assert (code, statement["energy_uj"], statement["written"]) == (0, str(sealed), True)
    assert "unchanged (statement 0)" in run(capsys, "compact", shipped, "--out", days, "--site", "here")[1]
    assert json.loads(run(capsys, "export", days, "--sum", "--json")[1])["energy_uj"] == sealed


def test_days_are_shared_by_processes(tmp_path, capsys):
    with closing(opened(tmp_path / "state")) as journal:
        for day in range(3):
            journal.commit(second(day * 86_400))
            journal.seal(None)
    arguments = ("compact", tmp_path / "state", "--site", "here", "--json")
    code, shared, err = run(capsys, *arguments, "--out", tmp_path / "days", "--jobs", "2")
    assert (code, err.count("\n"), "no signing keys are enrolled" in err) == (0, 1, True)
    assert [s["day"] for s in json.loads(shared)] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    again = json.loads(run(capsys, *arguments, "--out", tmp_path / "days")[1])
    assert [s["written"] for s in again] == [False] * 3  # the same bytes, so no new statement


def test_ship_copies_existing_segments_and_reports_missing_ones(tmp_path, capsys):
    filled(tmp_path / "state", 10, seals=(2, 4, 6)).close()
    first, second, third = segment.list_files(tmp_path / "state" / "segments")
    second.unlink()
    for copied in (2, 0):  # also when there is nothing left to copy
        code, out, err = run(capsys, "ship", tmp_path / "state", f"file://{tmp_path}/shipped")
        assert (code, f"{copied} segments copied" in out, err.count("\n")) == (1, True, 1)
        assert err.startswith(f"wattlens: missing: {third}: the preceding segment 1 is missing")
    assert [p.name for p in segment.list_files(tmp_path / "shipped")] == [first.name, third.name]
    code, out, _ = run(capsys, "ship", tmp_path / "state", f"file://{tmp_path}/shipped", "--json")
    assert (code, [f["kind"] for f in json.loads(out)["faults"]]) == (1, ["missing"])


def test_a_gap_without_a_bound_leaves_the_sum_without_an_upper_bound(state, capsys):
    lost = Gap("GPU-0", T0 + 20 * S, T0 + 21 * S, 0, "no bound known: reboot")
    with closing(opened(state)) as journal:
        journal.commit(Batch(gaps=[lost]))
    for options in ((), ("--workload", "job"), ("--device", "GPU-0")):
        code, out, _ = run(capsys, "export", state, "--sum", *options)
        assert (code, "no upper bound (1 device with a gap of unbounded energy)" in out, "at most" in out) == (0, True, False)
        answer = json.loads(run(capsys, "export", state, "--sum", "--json", *options)[1])
        assert (answer["high_uj"], answer["unbounded_devices"]) == (None, 1)
    assert " J, at most " not in run(capsys, "export", state, "--sum")[1]
    assert ", at most " in run(capsys, "export", state, "--sum", "--device", "GPU-1")[1]


def test_a_sum_names_its_unit_and_boundary(state, capsys):
    out = run(capsys, "export", state, "--sum")[1]
    assert out.endswith(f"; {TOTAL / 3.6e12:.6g} kWh, boundary gpu\n")
    with closing(opened(state)) as journal:
        entry = Entry(T0 + 90 * S, T0 + 91 * S, "host:lab:node-1", "", State.UNALLOCATED, Method.COUNTER, 10**6, 1)
        journal.commit(Batch([entry], devices=[DeviceFacts("host:lab:node-1", "host", 0.05, T0)]))
    assert run(capsys, "export", state, "--sum")[1].endswith("boundary node\n")
    assert run(capsys, "export", state, "--sum", "--device", "GPU-1")[1].endswith("boundary gpu\n")


@pytest.mark.parametrize("name", ["notes.txt", "manifest.json"])
def test_export_of_a_folder_without_a_ledger_is_wrong_usage(tmp_path, capsys, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_text("{}")
    for options in ((), ("--sum",), ("--actions",)):
        code, out, err = run(capsys, "export", tmp_path / "folder", *options)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "folder: expected a journal, segments or compacted days, found none" in err


def test_ship_succeeds_after_a_key_replacement(tmp_path, capsys):
    for name in ("one", "two"):
        signer, _ = open_signer(tmp_path / name)
        with closing(opened(tmp_path / "state", signer=signer)) as journal:
            journal.commit(second({"one": 0, "two": 1}[name]))
            journal.seal(None)
    assert run(capsys, "verify", tmp_path / "state")[0] == 1
    code, out, err = run(capsys, "ship", tmp_path / "state", f"file://{tmp_path}/shipped")
    assert (code, "2 segments copied" in out, err) == (0, True, "")
