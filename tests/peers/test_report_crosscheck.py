"""The report's cross-check on a real Prometheus: the counters' truth is what the ledger was written from, second by second."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.peers.test_ledger_import import Text, prometheus
from tests.reports import ledgers
from wattlens.cli import main

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(360)]

START_S = ledgers.START_NS // 10**9
FAMILY = "wattlens_gpu_energy_joules_total"


def counters(text: Text, uuids: tuple[str, ...], **more: str) -> None:
    """Add counters of each second's energy in the ledger, sampled every second from before its start to after its end."""
    for uuid in uuids:
        joules, samples = 1_000.0, [((START_S - 5) * 1000, 1_000.0)]
        for at_s in range(ledgers.SECONDS):
            samples.append(((START_S + at_s) * 1000, joules))
            joules += sum(e.energy_uj for e in ledgers.batch(at_s).entries if e.device == uuid) / 1e6
        samples += [((START_S + ledgers.SECONDS + s) * 1000, joules) for s in range(5)]
        text.add(FAMILY, {"uuid": uuid, "method": "counter", "instance": "node:9479", "job": "wattlens"} | more, samples)


def make_figure(tmp_path: Path, text: Text, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    ledgers.write(tmp_path / "state")
    (tmp_path / "prometheus").mkdir()
    with prometheus(tmp_path / "prometheus", text) as url:
        asked = ["report", "--ledger", str(tmp_path / "state"), "--out", str(tmp_path / "out"), "--formats", "csv"]
        assert main([*asked, "--prometheus", url]) == 0, capsys.readouterr().err
    figures = json.loads((tmp_path / "out/facts.json").read_text())["figures"]
    assert main(["report", "verify", str(tmp_path / "out"), "--ledger", str(tmp_path / "state")]) == 0  # it is gone by now
    (figure,) = [f for f in figures if f["id"] == "crosscheck.prometheus"]
    return dict(figure)


def test_it_agrees_where_every_agent_was_scraped_even_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Text()
    counters(text, ledgers.GPUS)
    counters(text, ledgers.GPUS, job="another-scrape")
    figure = make_figure(tmp_path, text, capsys)
    assert float(figure["value"]) == pytest.approx(1, abs=0.03)  # increase() extrapolates to the edges
    assert figure["dims"]["series"] == "2"


def test_a_node_that_is_not_scraped_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Text()
    counters(text, ledgers.GPUS[:1])
    share = 36_000.00018 / 46_450.00019  # the first board's 60 s at 600 W, of both
    assert float(make_figure(tmp_path, text, capsys)["value"]) == pytest.approx(share, abs=0.03)


def test_missing_series_is_reported_as_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Text()
    text.add("something_else_total", {"uuid": "x"}, [(START_S * 1000, 1)])
    figure = make_figure(tmp_path, text, capsys)
    assert figure["value"] is None
    assert "no series of wattlens_gpu_energy_joules_total" in figure["reason"]
