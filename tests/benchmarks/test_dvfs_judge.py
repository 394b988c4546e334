"""The judging run: its rows and totals on small traces, and the log that refuses cells which a policy was changed for."""

import json
from pathlib import Path

import pytest

from benchmarks import dvfs_judge, dvfs_judge_changes, dvfs_judge_log
from benchmarks.__main__ import main
from dvfs.replay.serving.drawn import EDGES
from dvfs.replay.serving.plant import serve


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in dvfs_judge.NEEDED:
        path = tmp_path / dvfs_judge.TRACES[name]
        path.parent.mkdir(parents=True)
        rows = "".join(f"{i * 300 + 97 * i % 251},{300 + 31 * i % 500},{20 + i % 30}\n" for i in range(60))
        path.write_text(f"at_ms,prompt,output\n{rows}")
    return tmp_path


def judge(data: Path, *words: object) -> int:
    names = ["--policy", "aimd", "bisect", "--data", data, "--json"]
    return main(["dvfs_judge", "--part", "cells", "--cells", "3", "--requests", "100", *map(str, [*names, *words])])


def test_rows_totals_and_log(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = data / "log.jsonl"
    assert judge(data, "--seed", 4, "--log", log) == 0
    rows = json.loads(capsys.readouterr().out)
    cells, totals, last = rows[:12], rows[12:14], rows[14]
    assert [row["policy"] for row in cells[:4]] == ["highest clock", "best fixed", "aimd", "bisect"]
    assert all(not row["short"] for row in cells if row["policy"] == "best fixed")
    for total in totals:
        own = [row for row in cells if row["policy"] == total["policy"]]
        assert total["mean_saving_percent"] == pytest.approx(sum(row["saving_percent"] for row in own) / 3)
        assert total["cells_short"] == sum(row["short"] for row in own)
    assert last["seed"] == 4
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(entry["policy"], entry["seed"]) for entry in entries] == 2 * [("aimd", 4), ("bisect", 4)]
    assert ["mean_saving_percent" in entry for entry in entries] == [False, False, True, True]
    assert entries[0]["sha256"] == dvfs_judge_log.source_hash("aimd")


def test_cells_that_a_changed_policy_has_seen_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = data / "log.jsonl"
    dvfs_judge_log.append(log, 4, "0" * 64, {"policy": "aimd"})
    assert judge(data, "--seed", 4, "--log", log) == 2
    assert "a policy that changed needs a new seed" in capsys.readouterr().err
    dvfs_judge_log.refuse_seen(log, 5, {"aimd": "1" * 64})


def test_hash_covers_a_policy_and_its_helpers() -> None:
    names = {path.name for path in dvfs_judge_log.policy_files("aimd")}
    assert {"aimd.py", "_serving.py", "_options.py", "_trouble.py"} <= names
    assert "bisect.py" not in names
    assert dvfs_judge_log.source_hash("aimd") != dvfs_judge_log.source_hash("bisect")


def test_arrivals_and_limits_of_a_cell_depend_on_the_seed_alone(data: Path) -> None:
    one, again, other = (dvfs_judge.draw_cell(seed, 2, data, 100, 10_000) for seed in (1, 1, 2))
    assert (one.arrivals, one.site, one.work) == (again.arrivals, again.site, again.work)
    assert one.arrivals != other.arrivals


def test_cells_that_would_take_too_many_decisions_have_fewer_requests(data: Path) -> None:
    cells = [dvfs_judge.draw_cell(1, number, data, 3000, 500) for number in range(6)]
    assert all(1000 <= len(cell.arrivals) <= 3000 for cell in cells)
    assert min(len(cell.arrivals) for cell in cells) == 1000


def test_limits_are_kept_by_the_highest_clock_most_of_the_time_and_often_at_bucket_edges(data: Path) -> None:
    kept, at_edges = 0, 0
    for number in range(30):
        cell = dvfs_judge.draw_cell(9, number, data, 100, 10_000)
        top = serve(cell.site, cell.arrivals, cell.site.spec.gpu.settings[-1])
        slo = dvfs_judge.draw_limits(cell, top)
        kept += min(slo.attained(top)) >= slo.attainment_ratio
        ttft_edges, itl_edges, _ = EDGES[cell.site.spec.edges]
        at_edges += slo.ttft_s in ttft_edges and slo.itl_s in itl_edges
    assert kept >= 15
    assert 5 <= at_edges <= 25


def test_a_trace_shorter_than_a_cell_is_repeated(data: Path) -> None:
    cell = dvfs_judge.draw_cell(1, 0, data, 200, 10_000)
    times = [at for at, _, _ in cell.arrivals]
    assert len(times) == 200
    assert times == sorted(times)


@pytest.mark.smoke
def test_change_points_count_the_first_minute_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvfs_judge_changes, "PHASES", 4)
    for name in dvfs_judge_changes.CHANGES:
        top, own = dvfs_judge_changes.play_change((1, name, 0, ("aimd",)))
        assert (top["policy"], own["policy"]) == ("highest clock", "aimd")
        assert top["first"][0] == own["first"][0] > 0
        assert top["later"][0] > top["first"][0]
        assert all(kept <= own["first"][0] for kept in own["first"][1:])


def test_data_that_is_missing_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dvfs_judge", "--data", str(tmp_path)]) == 2
    assert "Azure/AzurePublicDataset" in capsys.readouterr().err
