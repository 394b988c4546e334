"""Scripts of `wattlens completion`, run in the shells that this machine has."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import need_module, said_here
from tools import cli_docs

need_module("shtab")


def script(shell: str, tmp_path: Path) -> Path:
    done = said_here("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path / f"wattlens.{shell}"
    path.write_text(done.stdout)
    return path


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def complete_in_bash(path: Path, *words: str) -> list[str]:
    body = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; '
        '_shtab_wattlens wattlens "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[*]}"'
    )
    return output("bash", "-c", body, "bash", str(path), *words).split()


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    path = script("bash", tmp_path)
    assert complete_in_bash(path, "wattlens", "me") == ["measure"]
    commands = {name.split()[1] for name in cli_docs.pages() if name != "wattlens"}
    assert set(complete_in_bash(path, "wattlens", "")) == commands
    assert complete_in_bash(path, "wattlens", "dvfs", "o") == ["off", "on"]
    assert complete_in_bash(path, "wattlens", "ledger", "export", "--fo") == ["--format"]
    assert complete_in_bash(path, "wattlens", "report", "--json", "diff", "--th") == ["--threshold"]
    assert complete_in_bash(path, "wattlens", "ledger", "export", "--format", "") == ["csv", "jsonl", "parquet"]
    assert complete_in_bash(path, "wattlens", "measure", "--", str(path)) == [str(path)]


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes_commands_and_options(tmp_path: Path) -> None:
    path = script("fish", tmp_path)

    def complete(line: str) -> list[str]:
        text = output("fish", "--no-config", "-c", f"source {path}; complete -C '{line}'")
        return [row.split("\t")[0] for row in text.splitlines()]

    assert complete("wattlens me") == ["measure"]
    assert set(complete("wattlens dvfs o")) == {"off", "on"}
    assert "--format" in complete("wattlens ledger export --fo")
    assert complete(f"wattlens measure -- {path}") == [str(path)]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_registers_the_script(tmp_path: Path) -> None:
    path = script("zsh", tmp_path)
    body = 'autoload -U compinit; compinit -D -u; eval "$(< $1)"; print $_comps[wattlens]; _describe() { print $_commands }; '
    function, commands = output("zsh", "-f", "-c", body + "_shtab_wattlens_dvfs_commands", "zsh", str(path)).splitlines()
    assert function == "_shtab_wattlens"
    assert {"off:Stop", "on:Allow"} <= set(commands.split())


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    done = said_here("completion", "bash")
    assert (done.returncode, done.stdout) == (2, "")
    assert "need shtab" in done.stderr
    assert "[completion]" in done.stderr
