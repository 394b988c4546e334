"""`wattlens dashboards annotate`: what a real ledger holds of DVFS and a real report, as annotations, each once."""

import functools
import json
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlencode

import pytest

from dashboards.build.build import artefacts
from energy_agent.core.energy import Action
from energy_agent.ledger.journal.journal import Batch, Journal
from tests.energy_agent.ledger.cases import IDENTITY, T0, second
from tests.support import need_module
from tests.wattlens.grafana.people import Person
from wattlens.grafana import annotate as annotate_module
from wattlens.grafana.events import dvfs_events

need_module("grafana_foundation_sdk")
S = 1_000_000_000
FROM = ["--from", "2026-01-01", "--to", "2026-01-02"]
REPORT = Path(__file__).parents[3] / "docs/sample-report"


@pytest.fixture
def run(run_dashboards):
    """Runs `wattlens dashboards annotate` with a token of a role; gives exit code, output, errors."""
    return functools.partial(run_dashboards, "annotate", role="Editor")


def state_folder(folder, *batches):
    """A state folder whose journal has these actions, the first batch sealed."""
    journal = Journal.open(folder / "journal.db", IDENTITY)
    journal.commit(second(0))
    for i, actions in enumerate(batches):
        journal.commit(Batch(actions=list(actions)))
        if i == 0:
            journal.seal(None)
    journal.close()
    return folder


def action(at_s, device="GPU-0", name="set", setting='{"sm_clock_max_mhz":1200}', workload="job", policy="progress"):
    return Action(T0 + int(at_s * S), device, policy, name, setting, "ok", workload)


def test_dvfs_actions_are_annotated_once(grafana, run, tmp_path):
    group = [action(10 + i / 100, f"GPU-{i}") for i in range(8)]
    freed = [action(70, name="restore", setting='{"power":700000}', workload="", policy="actuator")]
    state = state_folder(tmp_path / "state", group, freed)
    assert run("--ledger", state, *FROM) == (0, "2 annotations created, 0 already present\n", "")
    first, last = sorted(grafana.annotations.all.values(), key=lambda each: each["time"])
    assert first["time"] == first["timeEnd"] == T0 // 1_000_000 + 10_000
    assert first["text"] == "progress: set clock up to 1200 MHz on node-1 GPU-0, GPU-1, GPU-2, GPU-3 and 4 more for job: ok"
    assert {"wattlens", "dvfs", "node:node-1", "policy:progress", "set", "simulated"} < set(first["tags"])
    assert last["text"] == "actuator: restore power limit 700 W on node-1 GPU-0: ok"
    writes = grafana.writes
    assert run("--ledger", state, *FROM)[1] == "0 annotations created, 2 already present\n"
    assert grafana.writes == writes
    more = state_folder(tmp_path / "more", group, freed, [action(100, name="refuse")])
    assert run("--ledger", more, "--ledger", state, *FROM)[1] == "1 annotations created, 2 already present\n"


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ('{"power_limit_mw":700000}', "power limit 700 W"),
        ('{"power_limit_mw":null}', "power limit as before"),
        ('{"sm_clock_max_mhz":1980}', "clock up to 1980 MHz"),
        ('{"sm_clock_max_mhz":"unlocked"}', "clock unlocked"),
        ('{"clock":[345,1005]}', "clock 345 to 1005 MHz"),
    ],
)
def test_setting_is_described_in_words(setting, text):
    rows = [{"cluster": "c", "node": "n", "simulated": False, "sequence": 1, **asdict(action(1, "GPU-0", "restore", setting))}]
    (event,) = dvfs_events(rows)
    assert event.text == f"progress: restore {text} on n GPU-0 for job: ok"


def test_what_people_write_into_an_annotation_stays(grafana, run, tmp_path):
    state = state_folder(tmp_path / "state", [action(10)])
    run("--ledger", state, *FROM)
    (number,) = grafana.annotations.all
    grafana.annotations.all[number]["text"] = "this was the outage"
    assert run("--ledger", state, *FROM)[1] == "0 annotations created, 1 already present\n"
    assert grafana.annotations.all[number]["text"] == "this was the outage"


def test_more_annotations_than_one_response_are_still_created_once(grafana, run, tmp_path, monkeypatch):
    monkeypatch.setattr(annotate_module, "_LIMIT", 7)
    monkeypatch.setattr(annotate_module, "_AT_ONCE", 20)
    state = state_folder(tmp_path / "state", [action(i) for i in range(50)])
    for i in range(30):  # somebody else's, with the same tag and at the same time
        Person(grafana).ask(
            "POST", "/api/annotations", {"time": T0 // 1_000_000 + 37 * i, "tags": ["wattlens"], "text": "theirs"}
        )
    assert run("--ledger", state, *FROM)[1] == "50 annotations created, 0 already present\n"
    assert run("--ledger", state, *FROM)[1] == "0 annotations created, 50 already present\n"


def test_endless_annotations_of_a_server_end_in_an_error(grafana, run, tmp_path, monkeypatch):
    monkeypatch.setattr(annotate_module, "_LIMIT", 1)
    monkeypatch.setattr(annotate_module, "_ASKED", 30)
    for i in range(200):
        grafana.annotations.all[i] = {"id": i, "time": 0, "timeEnd": 2**60, "tags": ["wattlens"], "text": "t"}
    code, _, err = run("--ledger", state_folder(tmp_path / "state", [action(1), action(3000)]), *FROM)
    assert (code, "too many annotations" in err, err.count("\n")) == (1, True, 1)
    assert len(grafana.asked) < 50


def test_annotation_period_is_selectable_and_too_many_are_refused(run, grafana, tmp_path, monkeypatch):
    state = state_folder(tmp_path / "state", [action(10), action(4000)])
    assert run("--ledger", state, "--from", "2026-01-01T00:30", "--to", "2026-01-02", "--dry-run")[1].startswith(
        "1 annotations would be "
    )
    assert grafana.writes == 0
    assert run("--ledger", state)[1] == "0 annotations created, 0 already present\n", "the last day has nothing"
    monkeypatch.setattr("wattlens.cli.dashboards.annotate.MOST", 1)
    code, out, err = run("--ledger", state, *FROM)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "--from" in err


def test_report_edition_is_annotated_over_its_period(grafana, run):
    assert run("--report", REPORT)[1] == "1 annotations created, 0 already present\n"
    (annotation,) = grafana.annotations.all.values()
    sites = json.loads((REPORT / "facts.json").read_text())["sites"].values()
    assert annotation["time"] == min(int(site["start_ns"]) for site in sites) // 1_000_000
    assert annotation["timeEnd"] == max(int(site["end_ns"]) for site in sites) // 1_000_000
    assert "2026Q3, edition 1 " in annotation["text"]
    assert {"wattlens", "report", "period:2026Q3", "edition:1"} < set(annotation["tags"])
    assert run("--report", REPORT, "--json")[1].strip() == json.dumps(
        {"url": grafana.url, "events": 1, "created": 0, "unchanged": 1, "dry_run": False}
    )


@pytest.mark.parametrize(("uid", "events"), [("wattlens-dvfs", 3), ("wattlens-fleet", 1)])
def test_boards_ask_for_the_marks_that_are_theirs(grafana, run, tmp_path, uid, events):
    run("--ledger", state_folder(tmp_path / "state", [action(10), action(20), action(30)]), *FROM)
    run("--report", REPORT)
    assert len(grafana.annotations.all) == 4
    (board,) = [json.loads(text) for name, text in artefacts().items() if name.endswith(f"{uid}.json")]
    (mark,) = [each for each in board["annotations"]["list"] if each["datasource"]["uid"] == "-- Grafana --"]
    assert (mark["target"]["type"], mark["target"]["matchAny"]) == ("tags", False)
    _, annotations = Person(grafana).ask("GET", "/api/annotations?" + urlencode({"tags": mark["target"]["tags"]}, doseq=True))
    assert len(annotations) == events


def test_names_of_workloads_are_no_html(grafana, run, tmp_path):
    state = state_folder(tmp_path / "state", [action(10, workload="<img src=x onerror=alert(1)>")])
    run("--ledger", state, *FROM)
    (annotation,) = grafana.annotations.all.values()
    assert "<img" not in annotation["text"]
    assert "&lt;img" in annotation["text"]


def test_what_is_wrong_is_one_line(run, tmp_path):
    for options, code, words in [
        ([], 2, "--ledger"),
        (["--ledger", tmp_path / "nowhere"], 2, "nowhere"),
        (["--report", tmp_path / "nowhere"], 2, "nowhere"),
        (["--report", REPORT, "--from", "2026-01-02", "--to", "2026-01-01"], 2, "--to: expected a time after --from"),
    ]:
        exit_code, out, err = run(*options)
        assert (exit_code, out, err.count("\n")) == (code, "", 1)
        assert words in err
    code, _, err = run("--report", REPORT, role="Viewer")
    assert (code, "is not allowed to create annotations" in err) == (1, True)
