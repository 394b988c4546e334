"""`wattlens dashboards push` against the Grafana double, as a person runs them."""

import functools
import json

import pytest

from dashboards.build import shipped
from dashboards.rules import alerts as alert_module
from tests.wattlens.grafana.people import Person
from wattlens.grafana.client import Grafana

PROMETHEUS = ["--alerts", "--prometheus-url", "http://prometheus:9090"]
UID = "wattlens-gpu"
SHIPPED, ALERTS = shipped.load_dashboards(), alert_module.alerts()
SMALL = {"uid": "wattlens-small", "title": "Small", "panels": [], "schemaVersion": 39}
BUILT = {UID: SHIPPED[UID], SMALL["uid"]: SMALL}
FEW = tuple(each for each in ALERTS if each.name in ("WattlensAgentDown", "WattlensGpuLost"))
PANEL = next(i for i, panel in enumerate(BUILT[UID]["panels"]) if panel["type"] != "row")
TITLE = BUILT[UID]["panels"][PANEL]["title"]


@pytest.fixture(autouse=True)
def built(monkeypatch):
    """What is built, as most tests need no more of it; the function sets something else."""

    def build(boards, alerts=FEW):
        monkeypatch.setattr(shipped, "load_dashboards", lambda: boards)
        monkeypatch.setattr(alert_module, "alerts", lambda: alerts)

    build(BUILT)
    return build


@pytest.fixture
def run(run_dashboards):
    """Runs `wattlens dashboards push` with a token of a role; gives exit code, output, errors."""
    return functools.partial(run_dashboards, "push", role="Admin")


def stored(grafana):
    """What a person sees of every dashboard, without numbers that the server gives."""
    return {uid: board.latest.data for uid, board in grafana.boards.boards.items()}


def test_a_push_brings_everything_and_a_second_one_nothing(grafana, run, built):
    built(SHIPPED, ALERTS)
    code, out, err = run(*PROMETHEUS)
    assert (code, err) == (0, "")
    assert stored(grafana) == SHIPPED
    assert {board.folder for board in grafana.boards.boards.values()} == {"wattlens"}
    assert grafana.boards.folders["wattlens"]["title"] == "Wattlens"
    assert set(grafana.rules.rules) == {alert.name for alert in ALERTS}
    source = grafana.sources.sources["prometheus"]
    assert (source["type"], source["url"], source["access"]) == ("prometheus", "http://prometheus:9090", "proxy")
    objects = 2 + len(SHIPPED) + len(ALERTS)
    assert out.splitlines()[-1] == f"{objects} changed, 0 unchanged in the folder Wattlens of {grafana.url}"
    writes = grafana.writes
    code, out, err = run(*PROMETHEUS)
    assert (code, err) == (0, "")
    assert out == f"0 changed, {objects - 1} unchanged in the folder Wattlens of {grafana.url}\n"
    assert grafana.writes == writes
    assert all(board.latest.version == 1 for board in grafana.boards.boards.values())
    assert not [path for method, path in grafana.asked if "/id/" in path or path.startswith("/api/datasources/1")]


def test_rules_say_what_the_alerts_of_prometheus_say(grafana, run, built):
    built({}, ALERTS)
    run(*PROMETHEUS)
    for alert in ALERTS:
        rule, written = grafana.rules.rules[alert.name], alert.rule()
        query, math, threshold = rule["data"]
        assert query["datasourceUid"] == "prometheus"
        assert query["model"]["expr"] == alert.expr
        assert query["model"]["instant"] is True
        assert (
            math["model"]["expression"]
            == f"is_number(${query['refId']}) || is_nan(${query['refId']}) || is_inf(${query['refId']})"
        )
        assert threshold["model"]["conditions"][0]["evaluator"] == {"type": "gt", "params": [0]}
        assert threshold["model"]["expression"] == math["refId"]
        assert rule["condition"] == threshold["refId"]
        assert rule["for"] == written["for"]
        assert rule["labels"] == written["labels"]
        assert {k: v for k, v in rule["annotations"].items() if not k.startswith("__")} == written["annotations"]
        assert rule["annotations"]["runbook"] == alert.runbook
        assert (rule["noDataState"], rule["execErrState"], rule["provenance"]) == ("OK", "Error", "api")


def test_an_edit_is_named_and_stops_everything(grafana, run):
    run()
    writes = grafana.writes
    person = Person(grafana)
    person.save(UID, lambda board: board["panels"][PANEL].update(title="GPUs that work"), message="clearer")
    code, out, _ = run()
    assert code == 1
    assert "Nothing was written" in out
    assert "edited dashboard wattlens-gpu" in out
    assert f'.title: "GPUs that work", expected "{TITLE}"' in out
    assert "by sa-1-double" in out
    assert "--overwrite" in out
    assert grafana.writes == writes + 1, "only the person wrote"
    assert person.board(UID)["dashboard"]["panels"][PANEL]["title"] == "GPUs that work"


def test_keep_edited_pushes_the_rest(grafana, run):
    run(*PROMETHEUS, "--editable-alerts")
    Person(grafana).save(UID, lambda board: board.update(title="Mine"))
    del grafana.rules.rules["WattlensGpuLost"]
    code, out, _ = run(*PROMETHEUS, "--keep-edited")
    assert code == 0
    assert "created alert WattlensGpuLost" in out
    assert stored(grafana)[UID]["title"] == "Mine"


def test_names_a_pushed_dashboard_that_is_no_longer_built(grafana, run, built):
    run()
    Person(grafana).ask("POST", "/api/dashboards/db", {"dashboard": {"uid": "own", "title": "Own"}, "folderUid": "wattlens"})
    built({UID: BUILT[UID]})
    code, _, err = run()
    assert (code, err.count("\n")) == (0, 1)
    assert f"dashboard {SMALL['uid']} is no longer part of the build" in err
    assert set(stored(grafana)) == {UID, SMALL["uid"], "own"}


def test_a_dashboard_from_a_file_stays_and_the_rest_is_pushed(grafana, run):
    grafana.boards.folders["wattlens"] = {"id": 1, "uid": "wattlens", "title": "Wattlens"}
    grafana.boards.provision({**BUILT[UID], "title": "From a file"}, "wattlens")
    code, out, _ = run(*PROMETHEUS)
    assert code == 1
    assert f"locked dashboard {UID}" in out
    assert "is provisioned from a file" in out
    assert stored(grafana)[UID]["title"] == "From a file"
    assert set(grafana.rules.rules) == {alert.name for alert in FEW}
    assert run(*PROMETHEUS, "--overwrite")[0] == 1
    assert stored(grafana)[UID]["title"] == "From a file"


def test_a_dashboard_in_the_new_schema_stays_and_the_rest_is_pushed(grafana, run):
    run()
    grafana.boards.boards[UID].newer = True
    grafana.boards.boards.pop(SMALL["uid"])
    code, out, _ = run("--overwrite")
    assert code == 1
    assert f"locked dashboard {UID}" in out
    assert "schema v2" in out
    assert f"created dashboard {SMALL['uid']}" in out
    assert grafana.boards.boards[UID].latest.version == 1


def test_the_same_dashboard_from_a_file_is_as_built(grafana, run):
    grafana.boards.folders["f00"] = {"id": 1, "uid": "f00", "title": "Wattlens"}
    for board in BUILT.values():
        grafana.boards.provision(board, "f00")
    writes = grafana.writes
    assert run()[0] == 0
    assert grafana.writes == writes


def test_imported_dashboard_is_not_treated_as_pushed(grafana, run):
    person = Person(grafana)
    person.ask("POST", "/api/folders", {"title": "Wattlens", "uid": "abc"})
    theirs = {**BUILT[UID], "title": "Imported"}
    person.ask("POST", "/api/dashboards/db", {"dashboard": {**theirs, "id": None, "version": 0}, "folderUid": "abc"})
    code, out, _ = run()
    assert code == 1
    assert "was not pushed by Wattlens" in out
    assert stored(grafana)[UID]["title"] == "Imported"


def test_a_dashboard_that_was_moved_is_an_edit(grafana, run):
    run()
    person = Person(grafana)
    person.ask("POST", "/api/folders", {"title": "Ops", "uid": "ops"})
    person.save(UID, lambda _: None, folder="ops")
    code, out, _ = run()
    assert code == 1
    assert "was moved to the folder Ops" in out
    assert run("--overwrite")[0] == 0
    assert grafana.boards.boards[UID].folder == "wattlens"


def test_an_edit_of_a_rule_is_named_with_what_it_changed(grafana, run):
    run(*PROMETHEUS, "--editable-alerts")
    grafana.rules.edit("WattlensGpuLost", notification_settings={"receiver": "pager"})
    code, out, _ = run(*PROMETHEUS)
    assert code == 1
    assert "edited alert WattlensGpuLost" in out
    assert 'notification_settings: {"receiver": "pager"}, expected absent' in out
    assert grafana.rules.rules["WattlensGpuLost"]["notification_settings"] == {"receiver": "pager"}
    assert run(*PROMETHEUS, "--overwrite")[0] == 0
    assert grafana.rules.rules["WattlensGpuLost"]["notification_settings"] is None


def test_a_data_source_is_made_used_or_named_and_never_taken_over(grafana, run):
    grafana.sources.provision("prom-1", "Metrics", "http://thanos:9090")
    assert run("--alerts", "--datasource", "prom-1")[0] == 0
    assert grafana.rules.rules["WattlensGpuLost"]["data"][0]["datasourceUid"] == "prom-1"
    code, out, _ = run("--datasource", "prom-1", "--prometheus-url", "http://other:9090")
    assert (code, "locked datasource prom-1" in out) == (1, True)
    assert run("--prometheus-url", "http://a:9090")[0] == 0
    grafana.sources.secrets["prometheus"]["basicAuthPassword"] = "kept"
    code, out, _ = run("--prometheus-url", "http://b:9090")
    assert (code, "edited datasource prometheus" in out) == (1, True)
    assert run("--prometheus-url", "http://b:9090", "--overwrite")[0] == 0
    assert grafana.sources.sources["prometheus"]["url"] == "http://b:9090"
    assert grafana.sources.secrets["prometheus"] == {"basicAuthPassword": "kept"}
    grafana.sources.provision("logs", "Logs", "http://loki:3100", kind="loki")
    code, _, err = run("--alerts", "--datasource", "logs")
    assert (code, "'loki'" in err, err.count("\n")) == (1, True, 1)
    code, _, err = run("--alerts", "--datasource", "nobody")
    assert (code, "no data source with the uid 'nobody'" in err, err.count("\n")) == (1, True, 1)


def test_dry_run_writes_nothing_and_lists_its_changes(grafana, run):
    code, out, _ = run(*PROMETHEUS, "--dry-run", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["dry_run"] is True
    assert {each["state"] for each in document["changes"]} == {"create"}
    assert not any(each["written"] for each in document["changes"])
    assert grafana.writes == 0


def test_json_has_every_object(grafana, run):
    document = json.loads(run(*PROMETHEUS, "--json")[1])
    assert (document["changed"], document["unchanged"], document["refused"], document["stopped"]) == (
        2 + len(BUILT) + len(FEW),
        0,
        0,
        False,
    )
    assert document["folder"] == {"uid": "wattlens", "title": "Wattlens"}
    assert document["grafana"] == {"url": grafana.url, "version": "12.2.0"}
    Person(grafana).save(UID, lambda board: board.update(title="Mine"))
    code, out, _ = run("--json")
    document = json.loads(out)
    (edited,) = [each for each in document["changes"] if each["state"] != "same"]
    assert (code, edited["uid"], edited["state"]) == (1, UID, "edited")
    assert edited["details"] == [f'title: "Mine", expected "{BUILT[UID]["title"]}"']


def test_an_editor_is_enough_for_dashboards_and_a_viewer_for_a_look(grafana, run):
    code, _, err = run(role="Viewer")
    assert (code, "is not allowed to create a folder" in err, err.count("\n")) == (1, True, 1)
    assert run(role="Editor")[0] == 0
    assert run("--dry-run", role="Viewer")[0] == 0
    code, _, err = run(*PROMETHEUS, role="Editor")
    assert (code, "is not allowed to read data sources" in err, err.count("\n")) == (1, True, 1)


def test_concurrent_save_is_not_overwritten_by_a_push(grafana, run, built, monkeypatch):
    older = {uid: {**board, "title": f"{board['title']} (old)"} for uid, board in BUILT.items()}
    built(older)
    run()
    built(BUILT)
    person, pages = Person(grafana), Grafana.pages

    def save_before_the_first_write(self, what, *path, **query):
        if what == "search":
            person.save(UID, lambda board: board.update(title="Faster"))
        return pages(self, what, *path, **query)

    monkeypatch.setattr(Grafana, "pages", save_before_the_first_write)
    code, out, _ = run()
    assert code == 1
    assert f"edited dashboard {UID}" in out
    assert "was saved in Grafana during the push" in out
    assert stored(grafana)[UID]["title"] == "Faster"
