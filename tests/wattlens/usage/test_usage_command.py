"""`wattlens usage` on a ledger whose energy was computed by hand, and the first command of docs/usage.md."""

import csv
import io
import json
from pathlib import Path

import pytest

from energy_agent.core.units import NS_PER_S
from tests.reports import ledgers
from wattlens.cli import main
from wattlens.usage.output import COLUMNS
from wattlens.usage.period import parse_time
from wattlens.usage.rates import parse_price

ORG = Path(__file__).parents[3] / "deploy/examples/report/org.yaml"
DAY = ("--from", "2026-07-01", "--to", "2026-07-02")
TRAIN_UJ = 60 * 600_000_003
CHAT_UJ = 25 * 300_000_000 + 25 * 90_000_000
FREE_UJ = 10 * 70_000_001


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ledger")
    ledgers.write(folder)
    return str(folder)


def printed(capsys, *words):
    assert main(["usage", *words]) == 0
    return capsys.readouterr().out


def test_energy_by_workload_is_what_was_computed_by_hand(state, capsys):
    document = json.loads(printed(capsys, state, *DAY, "--json", "--price", "0.18EUR/kWh", "--carbon", "380"))
    rows = {row["name"]: row for row in document["rows"]}
    assert {name: int(row["energy_uj"]) for name, row in rows.items()} == {
        ledgers.TRAIN: TRAIN_UJ,
        "chat": CHAT_UJ,
        "unallocated": FREE_UJ,
    }
    total_uj = TRAIN_UJ + CHAT_UJ + FREE_UJ
    assert int(document["total"]["energy_uj"]) == total_uj
    assert rows["chat"]["idle_uj"] == str(25 * 90_000_000)
    assert rows["chat"]["generation_tokens"] == 50 * 700
    assert rows["chat"]["share_ratio"] == pytest.approx(CHAT_UJ / total_uj, rel=1e-8)
    assert rows["chat"]["cost"] == pytest.approx(CHAT_UJ / 3.6e12 * 0.18, rel=1e-8)
    assert rows["chat"]["co2e_g"] == pytest.approx(CHAT_UJ / 3.6e12 * 380, rel=1e-8)
    # Gain 5 %: m x g / (1 - g); the 30 J edges at start and end of its spans; the gap of 1,400 J in its cell is above alone.
    gain_uj = -(-CHAT_UJ * 50_000 // 950_000)
    edge_uj = 2 * 30_000_000
    assert rows["chat"]["energy_kwh_lower"] == pytest.approx((CHAT_UJ - gain_uj - edge_uj) / 3.6e12, rel=1e-8)
    assert rows["chat"]["energy_kwh_upper"] == pytest.approx((CHAT_UJ + gain_uj + edge_uj + 1_400_000_000) / 3.6e12, rel=1e-8)
    assert document["coverage_ratio"] == pytest.approx(60 / 86_400, abs=1e-5)


@pytest.mark.parametrize("by", ["workload", "owner", "namespace", "user", "team", "model", "gpu", "node"])
def test_csv_has_the_columns_that_are_documented_and_sums_to_its_total(state, capsys, by):
    rows = list(csv.DictReader(io.StringIO(printed(capsys, state, *DAY, "--by", by, "--csv"))))
    assert tuple(rows[0]) == COLUMNS
    *parts, total = rows
    assert (total["kind"], int(total["energy_uj"])) == ("total", TRAIN_UJ + CHAT_UJ + FREE_UJ)
    for name in ("energy_uj", "active_uj", "idle_uj", "unallocated_uj", "unattributed_uj"):
        assert sum(int(row[name]) for row in parts) == int(total[name])
    assert all(row["cost"] == row["co2e_g"] == "" and "cost: no price" in row["absent"] for row in rows)


def test_json_has_a_reason_for_each_absent_value(state, capsys):
    document = json.loads(printed(capsys, state, *DAY, "--json"))
    assert tuple(document["rows"][0]) == COLUMNS
    train = next(row for row in document["rows"] if row["name"] == ledgers.TRAIN)
    assert train["generation_tokens"] is train["cost"] is train["co2e_g"] is None
    assert set(train["absent"]) == {"cost", "co2e_g", "tokens"}


def test_table_shows_period_coverage_and_the_same_rows(state, capsys):
    lines = printed(capsys, state, *DAY, "--rows", "1").splitlines()
    assert "2026-07-01 00:00 to 2026-07-02 00:00 UTC" in lines[0]
    assert any("Coverage 0.069 %" in line for line in lines)
    names = [line.split("  ")[0].strip() for line in lines[4:9]]
    assert names == ["WORKLOAD", ledgers.TRAIN, "1 others", "unallocated", "total"]


def test_one_workload_is_shown_with_the_whole_total(state, capsys):
    document = json.loads(printed(capsys, state, *DAY, "--workload", "chat", "--json"))
    assert [row["name"] for row in document["rows"]] == ["chat"]
    assert int(document["total"]["energy_uj"]) == TRAIN_UJ + CHAT_UJ + FREE_UJ


def test_a_file_that_is_not_a_segment_is_a_usage_error(tmp_path, capsys):
    other = tmp_path / "usage.csv"
    other.write_text("a,b\n")
    assert main(["usage", str(other)]) == 2
    stderr = capsys.readouterr().err
    assert (
        f"{other}: expected an agent's state folder, ledger segments (*.jsonl.gz) or compacted days, got another file" in stderr
    )
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ((*DAY, "--workload", "chta"), 1, f"workloads: {ledgers.TRAIN}, chat"),
        ((), 1, "the ledger has readings from 2026-07-01T00:00:00Z to"),
        (("--since", "5 days"), 2, "--since"),
        (("--since", "5 days"), 2, "24h"),
        (("--since", ""), 2, "--since"),
        (("--match", "cluster=prod"), 2, "--match: expected together with --prometheus"),
        (("--token-file", "token"), 2, "--token-file: expected together with --prometheus"),
        (("--insecure",), 2, "--insecure: expected together with --prometheus"),
        (("--from", "2026-07-01T00:10"), 2, "nearest are"),
        (("--from", "2026-07-02", "--to", "2026-07-01"), 2, "--from: expected a time before --to"),
        (("--to", "2026-07-01"), 2, "together with --from"),
        (("--since", "7d", "--to", "2026-07-01"), 2, "--since: cannot be combined"),
        (("--by", "team", "--workload", "chat"), 2, "--workload: cannot be combined"),
        (("--price", "18 cents"), 2, "--price: expected a price per kWh such as 0.18EUR/kWh"),
        (("--carbon", "high"), 2, "--carbon: expected grams"),
        (("--prometheus", "http://127.0.0.1:1"), 2, "--prometheus: cannot be combined with a SOURCE"),
    ],
)
def test_what_cannot_be_answered_is_one_line(state, capsys, words, code, part):
    assert main(["usage", state, *words]) == code
    output = capsys.readouterr()
    assert part in output.err
    assert (output.out, output.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("more", [(), ("--org", str(ORG))])
def test_a_missing_source_is_named_without_an_option_of_another_command(tmp_path, capsys, more):
    assert main(["usage", str(tmp_path / "days"), *more]) == 2
    assert capsys.readouterr().err.startswith(f"wattlens: {tmp_path}/days: no such")


def test_the_agents_own_ledger_is_the_default(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("wattlens.state_folder.default_state_dir", lambda: tmp_path)
    assert main(["usage"]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    ledgers.write(tmp_path)
    monkeypatch.setattr("time.time_ns", lambda: ledgers.START_NS + 3600 * NS_PER_S)
    page = (Path(__file__).parents[3] / "docs/usage.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("wattlens usage "))
    table = printed(capsys, *command.split()[2:])
    assert str(tmp_path) in table
    head = next(line for line in page.splitlines() if line.startswith("WORKLOAD"))
    assert head.split() == next(line for line in table.splitlines() if line.startswith("WORKLOAD")).split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", "2026-07-02T10:30"),
        ("7d", "2026-06-25T12:30"),
        ("1w", "2026-06-25T12:30"),
        ("today", "2026-07-02"),
        ("Yesterday", "2026-07-01"),
        ("monday", "2026-06-29"),
        ("thursday", "2026-07-02"),
        ("friday", "2026-06-26"),
        ("2026-06-01T00:15+01:00", "2026-05-31T23:15"),
    ],
)
def test_times_in_words(text, expected):
    now_ns = ledgers.START_NS + (36 * 3600 + 45 * 60 - 1) * NS_PER_S  # Thursday 2026-07-02 12:44:59
    assert parse_time(text, now_ns, "--since") == parse_time(expected, now_ns, "--since")


def test_a_price_needs_a_currency():
    assert parse_price("0.2 usd").currency == "USD"
    with pytest.raises(ValueError, match="expected a price per kWh"):
        parse_price("0.2")


def test_bounds_of_the_table_are_rounded_outwards(state, capsys):
    document = json.loads(printed(capsys, state, *DAY, "--json"))
    lines = printed(capsys, state, *DAY).splitlines()
    for row in (*document["rows"], document["total"]):
        cells = next(line for line in lines if line.startswith(row["name"])).split()
        lower, upper = float(cells[2]), float(cells[3])
        assert lower <= row["energy_kwh_lower"] < lower + 1.1e-5
        assert upper - 1.1e-5 < row["energy_kwh_upper"] <= upper
