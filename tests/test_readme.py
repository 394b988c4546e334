"""What README and docs promise: commands that exist, options that exist, links that lead somewhere, keys that are read."""

import argparse
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from wattlens.cli import build_parser

ROOT = Path(__file__).parents[1]
DEVELOPERS = [ROOT / name for name in ("CONTRIBUTING.md", "benchmarks/README.md", "energy_agent/sim/README.md")]
PAGES = [ROOT / "README.md", *DEVELOPERS, *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.M | re.S)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def _commands(page: Path) -> list[list[str]]:
    """Every `wattlens ...` of a page, in blocks and in running text, as words."""
    text = page.read_text()
    lines = [line for block in BLOCK.finditer(text) for line in block["text"].replace("\\\n", " ").splitlines()]
    lines += CODE.findall(BLOCK.sub("", text))
    commands = []
    for line in lines:
        for part in re.split(r"[;&|]+|\$\(|^eval ", line.replace("\\|", "|")):  # a bar within a table is escaped
            words = shlex.split(part.split(" #")[0].replace('"', " ").replace("'", " "))
            if words[:1] == ["wattlens"] and len(words) > 1:
                commands.append(words[1:])
    return commands


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


@cache
def _parser() -> argparse.ArgumentParser:
    return build_parser(["--help"])


def _check(words: list[str]) -> None:
    """Walk the words down the real parsers; what stands for several (`verify|export`) is checked for each."""
    parser, rest = _parser(), words
    while rest and _subcommands(parser) and not rest[0].startswith("-"):
        names = rest[0].split("|")
        if not all(re.fullmatch(r"[a-z]+", name) for name in names):
            return  # SOURCE, ...: a placeholder
        for name in names:
            assert name in _subcommands(parser), f"wattlens {' '.join(words)}: no {name!r} in {parser.prog}"
        parser, rest = _subcommands(parser)[names[0]], rest[1:]
    options = {option for action in parser._actions for option in action.option_strings}
    for word in rest:
        if word == "--":
            return
        option = word.strip("[]().,").partition("=")[0]
        if option.startswith("--"):
            assert option in options, f"wattlens {' '.join(words)}: no {option} in {parser.prog}"


def test_every_command_and_option_exists() -> None:
    for page in PAGES:
        for words in _commands(page):
            _check(words)


def test_the_check_sees_what_does_not_exist() -> None:
    for wrong in (["agnt"], ["agent", "--sate", "x"], ["ledger", "verify|exprt"]):
        with pytest.raises(AssertionError, match="no "):
            _check(wrong)


def test_every_relative_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in LINK.findall(page.read_text()):
            path = target.partition("#")[0]
            if path and "://" not in path:
                assert (page.parent / path).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_the_readme_begins_with_two_commands_that_make_has() -> None:
    first = next(BLOCK.finditer((ROOT / "README.md").read_text()))
    assert first["text"].split("\n")[:-1] == ["make demo", "make test"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for page in PAGES:
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.M):
            assert name in targets, f"{page.relative_to(ROOT)}: make {name}"


def test_the_extras_of_the_readme_exist() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for page in PAGES:
        for named in re.findall(r"(?:wattlens|\.)\[([a-z,]+)\]", page.read_text()):
            assert set(named.split(",")) <= set(extras), f"{page.relative_to(ROOT)}: [{named}]"


def test_every_subcommand_is_in_the_index() -> None:
    text = (ROOT / "docs/README.md").read_text()
    for name in _subcommands(build_parser(["--help"])):
        assert f"`wattlens {name}`" in text


def test_every_module_that_is_run_is_there() -> None:
    for page in PAGES:
        for module in re.findall(r"python -m ([\w.]+)", page.read_text()):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{page.relative_to(ROOT)}: {module}"
