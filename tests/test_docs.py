"""Pages of the documentation: every block is run, or is marked with the test that runs it or the reason why none can.

A mark is an HTML comment on the line before the block: `<!-- run by: tests/FILE.py -->` or `<!-- not run: REASON -->`.
"""

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dashboards.build.build import syntax_error
from energy_agent.config.agent import parse
from tests.support import free_port, promtool_with

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
GENERATED = {ROOT / "docs/cli.md"}
"""The `--help` pages, which tests/wattlens/cli/test_help.py compares."""
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").rglob("*.md")) - GENERATED)]
BLOCK = re.compile(r"(?:^<!-- (?P<mark>[a-z ]+): (?P<text>[^\n]*) -->\n)?^```(?P<kind>[\w-]*)\n(?P<code>.*?)^```$", re.M | re.S)
OUTPUT = {"text", "json"}
KINDS = {"sh", "python", "yaml", "promql", "sql", "ini"} | OUTPUT
MARKS = {"not run", "run by"}
NAMING = {".py", ".yaml", ".yml", ".json", ".md", ".sh", ".service", ".h", ".txt"}
"""Suffixes of files that name pages."""
SERVER = "http://127.0.0.1:8000/metrics"
"""The inference server of the pages; here the simulated node's."""


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    kind: str
    code: str
    mark: str | None
    text: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("kind")) + 1
        yield Block(page, line, match["kind"], match["code"], match["mark"], match["text"])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def to_run(kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind == kind and block.mark is None]


def test_every_block_has_a_language_and_a_mark_that_is_known() -> None:
    for block in BLOCKS:
        assert block.kind in KINDS, f"{block}: {block.kind!r} is not one of {sorted(KINDS)}"
        assert block.mark in MARKS | {None}, f"{block}: unknown mark {block.mark!r}"
        for name in re.findall(r"tests/[\w/]+(?:\.py)?", block.text or ""):
            assert (ROOT / name).exists(), f"{block}: no {name}"
        if block.mark == "run by":
            path = ROOT / str(block.text)
            assert path.is_file(), f"{block}: no test {path}"
            assert block.page.name in path.read_text(), f"{block}: {path} does not read {block.page.name}"


def test_every_anchor_leads_to_a_heading() -> None:
    def anchors(page: Path) -> set[str]:
        heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M)
        return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}

    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for name, anchor in re.findall(r"\]\(([^)\s:#]*)#([^)\s]+)\)", page.read_text()):
            target = (page.parent / name) if name else page
            if target.suffix == ".md" and target.exists():
                assert anchor in anchors(target), f"{page.relative_to(ROOT)}: {name}#{anchor}"


def test_pages_that_code_and_messages_name_exist() -> None:
    folders = ("energy_agent", "wattlens", "dvfs", "reports", "dashboards", "deploy", "tools", "benchmarks", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in NAMING | {""}]
    for path in [ROOT / "CHANGELOG.md", ROOT / "Makefile", *files]:
        if path.is_file():
            for name in re.findall(r"(?<!/)\bdocs/[\w/-]+\.md", path.read_text(errors="ignore")):
                assert (ROOT / name).is_file(), f"{path.relative_to(ROOT)}: {name}"


@pytest.mark.parametrize("block", to_run("yaml"), ids=str)
def test_yaml_is_valid(block: Block, tmp_path: Path) -> None:
    """As a configuration of Prometheus where it has keys of one, else as the agent's."""
    content = yaml.safe_load(block.code)
    if content.keys() & {"scrape_configs", "remote_write", "rule_files"}:
        path = tmp_path / "prometheus.yml"
        path.write_text(block.code)
        command = [*promtool_with("check", "config", "--syntax-only"), path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "field kubernetes_sd_configs not found" in done.stderr:
            pytest.skip("promtool was built without service discovery for Kubernetes, as in Debian 12")
        assert done.returncode == 0, done.stderr
    else:
        parse(block.code.encode(), str(block))


@pytest.mark.parametrize("block", to_run("promql"), ids=str)
def test_queries_parse(block: Block) -> None:
    for query in block.code.strip().split("\n\n"):
        assert not syntax_error(query), f"{block}: {query}"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a shell on a simulated node, whose home holds a small `train.py`."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PORT": str(free_port()),
    }
    (home / "train.py").write_text(TRAINING)
    (home / "bin").mkdir()
    (home / "bin/wattlens").write_text(PROGRAM)
    (home / "bin/wattlens").chmod(0o755)
    start = [BIN / "wattlens", "sim", "start", "h100-node"]
    done = subprocess.run(start, env=environment, check=True, capture_output=True, text=True)
    (server,) = re.findall(r"http://\S+/metrics", done.stdout)
    yield environment | {"SERVER": server}
    subprocess.run([BIN / "wattlens", "sim", "stop"], env=environment, check=True, capture_output=True)


TRAINING = """
import time
import wattlens

for _ in range(20):
    time.sleep(0.05)
    wattlens.step(tokens=4096)
"""
SETUP = """
import time
data = batches = range(3)
tokens_of = {0: 1, 1: 1, 2: 1}
def train_step(batch=None): time.sleep(0.05); return 1.0
train = evaluate = save = generate = train_step
"""
PROGRAM = f"""#!/bin/bash
real={BIN}/wattlens
case "$1" in
agent)
    case "$*" in *--state*) ;; *) set -- "$@" --state "$HOME/state" ;; esac
    case "$2" in release|resume|return) ;; *) set -- "$@" --simulate --listen "127.0.0.1:$PORT" ;; esac ;;
top) exec "$real" "$@" --once --url "http://127.0.0.1:$PORT/metrics" ;;
doctor) exec "$real" "$@" --simulate "$WATTLENS_SIM" ;;
sim) case "$2" in start|stop) exit 0 ;; esac ;;
esac
exec "$real" "$@"
"""
"""`wattlens` as a page calls it, on the simulated node that is there already and at a port that is free."""


@pytest.mark.smoke
@pytest.mark.parametrize("page", sorted({block.page for block in to_run("sh")}), ids=lambda page: page.name)
def test_commands_of_a_page_work(page: Path, machine: dict[str, str]) -> None:
    """All of a page's shell blocks that have no mark, one after another in one shell."""
    lines = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", 'PATH="$HOME/bin:$PATH"']
    for block in to_run("sh"):
        if block.page == page:
            code = block.code.replace("127.0.0.1:9479", f"127.0.0.1:{machine['PORT']}").replace(SERVER, machine["SERVER"])
            lines.append(f"echo '### {block}' >&2\n{code}")
    command = ["bash", "-c", "\n".join(lines)]
    if not any("wattlens sim start" in line for line in lines):  # such a page names the node with --simulate
        command = [str(BIN / "wattlens"), "sim", "run", "--", *command]
    process = subprocess.Popen(
        command,
        env=machine,
        cwd=machine["HOME"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output


@pytest.mark.smoke
@pytest.mark.parametrize("block", to_run("python"), ids=str)
def test_python_works(block: Block, machine: dict[str, str], tmp_path: Path) -> None:
    """With short functions in place of the reader's own: `train_step`, `data` and the like."""
    (tmp_path / "example.py").write_text(textwrap.dedent(SETUP) + block.code)
    command = [BIN / "wattlens", "sim", "run", "--", sys.executable, str(tmp_path / "example.py")]
    done = subprocess.run(command, env=machine, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
