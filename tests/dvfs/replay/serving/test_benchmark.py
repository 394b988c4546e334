"""The benchmark of traces: its fit finds the host times that made a leaderboard, its cache keeps what it was given."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import dvfs_calibration, dvfs_traces, dvfs_traces_cache
from dvfs.replay.serving import boards, models, replay
from dvfs.replay.serving.engine import Counters, Replica, Stream
from dvfs.replay.serving.fleet import Slo
from dvfs.replay.serving.server import server
from dvfs.replay.serving.trace import Trace
from tests.dvfs.replay.serving.small import small

HEAD = (
    "task,file,Model,GPU,TP,PP,Energy/req (J),Avg TPOT (s),Token tput (tok/s),Avg Output Tokens,Avg BS (reqs),Max BS (reqs)\n"
)


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    """Rows as the model itself would have made them, with 5 ms a step and 100 us a request of the host's."""
    lines = []
    for key, gpu, name, published in dvfs_calibration.PAIRS:
        one = server(boards.find(key), models.find(name), engine="lean", max_num_seqs=1024)
        for batch in (32, 64, 128, 256):
            point = dvfs_calibration.Point(batch, batch - 0.5, 1.0, 1.0, 400.0)
            tpot_s = 5e-3 + 1e-4 * point.batch + sum(dvfs_calibration.device_s(one, point))
            lines.append(f"chat,f,{published},{gpu},1,1,50,{tpot_s!r},1,400,{point.batch},{batch}\n")
    path = tmp_path / dvfs_calibration.FILE
    path.parent.mkdir()
    path.write_text(HEAD + "".join(lines))
    return tmp_path


def test_the_fit_finds_the_host_times_that_made_the_rows(leaderboard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for one in dvfs_calibration.fit(leaderboard):
        assert one.fitted == pytest.approx((5e-3, 1e-4), rel=1e-6)
        assert not one.same
        assert all(abs(row.left_out_error) < 1e-9 for row in one.rows)
    assert dvfs_traces.main(["--fit", "--data", str(leaderboard)]) == 1
    assert "models.json differs from the fit" in capsys.readouterr().out
    assert dvfs_traces.main(["--fit", "--json", "--data", str(leaderboard)]) == 1
    assert len(json.loads(capsys.readouterr().out)["fits"]) == 4


def test_the_fit_and_the_engine_have_one_idea_of_a_step() -> None:
    """A batch that only decodes takes a step as the calibration reckons it, but for the prompts in between."""
    one = server(boards.find("h100-sxm"), models.find("llama-8b"), max_num_seqs=64)
    answer, batch = 200, 64
    stream = Stream((0.0,) * batch, (dvfs_calibration.PROMPT,) * batch, (answer,) * batch, (9.0,) * batch, 9.0)
    replica, counters = Replica(one, stream), Counters()
    replica.run(float("inf"), one.rates(None), counters)
    point = dvfs_calibration.Point(batch, batch, 1.0, 1.0, answer)
    decode_s, _ = dvfs_calibration.device_s(one, point)
    expected = one.host_step_s + one.host_sequence_s * batch + decode_s
    assert counters.itl_sum_s / sum(counters.itl_counts) == pytest.approx(expected, rel=0.05)


def test_what_is_cached_comes_back_and_only_for_the_same_inputs(tmp_path: Path) -> None:
    case = replay.Case(small(), Slo(0.5, 0.05), Trace("t", (0.0, 1.0), (5, 6), (7, 8)), 1005)
    rows = [replay.Row("a", 1.5, 2, 3, (1005.0, 1980.0), "x"), replay.Row("b", 2.5, 0)]
    assert dvfs_traces_cache.read(tmp_path / "c", case) is None
    dvfs_traces_cache.write(tmp_path / "c", case, 4, rows)
    assert dvfs_traces_cache.read(tmp_path / "c", case) == (4, rows)
    for other in (
        replace(case, seed=1),
        replace(case, levels=9),
        replace(case, slo=Slo(0.5, 0.051)),
        replace(case, server=small(kv_tokens=121)),
        replace(case, trace=case.trace.faster(2.0)),
    ):
        assert dvfs_traces_cache.read(tmp_path / "c", other) is None
    (kept,) = (tmp_path / "c").iterdir()
    kept.write_text("{")
    assert dvfs_traces_cache.read(tmp_path / "c", case) is None
    dvfs_traces_cache.write(None, case, 4, rows)
    assert dvfs_traces_cache.read(None, case) is None


def test_a_whole_run_on_a_short_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / dvfs_traces.TRACES["azure"]
    path.parent.mkdir()
    path.write_text("at_ms,prompt,output\n" + "".join(f"{i * 300},{300 + 31 * i % 500},{20 + i % 30}\n" for i in range(200)))
    command = ["--trace", "azure", "--rate", "2", "--boundness", "mid", "--data", str(tmp_path), "--cache", str(tmp_path / "c")]
    codes = [dvfs_traces.main([*command, "--json"]) for _ in range(2)]
    assert codes[0] == codes[1]
    texts = capsys.readouterr().out
    first, end = json.JSONDecoder().raw_decode(texts)
    again = json.loads(texts[end:])
    costs = [said["rows"][0].pop("decision_ms") for said in (first, again)]
    assert min(costs) > 0
    assert again == first
    (row,) = first["rows"]
    assert set(row["rules"]) == {"slo", "best fixed clock", "EcoFreq", "GEOPM", "static knee", "hindsight"}
    assert (first["ok"], codes[0]) in ((True, 0), (False, 1))
    assert dvfs_traces.main(command) == codes[0]
    assert "holds in" in capsys.readouterr().out


def test_data_that_is_not_there_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dvfs_traces.main(["--data", str(tmp_path)]) == 2
    assert "get the trace from Azure/AzurePublicDataset" in capsys.readouterr().err
    assert dvfs_traces.main(["--fit", "--data", str(tmp_path)]) == 2
    assert "cannot read the leaderboard" in capsys.readouterr().err
