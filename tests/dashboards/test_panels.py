"""The JSON of dashboards built for the test: energy in kWh, areas of bands, and collapsed rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from dashboards.boards.catalogue import build_dashboards
from dashboards.panels import (
    WH_PER_1000_TOKENS,
    GrafanaPanel,
    GrafanaRow,
    Queries,
    Query,
    band,
    graph,
    row,
    stat,
    table,
    to_json,
)
from tests.dashboards.boards import panel
from tests.dashboards.promtool import Asked, named, promtool
from tests.support import need_module

ENERGY = named("dvfs_saved_joules")


@pytest.fixture(autouse=True, scope="module")
def _build_tools() -> None:
    need_module("grafana_foundation_sdk")
    build_dashboards()  # the SDK warns at its import that its classic models are deprecated


def built(*rows: GrafanaRow) -> Any:
    return json.loads(to_json("u", "title", "description", (), rows))["panels"]


def first(panel: GrafanaPanel) -> Any:
    return built(row("row", panel))[1]


def column_units(table: Any) -> dict[str, str]:
    """Units that columns of a table have of their own, by name."""
    overrides = [each for each in table["fieldConfig"]["overrides"] if each["matcher"]["id"] == "byName"]
    return {e["matcher"]["options"]: p["value"] for e in overrides for p in e["properties"] if p["id"] == "unit"}


@pytest.mark.prometheus
def test_joules_are_shown_as_kwh_and_what_has_another_unit_as_it_is(tmp_path: Path) -> None:
    """7.2 MJ are 2 kWh, also after an operator that binds less than the division; 3.6 J/token are 1 Wh per 1,000 tokens."""
    both = f"{ENERGY} and {ENERGY} > 0"
    queries: Queries = {"energy": both, "plain": Query(ENERGY, "short"), "power": Query(ENERGY, "watt")}
    energy = first(table("t", "d", "joule", queries))
    mixed = first(table("t", "d", "none", {"energy": Query(ENERGY, "joule"), "rows": ENERGY}))
    per_token = first(stat("t", "d", WH_PER_1000_TOKENS, {"Wh": ENERGY}))
    assert column_units(energy) == {"plain": "short", "power": "watt"}
    (numbers,) = [e["properties"] for e in energy["fieldConfig"]["overrides"] if e["matcher"]["id"] == "byType"]
    assert numbers == [{"id": "unit", "value": "kwatth"}]
    assert column_units(mixed) == {"energy": "kwatth"}
    assert per_token["fieldConfig"]["defaults"]["unit"] == "watth"
    joules, kwh = 7_200_000, 2
    cases = [*zip(energy["targets"], (kwh, joules, joules), strict=True), *zip(mixed["targets"], (kwh, joules), strict=True)]
    asked: list[Asked] = [
        (f"sum({target['expr']})", 60, value) for target, value in [*cases, (per_token["targets"][0], 2_000_000)]
    ]
    assert promtool(tmp_path, {ENERGY: f"{joules}x10"}, asked) == ""


def test_the_area_of_a_band_lies_between_its_ends() -> None:
    def areas(panel: GrafanaPanel) -> dict[str, str]:
        return {
            override["matcher"]["options"]: setting["value"]
            for override in first(panel)["fieldConfig"]["overrides"]
            for setting in override["properties"]
            if setting["id"] == "custom.fillBelowTo"
        }

    for name, ends in (("", {"at most": "at least"}), ("site", {"site, at most": "site, at least"})):
        assert areas(graph("t", "d", "watt", band(lambda end: ENERGY, name))) == ends
    assert areas(graph("t", "d", "watt", band(lambda end: ENERGY, "{{run}}"))) == {}  # names that labels complete
    assert areas(graph("t", "d", "watt", {"limit, at most": ENERGY})) == {}


def test_the_band_of_the_nodes_is_an_area_on_the_facility_dashboard() -> None:
    nodes = panel("facility", "Node ledgers and IT meters").json
    settings = {
        (override["matcher"]["options"], setting["id"]): setting["value"]
        for override in nodes["fieldConfig"]["overrides"]
        for setting in override["properties"]
    }
    assert settings["nodes, at most", "custom.fillBelowTo"] == "nodes, at least"
    assert {target["legendFormat"] for target in nodes["targets"]} >= {"nodes", "nodes, at most", "nodes, at least"}


def test_rows_after_the_twentieth_panel_are_collapsed_and_have_their_panels() -> None:
    def filled(title: str, panels: int) -> GrafanaRow:
        return row(title, *(graph(f"{title}{n}", "d", "watt", {"l": ENERGY}) for n in range(panels)))

    all_panels = built(filled("a", 12), filled("b", 8), filled("c", 1), filled("d", 2))
    rows = {panel["title"]: (panel["collapsed"], len(panel["panels"])) for panel in all_panels if panel["type"] == "row"}
    assert rows == {"a": (False, 0), "b": (False, 0), "c": (True, 1), "d": (True, 2)}
    assert sum(panel["type"] != "row" for panel in all_panels) == 20
