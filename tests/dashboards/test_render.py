"""Every committed dashboard drawn by Grafana's own published packages in a real browser, from a real Prometheus.

It proves queries, units, legends, texts and layout; not that a Grafana server loads the file (docs/grafana.md).
"""

import json
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.bench import api
from tests.dashboards.boards import boards
from tests.dashboards.render.browser import LAPTOP, WALL, View, draw_views
from tests.dashboards.render.feed import as_fed, feeding
from tests.dashboards.render.nodes import EVERYTHING, MANY_GPUS, ONE_GPU

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1800)]

BOARDS = {board.uid: as_fed(board.json) for board in boards()}
WARM_S, SPAN_S, EARLIER_S = 10, 60, 15
SPAN = (f"now-{SPAN_S}s", "now")
LONG_AGO = ("now-3h", "now-2h")
SEEN = [
    *(View(uid, {"instance": EVERYTHING}, "dark", LAPTOP, SPAN) for uid in BOARDS),
    *(View(uid, {"instance": EVERYTHING}, "light", WALL, SPAN) for uid in BOARDS),
    View("wattlens-gpu", {"instance": ONE_GPU}, "light", LAPTOP, SPAN, "one"),
    View("wattlens-gpu", {"instance": MANY_GPUS}, "dark", WALL, SPAN, "many"),
]
EMPTY = [View(uid, {}, "dark", LAPTOP, LONG_AGO, "empty") for uid in BOARDS]
BROKEN = View("broken", {"instance": EVERYTHING}, "dark", LAPTOP, SPAN)


@dataclass(frozen=True)
class Drawn:
    """Reports of the page by view, and the titles of panels whose queries Prometheus itself can answer.

    A failed scrape ends its series at the time the scrape began, but only once it has failed: until then there are data that
    are missing later. So Prometheus evaluates the queries at the page's instant and at an instant before that scrape.
    """

    reports: dict[str, dict[str, Any]]
    answered: dict[str, tuple[set[str], set[str]]]


def broken() -> dict[str, Any]:
    """A dashboard with a fault in each panel, from one that has none."""
    board = json.loads(json.dumps(BOARDS["wattlens-gpu"])) | {"uid": "broken", "tags": []}
    stat, graph = (next(p for p in board["panels"] if p["type"] == kind) for kind in ("stat", "timeseries"))
    faults: list[dict[str, Any]] = [
        stat | {"title": "a title that is by far too long for a panel of this width"},
        graph | {"title": "syntax", "targets": [graph["targets"][0] | {"expr": "sum("}]},
        graph | {"title": "unknown type", "type": "heatmap"},
        graph | {"title": "unknown metric", "targets": [graph["targets"][0] | {"expr": "no_such_metric"}]},
        graph | {"title": "another source", "datasource": {"type": "prometheus", "uid": "fixed"},
                 "targets": [graph["targets"][0] | {"datasource": {"type": "prometheus", "uid": "fixed"}}]},
    ]  # fmt: skip
    at = [{"x": 4 * i, "y": 0, "w": 4, "h": 8} for i in range(len(faults))]
    board["panels"] = [panel | {"id": i + 1, "gridPos": at[i]} for i, panel in enumerate(faults)]
    return board


def answers(prometheus: str, board: dict[str, Any], instance: str, until_s: float) -> Iterator[str]:
    """Titles of the panels that have data up to an instant, asked of Prometheus without Grafana's packages."""

    def value(match: re.Match[str]) -> str:
        return instance if match[1] == "instance" else _default(board, match[1])

    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"].replace("$__rate_interval", "8s").replace("$__range", f"{SPAN_S}s")
            expr = re.sub(r"\$([a-z]\w*)", value, expr)
            step_s = 60 if panel.get("interval") == "1m" else 2  # Grafana asks at whole steps
            start_s, end_s = ((t_s // step_s) * step_s for t_s in (until_s - SPAN_S, until_s))
            span = {"start": f"{start_s}", "end": f"{end_s}", "step": f"{step_s}"}
            path, when = ("query", {"time": f"{until_s}"}) if target.get("instant") else ("query_range", span)
            if api(prometheus, path, query=expr, **when)["result"]:
                yield panel["title"]


def _default(board: dict[str, Any], name: str) -> str:
    (variable,) = [each for each in board["templating"]["list"] if each["name"] == name]
    value = variable.get("current", {}).get("value")
    return value if isinstance(value, str) else ".*"


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    asked = os.environ.get("WATTLENS_SCREENSHOTS")  # without it no picture is taken: that is a third of the time
    pictures = Path(asked) if asked else None
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    views = [*SEEN, *EMPTY, BROKEN]
    with feeding(tmp_path_factory.mktemp("feed"), WARM_S) as prometheus:
        reports = draw_views([*BOARDS.values(), broken()], views, prometheus, pictures)
        # Asked of the same instant, as data come and go. A page that failed has none, and its own test fails.
        until_s = {view.name: report["until"] for view, report in reports if "failure" not in report}
        answered = {
            view.name: (
                set(answers(prometheus, BOARDS[view.board], view.choices["instance"], until_s[view.name])),
                set(answers(prometheus, BOARDS[view.board], view.choices["instance"], until_s[view.name] - EARLIER_S)),
            )
            for view in SEEN
            if view.name in until_s
        }
    if pictures:
        (pictures / "reports.json").write_text(json.dumps([report for _, report in reports]))
    return Drawn({view.name: report for view, report in reports}, answered)


def panels(it: Drawn, view: View) -> list[dict[str, Any]]:
    panel_reports: list[dict[str, Any]] = it.reports[view.name]["panels"]
    return panel_reports


def each(views: list[View]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("view", [pytest.param(view, id=view.name) for view in views])


@each([*SEEN, *EMPTY])
def test_it_is_drawn_without_a_complaint(it: Drawn, view: View) -> None:
    report = it.reports[view.name]
    assert report.get("failure") is None
    assert report["console"] == []
    assert not report["late"]
    assert {p["title"]: p["errors"] for p in report["panels"] if p["errors"] or p["state"] != "Done"} == {}
    assert {name: v["error"] for name, v in report["variables"].items() if v["error"]} == {}
    drawn_ids = {p["id"] for p in report["panels"]}
    assert drawn_ids == {p["id"] for p in BOARDS[view.board]["panels"] if p["type"] != "row"}


@each(SEEN)
def test_what_prometheus_answers_is_shown_and_nothing_else(it: Drawn, view: View) -> None:
    visible = {p["title"] for p in panels(it, view) if p["series"] or p["rows"]}
    now, earlier = it.answered[view.name]
    assert now & earlier <= visible <= now | earlier
    for panel in panels(it, view):
        assert panel["drawn"], panel["title"]
        assert panel["finite"], panel["title"]


@each([*SEEN, *EMPTY])
def test_empty_panel_shows_its_no_value_text(it: Drawn, view: View) -> None:
    empty = [p for p in panels(it, view) if not p["series"] and not p["rows"]]
    assert view in SEEN or empty
    assert [p["title"] for p in empty if not p["saysNoValue"]] == []


@each(SEEN)
def test_a_panel_with_data_does_not_say_that_it_has_none(it: Drawn, view: View) -> None:
    assert [p["title"] for p in panels(it, view) if (p["series"] or p["rows"]) and p["saysNoValue"]] == []


@each([*SEEN, *EMPTY])
def test_the_page_fits_its_window_and_titles_are_whole(it: Drawn, view: View) -> None:
    assert it.reports[view.name]["wider"] <= 0
    cut = [(p["title"], c["text"], c["within"]) for p in panels(it, view) for c in p["cut"]]
    assert [each for each in cut if each[2] in ("title", "column")] == []


@each(SEEN)
def test_states_have_text_besides_colour_and_number(it: Drawn, view: View) -> None:
    sources = {p["id"]: p for p in BOARDS[view.board]["panels"]}
    for panel in panels(it, view):
        if panel["type"] == "state-timeline" and panel["series"]:
            mapped = json.dumps(sources[panel["id"]]["fieldConfig"]["defaults"].get("mappings", []))
            texts = re.findall(r'"text": "([^"]+)"', mapped)
            assert any(text in panel["text"] for text in texts), panel["title"]


@each(SEEN)
def test_columns_have_names_of_their_own_and_are_in_sight(it: Drawn, view: View) -> None:
    sources = {p["id"]: p for p in BOARDS[view.board]["panels"]}
    for panel in panels(it, view):
        names = panel["columns"]
        assert len(set(names)) == len(names), panel["title"]
        # Grafana names the only column of values "Value", also where other queries have no rows at the moment.
        is_alone = len(sources[panel["id"]]["targets"]) > 1 and "Value" in names
        assert [name for name in names if name.startswith("Value") or not name] == ["Value"] * is_alone, panel["title"]
    assert {p["title"]: p["outOfSight"] for p in panels(it, view) if p["outOfSight"]} == {}


@each(SEEN)
def test_figures_beside_each_other_have_names(it: Drawn, view: View) -> None:
    """A reader cannot distinguish two figures without names."""
    for panel in panels(it, view):
        if panel["type"] == "stat" and panel["series"] > 1:
            lines = [line for line in panel["text"].splitlines() if line.strip()]
            assert len(lines) > panel["series"] + 1, (panel["title"], panel["text"])


@each(SEEN)
def test_links_lead_to_dashboards_and_keep_time_and_choices(it: Drawn, view: View) -> None:
    report = it.reports[view.name]
    links = [(link["title"], link["url"]) for link in report["links"]]
    assert links
    links += [(p["title"], link["href"]) for p in report["panels"] for link in p["links"]]
    for title, href in links:
        path, _, query = href.partition("?")
        uid = path.removeprefix("/d/").split("/")[0]
        assert uid in BOARDS, (title, href)
        given = urllib.parse.parse_qs(query, keep_blank_values=True)
        assert given["from"] == [view.span[0]], (title, href)
        assert given["to"] == [view.span[1]], (title, href)
        variables = {variable["name"] for variable in BOARDS[uid]["templating"]["list"]}
        if "instance" in variables and "instance" in report["variables"]:
            assert given["var-instance"] in ([view.choices["instance"]], ["$__all"]), (title, href)
        assert not [value for values in given.values() for value in values if "${" in value], (title, href)


def test_faults_of_a_broken_dashboard_are_reported(it: Drawn) -> None:
    """Each fault alone, so that no test above passes because the page sees nothing."""
    report = it.reports[BROKEN.name]
    by_title = {p["title"]: p for p in report["panels"]}
    long, *_ = by_title
    assert [cut["within"] for cut in by_title[long]["cut"]] == ["title"]
    assert "parse error" in by_title["syntax"]["errors"][0]
    assert "does not cover" in by_title["unknown type"]["errors"][0]
    assert by_title["unknown metric"]["saysNoValue"]
    assert not by_title["another source"]["series"]
    assert any("which does not exist" in line for line in report["console"])
