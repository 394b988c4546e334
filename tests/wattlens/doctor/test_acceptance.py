"""`wattlens doctor --acceptance` on a simulated node: an agent that is right, agents that are wrong, and the result file."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.ledger.signing import open_signer
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.doubles.page_server import PageServer
from tests.support import eventually, refusal
from wattlens.cli import main
from wattlens.doctor.acceptance.result_file import MAX_B, decode, read
from wattlens.doctor.probing import probe

pytestmark = pytest.mark.timeout(360)

NODE = b"""
boards: [{count: 2, sku: H100-SXM5-80GB}]
rate: 2
workloads:
  - {name: bursts, kind: burst, gpus: [0], on_s: 1.0, off_s: 0.7}
  - {name: chat, kind: serving, gpus: [1], model: Qwen/Qwen3-32B, rate_per_s: 3.0}
"""
ENERGY = re.compile(r"^(wattlens_gpu_energy_joules_total\{.*\} )(.*)$", re.M)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path_factory.mktemp("acceptance") / "node") as running:
        eventually(
            lambda: all(device.sample.processes for device in probe(dict(os.environ) | running.environ()).devices.values())
        )
        yield running


def accept(node, capsys, *options, seconds=12):
    code = main(["doctor", "--acceptance", "--simulate", str(node.directory), "--for", f"{seconds}s", *map(str, options)])
    return code, capsys.readouterr().out


def failed(out):
    return {line[7:28].strip() for line in out.splitlines() if line.startswith("FAIL")}


@pytest.fixture(scope="module")
def accepted(node, tmp_path_factory):
    """A signed result of a private agent, and what the command printed."""
    folder = tmp_path_factory.mktemp("accepted")
    (signer, _) = open_signer(folder)
    assert signer is not None
    (url,) = [w["metrics_url"] for w in node.state()["workloads"] if w["metrics_url"]]
    command = [sys.executable, "-m", "wattlens", "doctor", "--acceptance", "--simulate", node.directory, "--for", "20s"]
    command += ["--engine", url, "--label", "lab 1", "--out", folder / "result.jsonl", "--key", folder / "signing.key"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    return done, folder / "result.jsonl", node


# ---- an agent that is right ----


def test_a_private_agent_is_accepted_and_labelled_simulated(accepted):
    done, path, _ = accepted
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("SIMULATED GPUs: 2 x NVIDIA H100 80GB HBM3")
    assert "Accepted on simulated GPUs" in done.stdout
    assert "Sensor capture: " in done.stdout
    file = read(path)
    assert file.is_signed
    assert file.result.simulated
    assert file.result.label == "lab 1"
    assert all(gpu.covered == gpu.intervals > 10 for gpu in file.result.gpus)
    assert all(gpu.sensors for gpu in file.result.gpus)
    assert {c.name for c in file.result.criteria if c.passed is None} == {"power of idle GPUs"}


def test_tokens_are_those_of_the_engines_own_counter(accepted):
    _, path, _ = accepted
    (engine,) = read(path).result.engines
    assert (engine.server, engine.gpus, engine.agent.reason, engine.engine.reason) == ("vllm", (1,), "", "")
    assert engine.engine.lower <= engine.agent.value <= engine.engine.upper
    assert engine.tokens > 0


def test_the_file_names_no_machine(accepted):
    _, path, node = accepted
    text = path.read_text()
    with node.plant() as plant:
        uuids = [plant.uuid(gpu) for gpu in range(plant.count)]
    for secret in [*uuids, socket.gethostname(), "Qwen", "chat", "127.0.0.1", str(node.directory)]:
        assert re.search(rf"\b{re.escape(secret)}\b", text) is None


# ---- agents that are wrong ----


@contextmanager
def agent_on(node, tmp_path):
    """An agent on the node, as a service would run it: its process and its URL."""
    command = ["agent", "--simulate", str(node.directory), "--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0"]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "wattlens", *command], stderr=file)
    try:
        url = eventually(lambda: next((w.rstrip(",") for w in log.read_text().split() if w.endswith("/metrics,")), None))
        yield process, url
    finally:
        process.kill()
        process.wait()


@contextmanager
def forged(url, change):
    """An endpoint that shows the agent's metrics after `change(text, number of the response)`."""
    numbers = iter(range(10_000))

    def page():
        with urllib.request.urlopen(url, timeout=60) as response:
            return change(response.read().decode(), next(numbers)).encode()

    with PageServer(page) as server:
        yield server.url


@pytest.mark.smoke
def test_energy_that_is_five_percent_too_high_is_not_accepted(node, tmp_path, capsys):
    def too_high(text, _):
        return ENERGY.sub(lambda m: f"{m[1]}{float(m[2]) * 1.05}", text)

    with agent_on(node, tmp_path) as (_, url), forged(url, too_high) as wrong:
        code, out = accept(node, capsys, "--url", wrong, seconds=24)
    assert code == 1
    assert "energy" in failed(out)
    assert "Not accepted: " in out


def test_a_killed_agent_is_not_accepted(node, tmp_path, capsys):
    path = tmp_path / "result.jsonl"
    with agent_on(node, tmp_path) as (process, url):

        def kill(text, number):
            if number > 6:
                process.kill()
            return text

        with forged(url, kill) as watched:
            code, out = accept(node, capsys, "--url", watched, "--out", path, "--state", tmp_path, seconds=24)
    assert code == 1
    assert "readings" in failed(out)
    assert "UNSIGNED" in out
    assert read(path).result.accepted is False


@pytest.mark.smoke
def test_an_agent_that_is_older_than_its_figures_is_not_accepted(node, tmp_path, capsys):
    """Another agent took its place: its counts begin again."""

    def replaced(text, number):
        return re.sub(r"^(wattlens_ledger_commits_total) .*$", rf"\1 {number % 8}", text, flags=re.M)

    with agent_on(node, tmp_path) as (_, url), forged(url, replaced) as wrong:
        code, out = accept(node, capsys, "--url", wrong, seconds=16)
    assert code == 1
    assert "restarts" in failed(out)


def test_a_counter_that_restarts_is_not_accepted(node, tmp_path, capsys):
    with agent_on(node, tmp_path) as (_, url), node.plant() as plant:

        def reset(text, number):
            if number == 6:
                plant.fault(0, "counter_reset")
            return text

        with forged(url, reset) as watched:
            code, out = accept(node, capsys, "--url", watched, seconds=16)
    assert code == 1
    assert {"counter resets", "GPUs compared"} <= failed(out)
    assert "the raw counter restarted" in out


def test_an_endpoint_of_something_else_is_refused(node, capsys):
    (url,) = [w["metrics_url"] for w in node.state()["workloads"] if w["metrics_url"]]
    code, out = accept(node, capsys, "--url", url)
    assert (code, out) == (1, "")


# ---- the file ----


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b'"simulated":true', b'"simulated":false', "the signature does not fit"),
        (b'"accepted":true', b'"accepted":false', "the signature does not fit"),
        (b'"label":"lab 1"', b'"label":"lab|1"', "label"),
        (b'"label":"lab 1"', b'"label":"lab 1","host":"a"', "host"),
        (b'"kind":"acceptance"', b'"kind": "acceptance"', "canonical"),
        (b'"signature":"', b'"signature":"0', "signature"),
    ],
)
def test_a_changed_file_is_refused(accepted, before, after, reason):
    data = accepted[1].read_bytes()
    assert before in data
    assert reason in refusal(decode, data.replace(before, after, 1), "file")


def test_figures_and_verdict_of_an_unsigned_file_belong_together(accepted):
    line = accepted[1].read_bytes().split(b"\n")[0] + b"\n"
    unsigned = re.sub(rb'"key":"[0-9a-f]{64}"', b'"key":""', line)
    assert not decode(unsigned, "file").is_signed
    assert "expected a signature" in refusal(decode, line, "file")
    for before, after in ((rb'"covered":\d+', b'"covered":1'), (rb'"expected":"all"', b'"expected":"none"')):
        assert "criteria" in refusal(decode, re.sub(before, after, unsigned, count=1), "file")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n", b"{}\n", b"[" * 100_000 + b"\n", b"\xff\n", b"{}\n{}\n{}\n", b"{" * MAX_B + b"\n", b'{"schema":1e999}\n',
        b'{"gpus":[' + b"{}," * 1000 + b"{}]}\n",
    ],
)  # fmt: skip
def test_hostile_files_are_refused(data):
    with pytest.raises(UsageError) as caught:
        decode(data, "file")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "x"], ["--engine", "http://127.0.0.1:1/metrics"], ["--acceptance", "--for", "5s"],
        ["--acceptance", "--label", "a|b"], ["--acceptance", "--out", "/nowhere/x"], ["--acceptance", "--key", "/nowhere/key"],
        ["--acceptance", "--sensors"], ["--acceptance", "--out", __file__],
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_exit_2(arguments, capsys):
    assert main(["doctor", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1


@pytest.mark.smoke
def test_json_has_the_result(node, capsys):
    code, out = accept(node, capsys, "--json")
    body = json.loads(out)
    assert (code, body["accepted"]) == (0, True)
    assert body["kind"] == "acceptance"
    assert [c["name"] for c in body["criteria"]][:3] == ["GPUs compared", "energy", "intervals"]
