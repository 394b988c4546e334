"""Size of a checkout, held against the limits in its pyproject.toml: `python -m tools.size [FOLDER]`.

It prints files, lines, statements and syntax nodes without docstrings of each top folder's Python files, generated ones left
out. Exit code 1: the nodes of the tests or of all other files exceed `[tool.size]`. A change that needs more nodes raises that
limit, and its commit gives the reason.
"""

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

TESTS = "tests"
_GENERATED = "_pb2.py"
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def measure_text(source: str) -> Counter[str]:
    r"""Lines, statements and syntax nodes without docstrings of a Python file.

    Raises:
        SyntaxError: it is not Python.

    >>> measure_text("'''What it is.'''\nx = 1\n")["nodes"]
    5
    """
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = sum(isinstance(node, _DOCUMENTED) and ast.get_docstring(node, False) is not None for node in nodes)
    statements = sum(isinstance(node, ast.stmt) for node in nodes)
    return Counter(files=1, lines=source.count("\n"), statements=statements, nodes=len(nodes) - 2 * docstrings)


def measure(root: Path) -> dict[str, Counter[str]]:
    """Size of each top folder of a checkout: of the files that git tracks and of those that it does not ignore.

    Raises:
        subprocess.CalledProcessError: git failed, as in a folder that is no checkout.
    """
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    sizes: dict[str, Counter[str]] = {}
    for name in filter(None, listed.split("\0")):
        file = root / name
        if file.exists() and not name.endswith(_GENERATED):  # git lists a file that was deleted until that is committed
            sizes.setdefault(name.partition("/")[0], Counter()).update(measure_text(file.read_text()))
    return sizes


def main(root: str = ".") -> int:
    """Print the sizes; returns 1 if a sum is above its limit."""
    sizes = measure(Path(root))
    product = sum((size for folder, size in sizes.items() if folder != TESTS), Counter[str]())
    limits = tomllib.loads((Path(root) / "pyproject.toml").read_text())["tool"]["size"]
    above = False
    for name, size in (*sorted(sizes.items()), ("all but tests", product)):
        print(f"{name:14}", *(f"{size[unit]:8} {unit}" for unit in ("files", "lines", "statements", "nodes")))
    for key, nodes in (("product_nodes", product["nodes"]), ("tests_nodes", sizes.get(TESTS, Counter())["nodes"])):
        if nodes > limits[key]:
            print(f"{nodes} nodes, {nodes - limits[key]} above tool.size.{key} in pyproject.toml", file=sys.stderr)
            above = True
    return int(above)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
