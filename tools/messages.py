"""List every text that a user can read: `python -m tools.messages [--root CHECKOUT] [--draw N [--seed S]]`.

Messages, log lines, help, findings, titles and descriptions are the strings of two words and more in the product's Python
files, without docstrings; the sentences of reports are in reports/languages/en.json. One line per text: PATH:LINE, a tab, the
text, with {} where the program fills something in. --draw takes N of them at random, for a reader who has never seen them.
"""

import argparse
import ast
import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGES = ("dashboards", "deploy", "dvfs", "energy_agent", "reports", "wattlens")
_SENTENCE = re.compile(r"[A-Za-z]{2,}[,:;]? +[(a-z]{2,}")
"""Two words: a query, a type or a key is no sentence."""
_LANGUAGE = "reports/languages/en.json"


def texts_of_python(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every string with a space that is not a docstring; adjacent strings and f-strings are one text."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    skipped = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, documented)
        for statement in node.body
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }
    skipped |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        else:
            continue
        if _SENTENCE.search(text):
            yield node.lineno, " ".join(text.split())


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """(PATH:LINE, text) of a checkout."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for line, text in sorted(texts_of_python(path.read_text())):
                yield f"{path.relative_to(root)}:{line}", text
    for name, text in json.loads((root / _LANGUAGE).read_text())["messages"].items():
        yield f"{_LANGUAGE}:{name}", text


def main(arguments: Sequence[str]) -> int:
    """Print the list, or some of it drawn at random."""
    parser = argparse.ArgumentParser(description="List every text that a user can read.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout (default: this one)")
    parser.add_argument("--draw", type=int, metavar="N", help="print N of them, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    options = parser.parse_args(arguments)
    rows = list(texts(options.root))
    if options.draw is not None:
        rows = random.Random(options.seed).sample(rows, min(options.draw, len(rows)))
    sys.stdout.writelines(f"{place}\t{text}\n" for place, text in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
