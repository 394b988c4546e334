"""Every committed dashboard against Grafana's own schema, by the TypeScript compiler, and against what the net draws."""

import copy
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.boards import boards
from tests.dashboards.render.npm import PAGE, installed
from tests.support import need_program

Json = dict[str, Any]
COVERED = json.loads((PAGE / "covered.json").read_text())
BOARDS = [board.json for board in boards()]

# What is taken out before the check, and why: keys that are right and that the schema does not know.
OF_THE_SDK = dict.fromkeys(
    ("auto", "auto_count", "auto_min"),
    "grafana-foundation-sdk writes these keys of interval variables on every variable; Grafana reads them on those alone",
)
OF_OLD_TABLES = {"footer": "Grafana up to 12 reads it among a table's options, 13 among its fields: no footer in either"}
OF_PROMETHEUS = dict.fromkeys(
    ("expr", "step", "titleFormat", "textFormat", "tagKeys", "useValueForTime"),
    "keys of the Prometheus data source, which the schema leaves to each data source",
)
OF_GRAFANA = "-- Grafana --"
"""Its own data source's targets have a type of their own, which the schema's annotations know as any query's target."""
FLAGS = ("--noEmit", "--strict", "--skipLibCheck", "--pretty", "false",
         "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022")  # fmt: skip
MODULES = {
    "timeseries": "timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen",
    "stat": "stat/panelcfg/x/StatPanelCfg_types.gen",
    "state-timeline": "statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen",
    "table": "table/panelcfg/x/TablePanelCfg_types.gen",
}
OWN_FIELDS = ("timeseries", "state-timeline")
# The schema's enums are TypeScript's, JSON has their texts: of these any is right, and no other text.
HEAD = """import type { AnnotationTarget, Dashboard } from "@grafana/schema";
type Plain<T> = T extends string ? `${T}` : T extends readonly (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Some<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]?: Some<T[K]> } : T;
"""


def _plain(board: Json) -> Json:
    board = copy.deepcopy(board)
    for variable in board.get("templating", {}).get("list", ()):
        for key in OF_THE_SDK:
            variable.pop(key, None)
    for annotation in board.get("annotations", {}).get("list", ()):
        for key in OF_PROMETHEUS:
            annotation.pop(key, None)
        if annotation["datasource"]["uid"] == OF_GRAFANA:
            annotation.pop("target")
    for panel in board["panels"]:
        for key in OF_OLD_TABLES if panel["type"] == "table" else ():
            panel["options"].pop(key, None)
    return board


def source(board: Json) -> str:
    """The dashboard as TypeScript: as a whole, and each panel's options and fields by the schema of its type."""
    lines = [HEAD]
    lines += [
        f'import type * as {kind.replace("-", "_")} from "@grafana/schema/dist/esm/raw/composable/{module}";'
        for kind, module in MODULES.items()
    ]
    plain = _plain(board)
    lines.append(f"export const board = {json.dumps(plain, indent=1)} satisfies Plain<Dashboard>;")
    for n, annotation in enumerate(board.get("annotations", {}).get("list", ())):
        if annotation["datasource"]["uid"] == OF_GRAFANA:
            lines.append(f"export const target{n} = {json.dumps(annotation['target'])} satisfies AnnotationTarget;")
    for n, panel in enumerate(plain["panels"]):
        kind = panel["type"]
        if kind not in MODULES:
            continue
        name = kind.replace("-", "_")
        lines.append(f"export const options{n} = {json.dumps(panel.get('options', {}))} satisfies Some<Plain<{name}.Options>>;")
        custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {})
        if kind in OWN_FIELDS:
            lines.append(f"export const custom{n} = {json.dumps(custom)} satisfies Some<Plain<{name}.FieldConfig>>;")
    return "\n".join(lines) + "\n"


def complaints(boards: list[Json]) -> dict[str, list[str]]:
    """What the compiler says of each, by uid."""
    packages = installed()
    with tempfile.TemporaryDirectory(prefix="schema-", dir=packages) as folder:  # where node finds the packages
        for board in boards:
            (Path(folder) / f"{board['uid']}.ts").write_text(source(board))
        compiler = str(packages / "node_modules/typescript/bin/tsc")
        files = [f"{board['uid']}.ts" for board in boards]
        command = [need_program("node"), compiler, *FLAGS, *files]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    errors: dict[str, list[str]] = {board["uid"]: [] for board in boards}
    for line in done.stdout.splitlines():
        match = re.match(r"([a-z-]+)\.ts\(\d+,\d+\): error (.*)", line)
        if match:
            errors[match[1]].append(match[2])
        assert match or line.startswith(" "), done.stdout
    assert (done.returncode == 0) == (not any(errors.values())), done.stdout + done.stderr
    return errors


def wrong() -> dict[str, Json]:
    """Dashboards with one fault each, by the compiler's message: a second fault in a dashboard could hide the first."""
    faults: dict[str, Json] = {}

    def fault(message: str) -> tuple[Json, Json, Json]:
        faults[message] = board = copy.deepcopy(BOARDS[0]) | {"uid": f"wrong-{chr(97 + len(faults))}"}
        graph = next(panel for panel in board["panels"] if panel["type"] == "timeseries")
        return board, graph, graph["fieldConfig"]["defaults"]

    fault("'number' is not assignable to type 'string'")[0]["refresh"] = 30
    fault("editabel")[0]["editabel"] = False
    fault("'string' is not assignable to type 'number'")[1]["gridPos"]["w"] = "12"
    fault('"valu"')[2]["mappings"] = [{"type": "valu", "options": {}}]
    fault('"left"')[1]["options"]["legend"]["placement"] = "left"
    fault('"lines"')[2]["custom"]["drawStyle"] = "lines"
    fault("linewidth")[2]["custom"]["linewidth"] = 2
    target = {"limit": 5, "matchAny": False, "tags": "wattlens", "type": "tags"}
    marks = {"name": "", "enable": True, "iconColor": "", "datasource": {"uid": OF_GRAFANA}, "target": target}
    fault("'string' is not assignable to type 'string[]'")[0]["annotations"] = {"list": [marks]}
    return faults


@pytest.mark.peer
@pytest.mark.timeout(800)
def test_grafanas_schema_has_nothing_against_them_and_sees_what_is_wrong() -> None:
    """In one run of the compiler, which takes most of its time to read the schema."""
    faults = wrong()
    errors = complaints([*BOARDS, *faults.values()])
    for message, board in faults.items():
        (complaint,) = errors.pop(board["uid"])
        assert message in complaint
    assert errors == {board["uid"]: [] for board in BOARDS}


@pytest.mark.smoke
@pytest.mark.parametrize("board", BOARDS, ids=[board["uid"] for board in BOARDS])
def test_only_what_the_drawing_net_covers_is_used(board: Json) -> None:
    for panel in board["panels"]:
        assert panel["type"] in COVERED["panels"]
        assert {each["id"] for each in panel.get("transformations", ())} <= set(COVERED["transformations"])
        assert not panel.keys() & {"repeat", "libraryPanel", "timeFrom", "timeShift"}, panel["title"]
        assert {matcher["matcher"]["id"] for matcher in panel.get("fieldConfig", {}).get("overrides", ())} <= {
            "byName", "byRegexp", "byType", "byFrameRefID",
        }  # fmt: skip
    assert {each["type"] for each in board["templating"]["list"]} <= set(COVERED["variables"])
    assert {each["type"] for each in board["links"]} <= set(COVERED["links"])


def test_versions_are_exact_and_no_lock_names_a_registry() -> None:
    package = json.loads((PAGE / "package.json").read_text())
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["dependencies"].values())
    assert "@grafana/prometheus" not in package["dependencies"]
    assert not list(PAGE.glob("*lock*"))
