"""Data frames have the figures of `wattlens usage` and `wattlens job`, exactly, and the examples of docs/data-frames.md."""

import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

import wattlens
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.sdk.frame import to_frame
from tests.reports.ledger import sql_days
from wattlens.cli import main
from wattlens.usage.record import EnergyRecord

DAYS = {"since": "2026-03-31", "to": "2026-04-03"}
PAGE = Path(__file__).parents[2] / "docs/data-frames.md"
PRICED = {"price": "0.18EUR/kWh", "carbon": 380}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch:
        sql_days.make(folder, patch)
    return folder


@pytest.mark.parametrize(("source", "by"), [("segments", "gpu"), ("segments", "workload"), ("days", "team"), ("days", "model")])
def test_a_frame_has_the_rows_of_the_command(fleet, capsys, source, by):
    words = ["usage", f"{fleet}/{source}", "--from", DAYS["since"], "--to", DAYS["to"], "--by", by, "--json"]
    assert main([*words, "--price", "0.18EUR/kWh", "--carbon", "380"]) == 0
    document = json.loads(capsys.readouterr().out)
    frame = wattlens.energy(fleet / source, by=by, **DAYS, **PRICED)
    for row, expected in zip(frame.to_dict("records"), document["rows"], strict=True):
        expected["absent"] = "; ".join(f"{name}: {reason}" for name, reason in expected["absent"].items())
        for name, value in expected.items():
            of_frame = None if pd.isna(row[name]) else row[name]
            assert of_frame == (int(value) if name.endswith("_uj") else value), name
        assert int(row["energy_uj_lower"]) / 3.6e12 == pytest.approx(row["energy_kwh_lower"], rel=1e-8)
    assert frame["energy_uj"].sum() == int(document["total"]["energy_uj"])
    del document["rows"]
    assert frame.attrs == {"wattlens": wattlens.__version__, **document, "absent": {}}
    assert set(frame.index) == {pd.Timestamp("2026-03-31", tz="UTC")}


def test_intervals_sum_to_the_period(fleet):
    whole = wattlens.energy(fleet / "days", by="team", **DAYS)
    parts = wattlens.energy(
        fleet / "days", by="team", since=date(2026, 3, 30), to=datetime(2026, 4, 3, tzinfo=UTC), every="12h"
    )
    assert parts.groupby("name")["energy_uj"].sum().equals(whole.set_index("name")["energy_uj"].sort_index())
    assert parts["energy_uj"].sum() == int(parts.attrs["total"]["energy_uj"]) == int(whole.attrs["total"]["energy_uj"])
    assert parts.attrs["total"]["energy_kwh_upper"] >= whole.attrs["total"]["energy_kwh_upper"]
    assert parts.index.unique()[0] == pd.Timestamp("2026-03-31", tz="UTC")
    assert list(parts.attrs["absent"]) == ["2026-03-30T00:00:00Z", "2026-03-30T12:00:00Z"]


def test_sums_beyond_int64_are_exact_through_pandas_and_parquet(tmp_path, monkeypatch):
    def record(source, start_ns, end_ns, address):
        filled = EnergyRecord("test", start_ns, end_ns)
        for number in range(6):
            device = ("lab", "n1", f"GPU-{number}")
            energy_uj = 2**62 + number
            filled.add_day(
                start_ns, "holder_day", [(*device, "w", "active", "counter", energy_uj, 0, start_ns, end_ns, 0, 0, 0)]
            )
            filled.add_day(start_ns, "span_day", [(*device, "", start_ns, end_ns, 0, 0, 0, 1, 0, 0)])
        return filled

    monkeypatch.setattr("wattlens.usage.source.read_ledger", record)
    expected = 6 * 2**62 + 15
    assert expected > 2**63
    (tmp_path / "journal.db").touch()
    frame = wattlens.energy(tmp_path, by="workload", since="2026-03-31", to="2026-04-02", every="1d")
    assert list(frame["energy_uj"]) == [expected, expected]
    assert frame["energy_uj"].dtype == frame.groupby("name")["energy_uj"].sum().dtype
    for sums in (frame.groupby("name")["energy_uj"].sum(), frame["energy_uj"].resample("YS").sum()):
        assert list(sums) == [2 * expected]
    frame.to_parquet(tmp_path / "frame.parquet")
    for backend in ({}, {"dtype_backend": "pyarrow"}):
        stored = pd.read_parquet(tmp_path / "frame.parquet", **backend)
        assert (stored["energy_uj"].sum(), stored.attrs) == (2 * expected, frame.attrs)


def test_a_missing_value_is_neither_zero_nor_of_another_type():
    columns = ("energy_uj", "energy_kwh", "tokens", "simulated", "absent")
    nothing = dict.fromkeys(columns) | {"absent": {"energy_uj": "no sensor"}}
    some = {"energy_uj": 10**37, "energy_kwh": "0.5", "tokens": 3, "simulated": False, "absent": {}}
    frame = to_frame([nothing, some], columns, [0, 1], {})
    assert frame.iloc[0].isna().tolist() == [True, True, True, True, False]
    assert frame["absent"].tolist() == ["energy_uj: no sensor", ""]
    assert (frame.dtypes == to_frame([], columns, [], {}).dtypes).all()
    assert pd.isna(frame["energy_uj"].sum(skipna=False))


def test_a_job_has_the_figures_of_the_command(fleet, capsys):
    jobs = ["k8s/assistants/chat-8b-0", "k8s/language/translate-1"]
    frame = wattlens.job_energy(jobs, fleet / "days")
    for job, row in zip(jobs, frame.to_dict("records"), strict=True):
        assert main(["job", job, f"{fleet}/days", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert {name: int(document[name]) for name in document if name.endswith("_uj")}.items() <= row.items()
        assert (row["joules_per_token"], row["gpus"]) == (document["joules_per_token"], document["gpus"])
        assert row["nodes"] == len(document["nodes"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"by": "teem"}, "by: expected one of workload, owner"),
        ({"since": "5 days"}, "since: expected a time"),
        ({"since": "2026-04-03", "to": "2026-04-01"}, "since: expected a time before to 2026-04-01"),
        ({"every": "20m"}, "every: expected quarters of an hour"),
        ({"every": "0d"}, "every: expected quarters of an hour"),
        ({"match": {"cluster": "prod"}}, "match and credentials: expected together with prometheus"),
        ({"prometheus": "http://127.0.0.1:1"}, "prometheus: cannot be combined with a source"),
    ],
)
def test_a_wrong_argument_is_one_line(fleet, arguments, part):
    with pytest.raises(UsageError, match=re.escape(part)):
        wattlens.energy(fleet / "days", **(DAYS | arguments))


def test_a_period_without_energy_is_an_error(fleet):
    with pytest.raises(WattlensError, match="the ledger has readings from 2026-03-31"):
        wattlens.energy(fleet / "days", since="2025-01-01", to="2025-01-03", every="1d")


def test_examples_of_the_page_print_what_it_shows(fleet):
    blocks = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(blocks) == 2
    for code, expected in blocks:
        words = [sys.executable, "-c", code.replace("/srv/wattlens", str(fleet))]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.stderr, [line.rstrip() for line in done.stdout.splitlines()]) == ("", expected.splitlines())


def test_the_public_name_loads_pandas_only_when_it_is_called():
    code = "import sys, wattlens; wattlens.energy; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
