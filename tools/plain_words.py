"""Find names and phrases that tools/plain_words.toml replaces: `python -m tools.plain_words [PATH ...]`.

Names are those of functions, methods, properties, arguments, variables, attributes and public classes; a pydantic validator is
`_check_X`, and a test is named by its behaviour. Prose is docstrings, comments and texts with a space in
Python files, and Markdown outside code blocks. A docstring names only exceptions, files and code that exist: ruff checks its
arguments, but neither exceptions that a callee raises nor names in backticks. Exit code 1 means findings.
"""

import ast
import builtins
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
_PROSE = ("COMMENT", "STRING", "FSTRING_MIDDLE")
_READ = (".py", ".md", "languages/en.json")
_OWN = ("tools/plain_words.py", "tests/tools/test_plain_words.py")
_NAMED = re.compile(r"`([A-Za-z]\w*(?:[._]|[a-z][A-Z])[\w.]*)[`(]|([\w/-]+\.py)\b|^ +([\w., ]+Error):", re.MULTILINE)
_WORD = re.compile(r"[\w/-]+\.py\b|\w\w+")
_Phrases = Sequence[tuple[re.Pattern[str], str]]
_CODE = re.compile(r"(?ms)^ *```.*?(?:^ *```|\Z)|`[^`\n]*`")


@dataclass(frozen=True, slots=True)
class PlainWords:
    """The rules: bare names of functions and of all else, words of speech in tests, names of other programs, phrases."""

    names: frozenset[str]
    variables: frozenset[str]
    speech: frozenset[str]
    foreign: frozenset[str]
    phrases: _Phrases

    @classmethod
    def load(cls, path: Path = RULES) -> "PlainWords":
        """Read the rules."""
        rules = tomllib.loads(path.read_text())
        phrases = tuple((re.compile(pattern, re.IGNORECASE), better) for pattern, better in rules["phrases"].items())
        return cls(phrases=phrases, **{key: frozenset(rules[key]) for key in ("names", "variables", "speech", "foreign")})


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
                validates = "_validator" in " ".join(map(ast.unparse, node.decorator_list))
                if validates and not name.startswith("_check_"):
                    yield Wording(path, node.lineno, name, "_check_X")
                if name.startswith("test_") and (words := rules.speech & set(name.split("_"))):
                    yield Wording(path, node.lineno, name, f"the behaviour, without {min(words)}")
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                if name.strip("_") in rules.variables:
                    yield Wording(path, node.lineno, name, "a noun that names the content")


def check_classes(nodes: Iterable[tuple[str, ast.AST]]) -> Iterator[Wording]:
    """Public classes that have the name of a class of another file."""
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for path, node in nodes:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            places[node.name].append((path, node.lineno))
    for name, where in places.items():
        files = sorted({path for path, _ in where})
        if len(files) > 1:
            better = f"one meaning per name; it is in {', '.join(files)}"
            yield from (Wording(path, line, f"class {name}", better) for path, line in where)


def check_docstrings(nodes: Sequence[tuple[str, ast.AST]], files: str, foreign: frozenset[str]) -> Iterator[Wording]:
    """Exceptions, files and names in backticks that exist neither in code or keys, nor in `files`: a line and a slash each."""
    values = (value for _, node in nodes for value in vars(node).values())
    words = (_WORD.findall(value) for value in values if isinstance(value, str) and " " not in value)
    known = foreign.union(dir(builtins), *words)
    for path, node in nodes:
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                for wording in check_phrases(path, [(node.lineno, text)], [(_NAMED, "a name that exists")]):
                    if any(word not in known and f"/{word}\n" not in files for word in _WORD.findall(wording.text)):
                        yield wording


def check_phrases(path: str, prose: Iterable[tuple[int, str]], phrases: _Phrases) -> Iterator[Wording]:
    """Phrases in prose, which comes as (line number, text)."""
    for line, text in prose:
        for pattern, better in phrases:
            for match in pattern.finditer(text):
                yield Wording(path, line + text.count("\n", 0, match.start()), match.group(), better)


def prose_of_python(source: str) -> Iterator[tuple[int, str]]:
    """Comments, and strings that hold a space: others are names and keys."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if tokenize.tok_name[token.type] in _PROSE and " " in token.string:
            yield token.start[0], token.string


def prose_of_markdown(text: str) -> Iterator[tuple[int, str]]:
    """The text with empty lines in place of fenced code blocks, and without names in backticks."""
    yield 1, _CODE.sub(lambda match: "\n" * match.group().count("\n"), text)


def check(root: Path, paths: Sequence[str], rules: PlainWords) -> list[Wording]:
    """Everything to replace in the files at `paths`, which are relative to `root`."""
    findings: list[Wording] = []
    nodes: list[tuple[str, ast.AST]] = []
    for path in paths:
        text = (root / path).read_text()
        if path.endswith(".py"):
            tree = ast.parse(text)
            findings += check_names(path, tree, rules)
            if not path.startswith("tests/"):
                nodes += ((path, node) for node in ast.walk(tree))
            prose = prose_of_python(text)
        elif path.endswith(".md"):
            prose = prose_of_markdown(text)
        else:
            prose = iter([(1, json.dumps(json.loads(text), indent=1))])
        findings += check_phrases(path, prose, rules.phrases)
    files = "\n/".join(["", *paths, ""])
    return sorted([*findings, *check_classes(nodes), *check_docstrings(nodes, files, rules.foreign)])


def main(arguments: Sequence[str]) -> int:
    """Print each finding as PATH:LINE."""
    root = RULES.parents[1]
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    read = [path for path in listed if path.endswith(_READ) and path not in _OWN]
    findings = [f for f in check(root, read, PlainWords.load()) if f.path.startswith(tuple(arguments) or "")]
    sys.stdout.writelines(f"{f.path}:{f.line}: {f.text}: write {f.better}\n" for f in findings)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
