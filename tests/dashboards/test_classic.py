"""The JSON of dashboards built for the test: energy in kWh, areas of bands, and collapsed rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from dashboards import classic
from dashboards.build.shipped import load_dashboards
from dashboards.dashboard import WH_PER_1000_TOKENS, Dashboard, Panel, PanelQuery, PanelRow, banded
from tests.dashboards.promtool import Asked, named, promtool
from tests.support import need_module

ENERGY = named("dvfs_saved_joules")


@pytest.fixture(autouse=True, scope="module")
def _build_tools() -> None:
    need_module("grafana_foundation_sdk")


def built(*rows: PanelRow) -> Any:
    return json.loads(classic.to_json(Dashboard("u", "title", "description", (), rows)))["panels"]


def first(panel: Panel) -> Any:
    return built(PanelRow("row", (panel,)))[1]


def column_units(table: Any) -> dict[str, str]:
    """Units that columns of a table have of their own, by name."""
    overrides = [each for each in table["fieldConfig"]["overrides"] if each["matcher"]["id"] == "byName"]
    return {e["matcher"]["options"]: p["value"] for e in overrides for p in e["properties"] if p["id"] == "unit"}


@pytest.mark.prometheus
def test_joules_are_shown_as_kwh_and_what_has_another_unit_as_it_is(tmp_path: Path) -> None:
    """7.2 MJ are 2 kWh, also after an operator that binds less than the division; 3.6 J/token are 1 Wh per 1,000 tokens."""
    both = f"{ENERGY} and {ENERGY} > 0"
    queries = (PanelQuery(both, "energy"), PanelQuery(ENERGY, "plain", "short"), PanelQuery(ENERGY, "power", "watt"))
    table = first(Panel("t", "d", "joule", queries, kind="table"))
    mixed = first(Panel("t", "d", "none", (PanelQuery(ENERGY, "energy", "joule"), PanelQuery(ENERGY, "rows")), kind="table"))
    per_token = first(Panel("t", "d", WH_PER_1000_TOKENS, (PanelQuery(ENERGY, "Wh"),), kind="stat"))
    assert column_units(table) == {"plain": "short", "power": "watt"}
    (numbers,) = [e["properties"] for e in table["fieldConfig"]["overrides"] if e["matcher"]["id"] == "byType"]
    assert numbers == [{"id": "unit", "value": "kwatth"}]
    assert column_units(mixed) == {"energy": "kwatth"}
    assert per_token["fieldConfig"]["defaults"]["unit"] == "watth"
    joules, kwh = 7_200_000, 2
    shown = [*zip(table["targets"], (kwh, joules, joules), strict=True), *zip(mixed["targets"], (kwh, joules), strict=True)]
    asked: list[Asked] = [
        (f"sum({target['expr']})", 60, [({}, value)]) for target, value in [*shown, (per_token["targets"][0], 2_000_000)]
    ]
    assert promtool(tmp_path, {ENERGY: f"{joules}x10"}, asked) == ""


def test_the_area_of_a_band_lies_between_its_ends() -> None:
    def areas(panel: Panel) -> dict[str, str]:
        return {
            override["matcher"]["options"]: setting["value"]
            for override in first(panel)["fieldConfig"]["overrides"]
            for setting in override["properties"]
            if setting["id"] == "custom.fillBelowTo"
        }

    for name, ends in (("", {"at most": "at least"}), ("site", {"site, at most": "site, at least"})):
        assert areas(Panel("t", "d", "watt", banded(lambda end: ENERGY, name))) == ends
    assert areas(Panel("t", "d", "watt", banded(lambda end: ENERGY, "{{run}}"))) == {}  # names that labels complete
    assert areas(Panel("t", "d", "watt", (PanelQuery(ENERGY, "limit, at most"),))) == {}


def test_the_band_of_the_nodes_is_an_area_on_the_facility_dashboard() -> None:
    graph = next(p for p in load_dashboards()["wattlens-facility"]["panels"] if p["title"] == "Node ledgers and IT meters")
    settings = {
        (override["matcher"]["options"], setting["id"]): setting["value"]
        for override in graph["fieldConfig"]["overrides"]
        for setting in override["properties"]
    }
    assert settings["nodes, at most", "custom.fillBelowTo"] == "nodes, at least"
    assert {target["legendFormat"] for target in graph["targets"]} >= {"nodes", "nodes, at most", "nodes, at least"}


def test_rows_after_the_twentieth_panel_are_collapsed_and_have_their_panels() -> None:
    def row(title: str, panels: int) -> PanelRow:
        return PanelRow(title, tuple(Panel(f"{title}{n}", "d", "watt", (PanelQuery(ENERGY, "l"),)) for n in range(panels)))

    shown = built(row("a", 12), row("b", 8), row("c", 1), row("d", 2))
    rows = {panel["title"]: (panel["collapsed"], len(panel["panels"])) for panel in shown if panel["type"] == "row"}
    assert rows == {"a": (False, 0), "b": (False, 0), "c": (True, 1), "d": (True, 2)}
    assert sum(panel["type"] != "row" for panel in shown) == 20
