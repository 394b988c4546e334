"""`wattlens job` gives the same statement from segments and from the compacted days of a fleet, as text, JSON and like seff."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import sample_fleet
from energy_agent.core.units import NS_PER_DAY
from energy_agent.ledger.rows.kinds import CELL_NS
from tests.reports.ledger import sql_days
from wattlens.cli import main
from wattlens.job.statement import report_of
from wattlens.usage.compacted_days import read_job_days
from wattlens.usage.job_address import parse_address
from wattlens.usage.ledger_rows import read_ledger
from wattlens.usage.statement import GroupBy
from wattlens.usage.sums import statement_of

FIRST_NS = sample_fleet.FIRST_NS
WHOLE = (0, FIRST_NS + 400 * NS_PER_DAY)
CUT = (FIRST_NS + 33 * CELL_NS, FIRST_NS + 2 * NS_PER_DAY + 71 * CELL_NS)
JOBS = ("k8s/assistants/chat-70b-0", "k8s/language/translate-1", "k8s/research/notebook-7")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Segments of four nodes, and the same as days."""
    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch:
        sql_days.make(folder, patch)
        assert main(["ledger", "compact", "--out", f"{folder}/one", "--site", "one", str(folder / "segments")]) == 0
        yield folder


@pytest.mark.smoke
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("period", [WHOLE, CUT], ids=["whole", "cut"])
def test_segments_and_days_give_the_same_statement(fleet, job, period):
    address = parse_address(job)
    rows = report_of(read_ledger(fleet / "segments", *period, address), address)
    days = report_of(read_job_days(str(fleet / "one"), *period, address), address)
    assert replace(days, source=rows.source) == rows
    assert rows.whole_nodes
    start_ns = max(period[0], FIRST_NS)
    record = read_ledger(fleet / "segments", start_ns, min(period[1], FIRST_NS + 3 * NS_PER_DAY))
    usage = statement_of(record, GroupBy.OWNER)
    (row,) = [row for row in usage.rows if row.key.name == rows.address]
    assert (row.energy.energy_uj, row.energy.edge_uj) == (rows.energy.energy_uj, rows.energy.edge_uj)
    assert row.parts.values[:2] == (rows.active_uj, rows.idle_uj)
    assert dict(row.tokens) == dict(rows.tokens)


def test_the_command_prints_text_json_and_the_form_of_seff(fleet, capsys):
    words = ["job", JOBS[0], str(fleet / "one"), "--carbon", "380", "--price", "0.18EUR/kWh"]
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["job"] == "k8s/assistants/Pod/chat-70b-0"
    assert int(document["active_uj"]) + int(document["idle_uj"]) == int(document["energy_uj"])
    assert sum(int(node["energy_uj"]) for node in document["nodes"]) == int(document["energy_uj"])
    assert document["co2e_g"] == pytest.approx(int(document["energy_uj"]) / 3.6e12 * 380, rel=1e-8)
    assert document["joules_per_token"] == pytest.approx(int(document["energy_uj"]) / 1e6 / document["tokens"]["generation"])
    assert document["joules_per_token_lower"] < document["joules_per_token"] < document["joules_per_token_upper"]
    assert document["joules_per_step"] is None
    assert document["absent"] == {"joules_per_step": "no steps were reported (wattlens.step)"}
    assert main([*words, "--seff"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["Job ID"] == "k8s/assistants/Pod/chat-70b-0"
    assert lines["GPU Efficiency"] == "50.7 % of 6-00:00:00 GPU time"
    assert {"Energy Utilized", "Energy Idle", "Energy per Token", "Carbon Emitted", "Cost of Energy"} <= lines.keys()
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Job k8s/assistants/Pod/chat-70b-0, 2026-03-31 00:00 to 2026-04-03 00:00 UTC (3-00:00:00)\n")
    assert "\nNODE " in printed


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("k8s/assistants/chat",), 1, "k8s/assistants/chat: no energy of this job found in days"),
        (("slurm/7",), 1, "slurm/7: no energy of this job found"),
        (("chat-70b-0",), 2, "expected a job as k8s/NAMESPACE/NAME"),
        ((JOBS[0], "--since", "5 days"), 2, "--since: expected a time"),
        ((JOBS[0], "--since", "2026-04-02", "--to", "2026-04-01"), 2, "--since: expected a time before --to 2026-04-01"),
        ((JOBS[0], "--carbon", "high"), 2, "--carbon: expected grams"),
    ],
)
def test_errors_name_what_was_expected(fleet, capsys, words, code, part):
    assert main(["job", words[0], str(fleet / "one"), *words[1:]]) == code
    printed = capsys.readouterr().err
    assert part in printed
    assert printed.count("\n") == 1


def test_the_command_of_the_page_prints_what_the_page_shows(fleet, capsys):
    page = (Path(__file__).parents[3] / "docs/job.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("wattlens job k8s/"))
    expected = page.split("```text\n")[1].split("```")[0]
    places = {"/srv/wattlens/days": str(fleet / "one")}
    capsys.readouterr()
    assert main([places.get(word, word) for word in command.split()[1:]]) == 0
    assert capsys.readouterr().out.replace(str(fleet / "one"), "/srv/wattlens/days") == expected


def test_a_match_that_is_not_a_label_is_refused_before_any_query(capsys):
    words = ["job", JOBS[0], "--prometheus", "http://127.0.0.1:9", "--match", "a-b=c"]
    assert main(words) == 2
    assert "'a-b' is not the name of a label" in capsys.readouterr().err


def test_a_wrong_price_is_refused_before_any_query(capsys):
    words = ["job", JOBS[0], "--prometheus", "http://127.0.0.1:9", "--carbon", "site", "--price", "cheap"]
    assert main(words) == 2
    assert "--price: expected" in capsys.readouterr().err
