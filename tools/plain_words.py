"""Find names and phrases that tools/plain_words.toml replaces: `python -m tools.plain_words [PATH ...]`.

Names are those of functions, methods, properties, arguments, variables, attributes and public classes; a pydantic validator is
`_check_X`, and a test is named by its behaviour. Prose is docstrings, comments and texts with a space in
Python files, and Markdown outside code blocks. Exit code 1 means findings.
"""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RULES = Path(__file__).with_suffix(".toml")
_PROSE = (
    tokenize.COMMENT,
    tokenize.STRING,
    *(getattr(tokenize, name) for name in ("FSTRING_MIDDLE",) if hasattr(tokenize, name)),
)
_READ = (".py", ".md", "languages/en.json")
_OWN = ("tools/plain_words.py", "tests/tools/test_plain_words.py")
_FENCE = re.compile(r"^ *```")


@dataclass(frozen=True, slots=True)
class PlainWords:
    """The rules: bare names of functions and of all else, words of speech in tests, phrases with what replaces them."""

    names: frozenset[str]
    variables: frozenset[str]
    speech: frozenset[str]
    phrases: tuple[tuple[re.Pattern[str], str], ...]

    @classmethod
    def load(cls, path: Path = RULES) -> "PlainWords":
        """Read the rules."""
        rules = tomllib.loads(path.read_text())
        phrases = tuple((re.compile(pattern, re.IGNORECASE), better) for pattern, better in rules["phrases"].items())
        return cls(frozenset(rules["names"]), frozenset(rules["variables"]), frozenset(rules["speech"]), phrases)


@dataclass(frozen=True, slots=True, order=True)
class Wording:
    """A name or a phrase to replace, and the reason."""

    path: str
    line: int
    text: str
    better: str


def check_names(path: str, tree: ast.AST, rules: PlainWords) -> Iterator[Wording]:
    """Names that are a bare participle or adverb, validators without their verb, and tests named by who says something."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.strip("_") in rules.names:
                    yield Wording(path, node.lineno, name, "a verb, a predicate or a noun")
                if _is_validator(node) and not name.startswith("_check_"):
                    yield Wording(path, node.lineno, name, "_check_X")
                if name.startswith("test_") and (words := rules.speech & set(name.split("_"))):
                    yield Wording(path, node.lineno, name, f"the behaviour, without {min(words)}")
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                if name.strip("_") in rules.variables:
                    yield Wording(path, node.lineno, name, "a noun that names the content")


def _is_validator(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    called = (decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in node.decorator_list)
    return any(isinstance(each, ast.Name) and each.id.endswith("_validator") for each in called)


def check_classes(trees: Iterable[tuple[str, ast.AST]]) -> Iterator[Wording]:
    """Public classes that have the name of a class of another file."""
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append((path, node.lineno))
    for name, where in places.items():
        if len({path for path, _ in where}) > 1:
            files = ", ".join(sorted({path for path, _ in where}))
            yield from (Wording(path, line, f"class {name}", f"one meaning per name; it is in {files}") for path, line in where)


def check_phrases(path: str, prose: Iterable[tuple[int, str]], rules: PlainWords) -> Iterator[Wording]:
    """Phrases in prose, which comes as (line number, text)."""
    for line, text in prose:
        for pattern, better in rules.phrases:
            for match in pattern.finditer(text):
                yield Wording(path, line + text.count("\n", 0, match.start()), match.group(), better)


def prose_of_python(source: str) -> Iterator[tuple[int, str]]:
    """Comments, and strings that hold a space: others are names and keys."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _PROSE and " " in token.string:
            yield token.start[0], token.string


def prose_of_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Lines outside fenced code blocks."""
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if _FENCE.match(line):
            in_code = not in_code
        elif not in_code:
            yield number, re.sub(r"`[^`]*`", "", line)


def check(root: Path, paths: Sequence[str], rules: PlainWords) -> list[Wording]:
    """Everything to replace in the files at `paths`, which are relative to `root`."""
    findings: list[Wording] = []
    trees = []
    for path in paths:
        text = (root / path).read_text()
        if path.endswith(".py"):
            tree = ast.parse(text)
            findings += check_names(path, tree, rules)
            if not path.startswith("tests/"):
                trees.append((path, tree))
            findings += check_phrases(path, prose_of_python(text), rules)
        elif path.endswith(".md"):
            findings += check_phrases(path, prose_of_markdown(text), rules)
        else:
            findings += check_phrases(path, [(1, json.dumps(json.loads(text), indent=1))], rules)
    return sorted(findings + list(check_classes(trees)))


def main(arguments: Sequence[str]) -> int:
    """Print each finding as PATH:LINE."""
    root = RULES.parents[1]
    command = ["git", "ls-files", "--", *arguments]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    read = [path for path in listed if path.endswith(_READ) and path not in _OWN]
    findings = check(root, read, PlainWords.load())
    sys.stdout.writelines(f"{f.path}:{f.line}: {f.text}: write {f.better}\n" for f in findings)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
