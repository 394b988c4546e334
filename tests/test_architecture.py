"""The house: import contracts, heavy libraries, banned calls, what the wheel holds, and that importing does nothing."""

import ast
import gc
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("wattlens", "energy_agent", "dvfs", "dashboards", "reports")
HOMES = {
    "pynvml": 1, "bcrypt": 1, "codecarbon": 2, "cryptography": 2, "duckdb": 1, "pyarrow": 1, "fsspec": 1, "jinja2": 1,
    "matplotlib": 2, "typst": 1, "grafana_foundation_sdk": 1, "torch": 0, "openpyxl": 1, "pysnmp": 2,
    "pymodbus": 0, "xlsxwriter": 2, "requests": 1, "pyspark": 1, "datafusion": 1, "sqlglot": 1,
}  # fmt: skip
"""Heavy libraries and in how many files each may be imported. Each import stands in a function."""
HEAVY = (*HOMES, "google.protobuf", "grpc", "pandas", "numpy", "rich", "prometheus_client")


@pytest.fixture(autouse=True, scope="module")
def _without_garbage_collection():
    """A million nodes of syntax trees stay: looking for cycles among them takes as long as making them."""
    gc.disable()
    yield
    gc.enable()


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


def contracts(folder):
    """What import-linter says of the contracts in pyproject.toml: exit code and text."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_contracts_break_on_a_cycle_a_forbidden_and_a_private_import(tmp_path):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=lambda at, names: {n for n in names if not _python(at, n)})
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "dvfs/policies/_breach.py").write_text("import time\n")
    (tmp_path / "dashboards/build/breach.py").write_text("from dvfs.policies import _breach\n")
    for one, other in (("a", "b"), ("b", "a")):
        module = tmp_path / f"energy_agent/core/breach_{one}.py"
        module.write_text(f"def breach():\n    from energy_agent.core import breach_{other}\n")
    code, text = contracts(tmp_path)
    assert code == 1
    broken = re.findall(r"^(.*) BROKEN", text, re.MULTILINE)
    assert len(broken) == 4, text  # the private import crosses two packages that may not see each other as well
    for word in ("breach_a", "dvfs.policies._breach", "time"):
        assert word in text


def _python(folder, name):
    return name.endswith(".py") or (Path(folder) / name).is_dir()


def test_there_are_no_import_cycles():
    """Imports in functions included; those for type checkers alone left out."""
    modules = {module_of(p): p for p in PRODUCT}
    graph = {}
    for name, path in modules.items():
        targets = {target for target, node, _ in imports(path) if id(node) not in _for_type_checkers(path)}
        wanted = {t if t in modules else t.rpartition(".")[0] for t in targets}
        graph[name] = {t for t in wanted if t in modules and t != name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_has_few_homes_and_is_imported_when_needed(library):
    homes = {}
    for path in PRODUCT:
        for target, node, at_import in imports(path):
            if below(target, library) and id(node) not in _for_type_checkers(path):
                homes.setdefault(str(path.relative_to(ROOT)), []).append(at_import)
    assert len(homes) <= HOMES[library], f"{library} is imported in {sorted(homes)}"
    assert not any(early for flags in homes.values() for early in flags), f"{library} is loaded by an import in {sorted(homes)}"


@cache
def _for_type_checkers(path):
    """Ids of what is below `if TYPE_CHECKING:`."""
    tests = (node for node in nodes(path) if isinstance(node, ast.If) and isinstance(node.test, ast.Name | ast.Attribute))
    marked = (node for node in tests if ast.unparse(node.test).endswith("TYPE_CHECKING"))
    return {id(inner) for node in marked for each in node.body for inner in ast.walk(each)}


ALL = files(*PACKAGES, "tests", "benchmarks")


def test_code_does_not_mock_pickle_or_evaluate():
    assert [wrong for path in ALL for wrong in _banned(path)] == []


def test_no_text_of_the_product_advises_a_package_of_an_index():
    """A name in an index may be somebody else's; energy_agent/core/extras.py has the one text on how to install."""
    advice = re.compile(r"pip install\W+wattlens|wattlens\[\w+\]")
    texts = [p for p in PRODUCT if "extras" not in p.name] + sorted((ROOT / "docs").glob("*.md")) + [ROOT / "README.md"]
    assert [str(path.relative_to(ROOT)) for path in texts if advice.search(path.read_text())] == []


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


def test_a_file_has_a_name_of_the_field_and_a_docstring():
    assert [wrong for path in PRODUCT for wrong in _badly_kept(path)] == []


def _badly_kept(path):
    name = path.relative_to(ROOT)
    if {"utils", "helpers", "manager", "util", "helper"} & set(path.stem.split("_")):
        yield f"{name}: a name that says nothing"
    if path.name != "__init__.py" and not ast.get_docstring(tree_of(path)):
        yield f"{name}: no docstring"


def test_each_rule_finds_its_breach(tmp_path, monkeypatch):
    """The rules above, on a file that breaks each of them."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    bad = tmp_path / "dvfs/fan_utils.py"
    bad.parent.mkdir()
    bad.write_text("import time, pickle\neval('1')\nopen('x')\nrun('x', shell=True)\n")
    assert len(list(_banned(bad))) == 3
    assert len(list(_badly_kept(bad))) == 2


def test_importing_the_product_loads_nothing_heavy_and_does_nothing():
    """Every module is imported in one fresh process, which afterwards has no thread, child, file or heavy library more."""
    names = [module_of(p) for p in PRODUCT if p.name != "__main__.py" and not p.stem.endswith("_pb2")]  # protoc's import theirs
    code = f"""
import ctypes, importlib, os, sys, threading  # ctypes of Python 3.14 keeps a file open
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
        check=False,
        env=dict(os.environ),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_wheel_holds_the_five_packages_and_nothing_else(tmp_path):
    pytest.importorskip("hatchling")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {n.partition("/")[0] for n in names if ".dist-info/" not in n} == set(PACKAGES)
    assert not [n for n in names if n.endswith((".so", ".o", ".pyc"))]
    assert any(n.endswith("native/plant.h") for n in names), "the simulator's C source is package data"
    assert not [n for n in names if "double" in n or "fake" in n], "test doubles stay in tests"
