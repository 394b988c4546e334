"""The benchmark of traces: its fit finds the host times that made a leaderboard, and a run gives the same again."""

import json
from pathlib import Path

import pytest

from benchmarks import dvfs_calibration, dvfs_traces
from benchmarks.__main__ import main
from dvfs.replay.serving import boards, models
from dvfs.replay.serving.engine import Replica, ReplicaCounters, Stream
from dvfs.replay.serving.server import server

HEAD = (
    "task,file,Model,GPU,TP,PP,Energy/req (J),Avg TPOT (s),Token tput (tok/s),Avg Output Tokens,Avg BS (reqs),Max BS (reqs)\n"
)


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    """Rows as the model itself would have generated them, with 5 ms per step and 100 us per request on the host."""
    lines = []
    for key, gpu, name, published in dvfs_calibration.PAIRS:
        one = server(boards.find(key), models.find(name), engine="lean", max_num_seqs=1024)
        for batch in (32, 64, 128, 256):
            point = dvfs_calibration.LeaderboardRow(batch, batch - 0.5, 1.0, 1.0, 400.0)
            tpot_s = 5e-3 + 1e-4 * point.batch + sum(dvfs_calibration.device_s(one, point))
            lines.append(f"chat,f,{published},{gpu},1,1,50,{tpot_s!r},1,400,{point.batch},{batch}\n")
    path = tmp_path / dvfs_calibration.FILE
    path.parent.mkdir()
    path.write_text(HEAD + "".join(lines))
    return tmp_path


def test_the_fit_finds_the_host_times_that_made_the_rows(leaderboard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(dvfs_calibration.fit(leaderboard))
    fits = [row for row in rows if "fitted_s" in row]
    assert len(fits) == 4
    for row in rows:
        if "fitted_s" in row:
            assert row["fitted_s"] == pytest.approx((5e-3, 1e-4), rel=1e-6)
            assert not row["ok"]
        else:
            assert abs(row["left_out_error"]) < 1e-9
    assert main(["dvfs_traces", "--fit", "--json", "--data", str(leaderboard)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in said if "fitted_s" in row] == [row["model"] for row in fits]


def test_the_fit_and_the_engine_have_one_idea_of_a_step() -> None:
    """A batch that only decodes takes a step as the calibration reckons it, but for the prompts in between."""
    one = server(boards.find("h100-sxm"), models.find("llama-8b"), max_num_seqs=64)
    answer, batch = 200, 64
    stream = Stream((0.0,) * batch, (dvfs_calibration.PROMPT,) * batch, (answer,) * batch, (9.0,) * batch, 9.0)
    replica, counters = Replica(one, stream), ReplicaCounters()
    replica.run(float("inf"), one.rates(None), counters)
    point = dvfs_calibration.LeaderboardRow(batch, batch, 1.0, 1.0, answer)
    decode_s, _ = dvfs_calibration.device_s(one, point)
    expected = one.host_step_s + one.host_sequence_s * batch + decode_s
    assert counters.itl_sum_s / sum(counters.itl_counts) == pytest.approx(expected, rel=0.05)


def test_a_whole_run_on_a_short_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / dvfs_traces.TRACES["azure"]
    path.parent.mkdir()
    path.write_text("at_ms,prompt,output\n" + "".join(f"{i * 300},{300 + 31 * i % 500},{20 + i % 30}\n" for i in range(200)))
    command = ["dvfs_traces", "--trace", "azure", "--rate", "2", "--boundness", "mid", "--data", str(tmp_path), "--json"]
    codes = [main(command) for _ in range(2)]
    assert codes[0] == codes[1]
    texts = capsys.readouterr().out
    first, end = json.JSONDecoder().raw_decode(texts)
    again = json.loads(texts[end:])
    costs = [rows[0].pop("decision_ms") for rows in (first, again)]
    assert min(costs) > 0
    assert again == first
    (row,) = first
    assert (row["ok"], codes[0]) in ((True, 0), (False, 1))


def test_data_that_is_not_there_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = (["--data"], "get the trace from Azure/AzurePublicDataset"), (["--fit", "--data"], "the leaderboard")
    for command, said in cases:
        assert main(["dvfs_traces", *command, str(tmp_path)]) == 2
        assert said in capsys.readouterr().err
