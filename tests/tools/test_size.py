"""The size of a checkout, counted by hand, and its limits."""

import subprocess
from pathlib import Path

import pytest

from tools.size import main, measure, measure_text

ASSIGNMENT = "x = 1\n"  # Module, Assign, Name, Store, Constant


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    files = {
        "agent/tracked.py": ASSIGNMENT,
        "agent/new.py": ASSIGNMENT,
        "agent/generated_pb2.py": ASSIGNMENT,
        "agent/ignored.py": ASSIGNMENT,
        "agent/gone.py": ASSIGNMENT,
        "tests/test_it.py": ASSIGNMENT,
        ".gitignore": "ignored.py\n",
        "pyproject.toml": "[tool.size]\nproduct_nodes = 10\ntests_nodes = 5\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "-C", str(tmp_path), "add", "agent/tracked.py", "agent/gone.py"], check=True)
    (tmp_path / "agent/gone.py").unlink()
    return tmp_path


def test_files_that_git_does_not_ignore_are_counted(checkout):
    assert measure(checkout) == {
        "agent": {"files": 2, "lines": 2, "statements": 2, "nodes": 10},
        "tests": {"files": 1, "lines": 1, "statements": 1, "nodes": 5},
    }


def test_docstrings_are_not_counted():
    source = '"""What it is."""\n\n\ndef f():\n    """What it does."""\n    return 1\n'
    without = ASSIGNMENT.replace("x = 1", "def f():\n    return 1")
    assert measure_text(source)["nodes"] == measure_text(without)["nodes"] == 5  # Module, def, arguments, Return, Constant


@pytest.mark.parametrize(("folder", "key"), [("agent", "product_nodes"), ("tests", "tests_nodes")])
def test_one_node_above_a_limit_fails(checkout, capsys, folder, key):
    assert main(str(checkout)) == 0
    assert capsys.readouterr().err == ""
    (checkout / folder / "more.py").write_text("")
    assert main(str(checkout)) == 1
    assert f"1 above tool.size.{key}" in capsys.readouterr().err


def test_a_folder_that_git_does_not_know_fails(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        measure(tmp_path)
