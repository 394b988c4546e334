"""The dashboards in the repository as tests read them: what users load, with queries in the units of their metrics."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from dashboards.build.lint import open_rows, panels
from dashboards.build.shipped import load_dashboards

SCALED = re.compile(r"^\((.*)\) / (?:3600000|3\.6)$")
"""A query that gives joules, or joules per token, and that is shown in kWh or in Wh per 1,000 tokens."""
CHOICE = re.compile(r"label_values\((.*),(\w+)\)")
LABEL = re.compile(r"var-(\w+)=\$\{__\w+\.\w+\.(\w+)\}")
"""Variable and label of a link that takes the value of a label."""


class PanelQuery(NamedTuple):
    """A query of a panel, and the unit in which its figures are shown."""

    expr: str
    legend: str
    unit: str


class BoardPanel(NamedTuple):
    """A panel; `links` are a dashboard and its variable -> label here; `states` are value -> text, `2+` being 2 and above."""

    title: str
    kind: str
    minimum: float | None
    maximum: float | None
    states: Mapping[str, str]
    links: tuple[tuple[str, Mapping[str, str]], ...]
    queries: tuple[PanelQuery, ...]
    json: dict[str, Any]


class Board(NamedTuple):
    """A dashboard with its rows open; `choices` are variable -> (selector of the series to choose from, label)."""

    uid: str
    choices: Mapping[str, tuple[str, ...]]
    panels: tuple[BoardPanel, ...]
    json: dict[str, Any]


@cache
def boards() -> tuple[Board, ...]:
    """Every dashboard."""
    return tuple(map(_board, load_dashboards().values()))


def queries(of: Iterable[Board]) -> Iterator[tuple[BoardPanel, PanelQuery]]:
    """Every query with the panel that has it."""
    return ((panel, query) for board in of for panel in board.panels for query in panel.queries)


def panel(uid: str, title: str) -> BoardPanel:
    """The panel of a board with this title, or whose title begins so."""
    begun = [each for each in _of(uid).panels if each.title.startswith(title)]
    (match,) = [each for each in begun if each.title == title] or begun
    return match


def query(uid: str, title: str, legend: str) -> str:
    """The query with this legend of a panel whose title begins so."""
    (match,) = [q.expr for p in _of(uid).panels if p.title.startswith(title) for q in p.queries if q.legend == legend]
    return match


def _of(uid: str) -> Board:
    return next(board for board in boards() if board.uid.endswith(uid))


def _board(json: dict[str, Any]) -> Board:
    asked = ((each["name"], CHOICE.fullmatch(str(each.get("query")))) for each in json["templating"]["list"])
    choices = {name: match.groups() for name, match in asked if match}
    return Board(json["uid"], choices, tuple(map(_panel, panels(json))), open_rows(json))


def _panel(json: dict[str, Any]) -> BoardPanel:
    defaults = json["fieldConfig"]["defaults"]
    overrides = [(each["matcher"]["options"], each["properties"]) for each in json["fieldConfig"]["overrides"]]
    units = {name: setting["value"] for name, settings in overrides for setting in settings if setting["id"] == "unit"}
    of_panel = defaults.get("unit", units.get("number"))
    states = [mapping["options"] for mapping in defaults.get("mappings", ())]
    states = [{f"{each['from']}+": each["result"]} if "from" in each else each for each in states]
    links = [link["url"] for link in defaults.get("links", ())]
    return BoardPanel(
        json["title"],
        json["type"],
        defaults.get("min"),
        defaults.get("max"),
        {value: state["text"] for each in states for value, state in each.items()},
        tuple((url.partition("?")[0].removeprefix("/d/"), dict(LABEL.findall(url))) for url in links),
        tuple(
            PanelQuery(SCALED.sub(r"\1", each["expr"]), each["legendFormat"], units.get(each["legendFormat"], of_panel))
            for each in json["targets"]
        ),
        json,
    )
