"""Scripts of `wattlens completion`, run in the shells that this machine has."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import said_here
from tools import cli_docs


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
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _wattlens wattlens "${@: -1}"; '
        'echo "${COMPREPLY[*]}"'
    )
    return output("bash", "-c", body, "bash", str(path), *words).split()


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    path = script("bash", tmp_path)
    assert complete_in_bash(path, "wattlens", "me") == ["measure"]
    commands = {name.split()[1] for name in cli_docs.pages() if name != "wattlens"}
    assert set(complete_in_bash(path, "wattlens", "")) == commands
    assert complete_in_bash(path, "wattlens", "dvfs", "o") == ["off", "on"]
    assert complete_in_bash(path, "wattlens", "ledger", "export", "--fo") == ["--format"]
    assert complete_in_bash(path, "wattlens", "ledger", "--json", "export", "--wo") == ["--workload"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes_commands_and_options(tmp_path: Path) -> None:
    path = script("fish", tmp_path)

    def complete(line: str) -> list[str]:
        text = output("fish", "--no-config", "-c", f"source {path}; complete -C '{line}'")
        return [row.split("\t")[0] for row in text.splitlines()]

    assert complete("wattlens me") == ["measure"]
    assert set(complete("wattlens dvfs o")) == {"off", "on"}
    assert "--format" in complete("wattlens ledger export --fo")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_reads_the_script(tmp_path: Path) -> None:
    path = script("zsh", tmp_path)
    assert output("zsh", "-n", str(path)) == ""
    words = output("zsh", "-f", "-c", f"source {path}; _wattlens_words 'wattlens dvfs'").split()
    assert {"off", "on"} <= set(words)
