"""The committed dashboards, rules and reference: fresh, deterministic, and kept to the conventions."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dashboards.build.build import ALERTS, RULES, artefacts, build, check, expressions, syntax_error
from dashboards.build.lint import panels
from dashboards.promql.selectors import recorded, series
from dashboards.rules import alerts, fleet, joules_per_token, runs, steering
from energy_agent.core.catalogue.node import CATALOGUE
from energy_agent.core.meters.facility import Position
from energy_agent.site import windows
from tests.dashboards.boards import BoardPanel, boards, panel
from tests.dashboards.promtool import substituted
from tests.support import need_module, need_program, promtool_with
from wattlens.cli import main

ROOT = Path(__file__).parents[2]
SELECTED = re.compile(r"([\w:]+)\{([^{}]*)\}")
OF_CLUSTER = {
    "ALERTS",  # some are of a model or a site, and have no job
    "prometheus_rule_evaluation_failures_total", "prometheus_rule_group_last_duration_seconds",  # of Prometheus's own job
    "wattlens_source_up", "wattlens_source_down_info",  # of a site process; its sources do not have its site as a label
}  # fmt: skip
"""Metrics that are narrowed by cluster alone."""
APPEARED = re.compile(r"(wattlens_\w+(?:\{[^}]*\})?) unless \1 offset")  # what began within a window


@pytest.fixture(autouse=True, scope="module")
def _build_tools() -> None:
    need_module("grafana_foundation_sdk")
    need_module("promql_parser")


def test_committed_files_are_fresh_and_known() -> None:
    assert check(ROOT) == []


def test_building_in_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from dashboards.build.build import build; build(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env={"PYTHONHASHSEED": "7"})
    for name, content in artefacts().items():
        assert (tmp_path / name).read_text() == content


def test_check_names_the_file_that_is_stale_missing_or_unreadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboards", "build", "--out", str(tmp_path)]) == 0
    assert main(["dashboards", "check", "--dir", str(tmp_path)]) == 0
    (tmp_path / "docs/metrics.md").unlink()
    rules = tmp_path / "dashboards/prometheus/wattlens-rules.yml"
    rules.write_bytes(rules.read_bytes().replace(b"[5m]", b"[6m]", 1))
    (tmp_path / "dashboards/grafana/wattlens-gpu.json").write_bytes(b"\xff")
    capsys.readouterr()
    assert main(["dashboards", "check", "--dir", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all("run: wattlens dashboards build" in line for line in lines)
    assert main(["dashboards", "check", "--json", "--dir", str(tmp_path)]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 3


def test_shipped_yaml_has_neither_anchors_nor_aliases() -> None:
    for path, text in artefacts().items():
        if path.endswith((".yml", ".yaml")):
            assert not [event for event in yaml.parse(text) if getattr(event, "anchor", None)], path


def test_grafanas_alert_file_has_no_variables_that_grafana_would_replace() -> None:
    (group,) = yaml.safe_load(artefacts()["dashboards/grafana/alerting/wattlens-alerts.yaml"])["groups"]
    rules = {rule["title"]: rule for rule in group["rules"]}
    assert rules.keys() == {alert.name for alert in alerts.alerts()}
    for alert in alerts.alerts():
        rule = rules[alert.name]
        assert rule["data"][0]["model"]["expr"] == alert.expr
        assert (rule["for"], rule["labels"]["severity"], rule["uid"]) == (alert.pending, alert.severity, alert.name)
        texts = yaml.safe_dump(rule | {"data": []})
        assert "$" not in texts
        assert re.findall(r"\.Labels\.(\w+)", texts) == re.findall(r"\$labels\.(\w+)", alert.description + alert.summary)
        # Keys of Grafana's struct AlertRuleV1 (pkg/services/provisioning/alerting/rules_types.go)
        assert rule.keys() <= {
            "uid", "title", "condition", "data", "noDataState", "execErrState", "for", "missing_series_evals_to_resolve",
            "annotations", "labels",
        }  # fmt: skip


def test_build_into_a_file_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["dashboards", "build", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("wattlens: --out: cannot write ")


def test_a_name_outside_the_catalogue_cannot_be_used() -> None:
    with pytest.raises(LookupError, match="gpu_watts"):
        series("gpu_watts")


def test_broken_query_has_a_syntax_error() -> None:
    assert syntax_error('rate(x{a=~"$gpu"}[$__rate_interval])') == ""
    assert syntax_error("sum(rate(x[5m])") != ""


@pytest.mark.parametrize("panel", [panel for board in boards() for panel in board.panels], ids=lambda panel: panel.title)
def test_a_panel_is_explained_and_bounded(panel: BoardPanel) -> None:
    assert panel.title
    assert panel.json["description"].endswith("."), panel.title
    assert panel.json["fieldConfig"]["defaults"]["noValue"], panel.title
    assert all(query.unit for query in panel.queries), panel.title
    if panel.json["fieldConfig"]["defaults"].get("unit") == "percentunit":
        assert (panel.minimum, panel.maximum) == (0, 1)
    if panel.kind == "state-timeline":
        assert panel.states
    assert panel.queries, panel.title
    assert all(q.legend for q in panel.queries), panel.title
    assert len({q.legend for q in panel.queries}) == len(panel.queries)
    for query in panel.queries:
        assert "$__interval" not in query.expr
        rated = [part for part in ("rate(", "increase(") if part in query.expr]
        assert not rated or "[$__" in query.expr
        selectors = SELECTED.findall(query.expr)
        assert selectors
        for name, matchers in selectors:
            assert matchers.startswith('cluster=~"$cluster"'), name
            assert (
                re.match(r'cluster=~"\$cluster",(job=~"\$job"|site=~"\$site"|zone=~"\$zone")', matchers) or name in OF_CLUSTER
            )
            assert 'instance=~"$instance"' not in matchers or 'job=~"$job"' in matchers


def test_counters_are_only_shown_as_rates_increases_or_counts_of_failures() -> None:
    plain = {"wattlens_gpu_xid_errors_total", "wattlens_ledger_commit_failures_total", "wattlens_reader_restarts_total",
             "wattlens_dvfs_ineffective_total"}  # fmt: skip
    counters = {s.metric for s in CATALOGUE if s.kind == "counter"} - plain
    kept = (  # counters as they are, at fewer instants or with facts of theirs
        fleet.GPU_ENERGY, fleet.GPU_UNSEEN, steering.UNDONE, runs.ENERGY, runs.GPU_TIME,
    )  # fmt: skip
    for where, expr in expressions():
        if where.endswith(kept):
            continue
        expr = APPEARED.sub("", expr)
        for record in kept:
            expr = expr.replace(record, "kept")
        for name in counters:
            for before in expr.split(name)[:-1]:
                assert before.rstrip().endswith(
                    ("rate(", "increase(", "present_over_time(", "count_over_time(")
                ) or expr.startswith(name)


def test_classic_schema_loads_anywhere() -> None:
    it = next(board.json for board in boards() if board.uid == "wattlens-gpu")
    assert (it["uid"], it["editable"], it["schemaVersion"]) == ("wattlens-gpu", False, 42)
    source, *variables = it["templating"]["list"]
    assert (source["type"], source["query"], source.get("current")) == ("datasource", "prometheus", None)
    assert [v["name"] for v in variables] == ["cluster", "job", "instance", "gpu", "workload"]
    assert all(v["query"].startswith("label_values(wattlens_") and v["allValue"] == ".*" for v in variables)
    for item in panels(it):
        assert all(each["datasource"]["uid"] == "${datasource}" for each in (item, *item["targets"]))


def test_graphs_of_what_is_recorded_or_of_a_whole_fleet_ask_for_a_point_a_minute_and_the_others_for_every_scrape() -> None:
    graphs = [("inference", "Time to first token, 10"), ("inference", "Tokens per second"), ("inference", "Tokens/s")]
    steps = [panel(uid, title).json.get("interval") for uid, title in (*graphs, ("gpu", "Power and limit, top 16"))]
    assert steps == ["1m", "1m", None, None]


def test_links_lead_to_boards_and_choices_that_are_there() -> None:
    variables = {board.uid: board.choices.keys() for board in boards()}
    for board in boards():
        for item in board.panels:
            for uid, choices in item.links:
                assert choices.keys() <= variables[uid], (item.title, uid)


def test_panels_lie_in_the_grid_without_overlap() -> None:
    for board in boards():
        opened = board.json["panels"]
        for group in (opened, *(item["panels"] for item in opened if item.get("panels"))):
            taken: set[tuple[int, int]] = set()
            for item in group:
                at = item["gridPos"]
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                assert at["x"] + at["w"] <= 24, (board.uid, item["title"])
                assert not cells & taken, (board.uid, item["title"])
                taken |= cells
        ids = [item["id"] for item in opened]
        assert len(set(ids)) == len(ids)


def test_queries_are_narrowed_by_the_chosen_values() -> None:
    assert substituted(recorded("x", scope="gpu")) == 'x{cluster=~".*",job=~".*",instance=~".*",gpu=~".*"}'


def test_what_grows_is_a_counter_by_its_name() -> None:
    """Prometheus 3 notes a doubt on each answer of `rate` or `increase` over another name."""
    names = {name for _, expr in expressions() for name in re.findall(r"\b(?:rate|irate|increase)\(([\w:]+)", expr)}
    assert names
    assert {name for name in names if not name.endswith(("_total", "_bucket", "_sum", "_count"))} == set()


def test_reference_has_every_name() -> None:
    text = artefacts()["docs/metrics.md"]
    assert all(text.count(f"| `{s.metric}` |") == 1 for s in CATALOGUE)


def test_the_pue_of_the_rules_is_one_that_a_site_exports() -> None:
    chosen = [re.compile(category) for category in joules_per_token.CATEGORIES]
    for category in (*(str(p.category) for p in Position), f"2{windows.PARTLY}", windows.STATED):
        assert sum(bool(each.fullmatch(category)) for each in chosen) == 1, category
    named = re.compile(joules_per_token.WINDOWS)
    assert [name for name in (*windows.WINDOWS, "") if named.fullmatch(name)] == [windows.NOW, ""]


@pytest.mark.prometheus
@pytest.mark.parametrize("path", [RULES, ALERTS])
def test_promtool_accepts_rules_and_alerts_without_a_lint(path: str) -> None:
    command = [*promtool_with("check", "rules", "--lint=all", "--lint-fatal"), str(ROOT / path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.smoke
@pytest.mark.prometheus
@pytest.mark.parametrize(("name", "value"), [("wattlens-rules", "0.9375"), ("wattlens-fleet", "1481.2")])
def test_rules_on_hand_computed_input(tmp_path: Path, name: str, value: str) -> None:
    promtool = need_program("promtool")
    tests = Path(__file__).parent / f"{name}.test.yml"
    done = subprocess.run([promtool, "test", "rules", str(tests)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # and the test can fail
    changed = yaml.safe_load(
        tests.read_text().replace(f"value: {value}", f"value: {value}1").replace("../../dashboards/prometheus/", "")
    )
    changed["tests"] = [group for group in changed["tests"] if f"'value': {value}1" in str(group)]
    (tmp_path / tests.name).write_text(yaml.safe_dump(changed))
    shutil.copy(ROOT / "dashboards/prometheus/wattlens-rules.yml", tmp_path)
    assert (
        subprocess.run([promtool, "test", "rules", tests.name], cwd=tmp_path, capture_output=True, check=False).returncode == 1
    )


def test_build_writes_exactly_the_listed_artefacts(tmp_path: Path) -> None:
    assert [str(p.relative_to(tmp_path)) for p in build(tmp_path)] == list(artefacts())
