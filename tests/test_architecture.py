"""The house: who may import whom, what is pure, how long a file is, what is in the wheel, and that importing does nothing."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("wattlens", "energy_agent", "dvfs", "dashboards", "reports")
MAX_LINES = 500

# Layer -> what of our own packages it may import (prefixes); the first layer that matches a module is its own.
LAYERS = [
    ("energy_agent.core", ("energy_agent.core",)),
    ("energy_agent.metering", ("energy_agent.core", "energy_agent.metering")),
    ("energy_agent.factors", ("energy_agent.core", "energy_agent.factors")),
    ("energy_agent.runtime", ("energy_agent.core", "energy_agent.runtime")),
    ("energy_agent.hw", ("energy_agent.core", "energy_agent.hw")),
    ("energy_agent.ledger", ("energy_agent.core", "energy_agent.ledger")),
    (
        "energy_agent.exposition",
        (
            "energy_agent.core",
            "energy_agent.exposition",
            "energy_agent.exposition_dvfs",
            "energy_agent.exposition_gpu",
            "energy_agent.exposition_health",
            "energy_agent.exposition_node",
            "energy_agent.exposition_process",
            "energy_agent.exposition_site",
            "energy_agent.metering.pue",
            "energy_agent.site.snapshot",
            "energy_agent.metering.facility_ratio",
            "energy_agent.exposition_serving",
            "energy_agent.exposition_tokens",
        ),
    ),
    ("energy_agent", ("energy_agent",)),
    ("dvfs.actuator", ("dvfs", "energy_agent.core", "energy_agent.hw", "energy_agent.runtime")),
    ("dvfs.allow_list", ("dvfs", "energy_agent.core", "energy_agent.runtime.files")),
    ("dvfs.knobs", ("dvfs", "energy_agent.core", "energy_agent.hw")),  # the actuator's hands
    ("dvfs", ("dvfs", "energy_agent.core", "energy_agent.runtime.agent_socket", "energy_agent.runtime.threads")),
    ("dashboards", ("dashboards", "energy_agent.core.signals", "energy_agent.core.signal_types")),
    (
        "reports",
        ("reports", "energy_agent.core", "energy_agent.ledger", "energy_agent.factors", "energy_agent.metering"),
    ),  # docs/decisions/0009
    ("wattlens", PACKAGES),
]
# Within energy_agent, hardware is reached by sources, the simulator and the reader's side alone.
MAY_SEE_HW = (
    "energy_agent.hw",
    "energy_agent.sources",
    "energy_agent.sim",
    "energy_agent.reader",
    "energy_agent.client.sampler",
    "dvfs.actuator",
    "dvfs.knobs",
    "wattlens",
)
SEE_NVML_ABI = ("energy_agent.device_account",)  # names of the event bits
CLOCKS_AND_IO = {
    "time", "threading", "random", "logging", "socket", "subprocess", "os", "pathlib", "sqlite3", "select", "multiprocessing",
    "asyncio", "io", "shutil", "tempfile", "urllib", "http", "mmap", "signal", "secrets", "uuid",
}  # fmt: skip
PURE = (
    "energy_agent.core", "energy_agent.client.estimate", "energy_agent.client.linear", "energy_agent.client.tracker",
    "energy_agent.client.visible", "energy_agent.client.sampler_windows", "energy_agent.client.per_token",
    "energy_agent.client.window_tokens", "energy_agent.client.saved", "energy_agent.client.stretch",
    "wattlens.comparison", "wattlens.comparison_load",
    "energy_agent.metering", "energy_agent.exposition", "energy_agent.reader_wire",
    "energy_agent.device_account", "energy_agent.node_account", "energy_agent.pending", "energy_agent.holders.cgroup",
    "energy_agent.holders.device_ids", "energy_agent.holders.join", "energy_agent.holders.names",
    "energy_agent.holders.lone_processes", "energy_agent.holders.process_status",
    "energy_agent.holders.slurm_answers", "energy_agent.holders.slurm_gres", "energy_agent.hw.nvml_abi",
    "energy_agent.ledger.cells", "energy_agent.ledger.uncertainty", "energy_agent.ledger.totals", "energy_agent.ledger.rows",
    "energy_agent.ledger.imported", "energy_agent.ledger.imported_board", "energy_agent.ledger.imported_dcgm",
    "energy_agent.ledger.imported_pages",
    "dvfs.policies", "dvfs.guard", "dvfs.types", "dvfs.savings", "dvfs.tables", "dvfs.rivals",
    "dvfs.serving.engine", "dvfs.serving.fleet", "dvfs.serving.server", "dvfs.serving.hindsight", "dvfs.serving.rivals",
    "dvfs.sweep", "dvfs.sweep_estimate", "dvfs.sweep_stretch", "wattlens.sweep.board", "wattlens.sweep.target",
    "dvfs.block_meter", "dvfs.effect", "dvfs.lease", "dvfs.arbiter", "dvfs.terms", "dvfs.blocks",
    "dvfs._asking_answers", "dvfs._zeus_select", "dvfs._zeus_result", "energy_agent.client.promised",
    "wattlens.steering_told", "wattlens.steering_view", "wattlens.steering_groups",
    "reports.render.axis", "reports.render.columns", "reports.render.draw_bars", "reports.render.draw_heat",
    "reports.render.draw_lines", "reports.render.draw_ranges", "reports.render.draw_waterfall", "reports.render.fitting",
    "reports.render.legible", "reports.render.marks", "reports.render.palette", "reports.render.spoken", "reports.render.words",
    "reports.facts", "reports.figures", "reports.sections", "reports.measures", "reports.sums", "reports.evidence",
    "reports.building", "reports.grid", "reports.coverage", "reports.inputs", "reports.sci",
    "reports.bridge", "reports.document",
    "reports.audit.bridge", "reports.audit.canonical", "reports.audit.causes", "reports.audit.difference",
    "reports.audit.inputs", "reports.audit.parts", "reports.audit.shown",
    "energy_agent.factors.dated_table",
    "energy_agent.site.account", "energy_agent.site.windows", "energy_agent.factors.join", "energy_agent.contract_hours",
    "energy_agent.sim.facility_sky", "energy_agent.sim.facility_meters", "wattlens.pue_statement", "wattlens.pue_shown",
    "reports.inputs", "wattlens.report.inputs_shown", "wattlens.report.inputs_rows",
    "dashboards.push_content", "dashboards.push_difference", "dashboards.push_plan", "dashboards.push_rules",
    "wattlens.grafana.events", "wattlens.grafana.survey",
)  # fmt: skip
ONE_HOME = {
    "pynvml": {"energy_agent/hw/nvml_real.py"},
    "bcrypt": None,
    "codecarbon": None,
    "cryptography": {"reports/audit/signing.py"},
    "duckdb": None,
    "pyarrow": None,
    "fsspec": None,
    "jinja2": None,
    "matplotlib": {"reports/render/charts.py"},
    "typst": {"reports/render/pdf.py"},
    "grafana_client": {"wattlens/grafana/connection.py"},
    "grafana_foundation_sdk": None,
    "pymodbus": {"energy_agent/sources/facility/modbus.py", "energy_agent/sim/modbus_meters.py"},
    "pysnmp": {"energy_agent/sources/facility/_snmp_session.py"},
    "torch": None,
    "openpyxl": {"wattlens/report/org_xlsx.py"},
    "xlsxwriter": {"reports/render/xlsx.py", "wattlens/report/org_template.py"},
}
"""Heavy libraries and where they may be imported: None: in any one file. Each import stands in a function."""
HEAVY = (*ONE_HOME, "google.protobuf", "grpc", "pandas", "numpy", "matplotlib", "rich", "prometheus_client", "requests")


def files(*packages):
    return sorted(p for package in packages for p in (ROOT / package).rglob("*.py"))


def module_of(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path):
    return ast.parse(path.read_text())


@cache
def nodes(path):
    return tuple(ast.walk(tree_of(path)))


@cache
def imports(path):
    """(module, node, at import time) of every import; `from a import b` counts as a.b."""
    return tuple(_imports(path))


def _imports(path):
    inside = _in_functions(nodes(path))
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in nodes(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node, id(node) not in inside
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                yield f"{base}.{alias.name}", node, id(node) not in inside


def _in_functions(walked):
    """Ids of what is inside functions, of nodes that come after their parents."""
    inside = set()
    for node in walked:
        if id(node) in inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside.update(map(id, ast.iter_child_nodes(node)))
    return inside


def below(module, *prefixes):
    return any(module == p or module.startswith(f"{p}.") for p in prefixes)


PRODUCT = files(*PACKAGES)


def at(path, node):
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def test_the_five_packages_are_there():
    assert {module_of(p).partition(".")[0] for p in PRODUCT} == set(PACKAGES)


def test_a_module_imports_only_what_its_layer_may():
    assert [wrong for path in PRODUCT for wrong in _beyond_its_layer(path)] == []


def _beyond_its_layer(path):
    module = module_of(path)
    layer, allowed = next((name, may) for name, may in LAYERS if below(module, name) or module.startswith(f"{name}_"))
    for target, node, _ in imports(path):
        if below(target, *PACKAGES) and not below(target, *allowed):
            yield f"{at(path, node)}: {layer} may not import {target}"
        abi = module in SEE_NVML_ABI and below(target, "energy_agent.hw.nvml_abi")
        if below(target, "energy_agent.hw") and not module.startswith(MAY_SEE_HW) and not abi:
            yield f"{at(path, node)}: {module} may not see {target}"


PURE_FILES = [p for p in PRODUCT if below(module_of(p), *PURE) and module_of(p) != "energy_agent.core.plugin"]


def test_every_pure_module_is_there():
    assert [name for name in PURE if not any(below(module_of(p), name) for p in PURE_FILES)] == []


def test_a_pure_module_knows_no_clock_io_thread_or_chance():
    assert [wrong for path in PURE_FILES for wrong in _impure(path)] == []


def _impure(path):
    for target, node, _ in imports(path):
        if target.partition(".")[0] in CLOCKS_AND_IO:
            yield f"{at(path, node)}: pure modules do not import {target}"
    for node in nodes(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print", "input"}:
            yield f"{at(path, node)}: {node.func.id}() is I/O"


@pytest.mark.parametrize("library", ONE_HOME)
def test_a_heavy_library_has_one_home_and_is_imported_when_needed(library):
    homes = {}
    for path in PRODUCT:
        for target, node, at_import in imports(path):
            if below(target, library) and not _type_checking(path, node):
                homes.setdefault(str(path.relative_to(ROOT)), []).append(at_import)
    wanted = ONE_HOME[library]
    if wanted is not None:
        assert set(homes) == wanted
    else:
        assert len(homes) <= 1, f"{library} is imported in {sorted(homes)}"
    assert not any(early for found in homes.values() for early in found), f"{library} is loaded by an import in {sorted(homes)}"


def _type_checking(path, node):
    for test in nodes(path):
        if isinstance(test, ast.If) and ast.unparse(test.test).endswith("TYPE_CHECKING"):
            return any(getattr(n, "lineno", -1) == node.lineno for n in ast.walk(test))
    return False


ALL = files(*PACKAGES, "tests", "benchmarks")


def test_nobody_mocks_pickles_or_evaluates():
    assert [wrong for path in ALL for wrong in _banned(path)] == []


BANNED_WORDS = re.compile(r"\b(pickle|marshal|shelve|mock|eval|exec|shell)\b")


def _banned(path):
    if not BANNED_WORDS.search(path.read_text()):  # parsing every file takes seconds
        return
    for target, node, _ in imports(path):
        if below(target, "pickle", "marshal", "shelve", "unittest.mock"):
            yield f"{at(path, node)}: {target}"
    for node in nodes(path):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
            yield f"{at(path, node)}: {node.func.id}"
        if any(keyword.arg == "shell" and getattr(keyword.value, "value", None) is True for keyword in node.keywords):
            yield f"{at(path, node)}: shell=True"


def test_a_thread_is_started_with_ctrl_c_postponed():
    assert [wrong for path in PRODUCT for wrong in _starts_a_thread_by_itself(path)] == []


def _starts_a_thread_by_itself(path):
    if "Thread(" in path.read_text() and not any(below(target, "energy_agent.runtime.threads") for target, *_ in imports(path)):
        for node in nodes(path):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Thread", "threading.Thread"}:
                yield f"{at(path, node)}: a thread that start_thread does not start"


def test_a_file_is_short_named_for_what_it_is_and_says_why_it_exists():
    assert [wrong for path in PRODUCT for wrong in _badly_kept(path)] == []


def _badly_kept(path):
    name = path.relative_to(ROOT)
    if len(path.read_text().splitlines()) >= MAX_LINES:
        yield f"{name}: {MAX_LINES} lines or more"
    if {"utils", "helpers", "manager", "util", "helper"} & set(path.stem.split("_")):
        yield f"{name}: a name that says nothing"
    if path.name != "__init__.py" and not ast.get_docstring(tree_of(path)):
        yield f"{name}: no docstring"


def test_each_rule_finds_its_breach(tmp_path, monkeypatch):
    """The rules above, on a file that breaks each of them."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    bad = tmp_path / "dvfs/fan_utils.py"
    bad.parent.mkdir()
    calls = "eval('1')\nopen('x')\nrun('x', shell=True)\nthreading.Thread()\n"
    bad.write_text("import time, pickle\nfrom energy_agent.hw import sysfs\n" + calls + "\n" * MAX_LINES)
    assert len(list(_beyond_its_layer(bad))) == 2
    assert len(list(_impure(bad))) == 2
    assert len(list(_banned(bad))) == 3
    assert len(list(_starts_a_thread_by_itself(bad))) == 1
    assert len(list(_badly_kept(bad))) == 3


def test_importing_the_product_loads_nothing_heavy_and_does_nothing():
    """Every module is imported in one fresh process, which afterwards has no thread, child, file or heavy library more."""
    names = [module_of(p) for p in PRODUCT if p.name != "__main__.py" and not p.stem.endswith("_pb2")]  # protoc's import theirs
    code = f"""
import importlib, os, sys, threading
sys.path.insert(0, {str(ROOT)!r})
before = set(os.listdir("/proc/self/fd"))
for name in {names!r}:
    importlib.import_module(name)
heavy = [m for m in {HEAVY!r} if m in sys.modules]
assert not heavy, heavy
assert threading.active_count() == 1, threading.enumerate()
assert set(os.listdir("/proc/self/fd")) == before
with open("/proc/self/task/%d/children" % os.getpid()) as children:
    assert children.read() == ""
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=dict(os.environ),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_wheel_holds_the_five_packages_and_nothing_else(tmp_path):
    pytest.importorskip("hatchling")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {n.partition("/")[0] for n in names if ".dist-info/" not in n} == set(PACKAGES)
    assert not [n for n in names if n.endswith((".so", ".o", ".pyc"))]
    assert any(n.endswith("sim/native/plant.h") for n in names), "the simulator's C source is package data"
