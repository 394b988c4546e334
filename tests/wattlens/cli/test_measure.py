"""`wattlens measure` as a program, on a plant."""

import gzip
import http.server
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.doubles.page_server import PageServer
from tests.energy_agent.nodes import environ_of, make_plant

pytestmark = pytest.mark.timeout(360)

WATTLENS = [sys.executable, "-m", "wattlens"]


@pytest.fixture
def node(tmp_path):
    with make_plant(tmp_path / "node", 2):
        yield tmp_path / "node"


def run(environ, *arguments):
    return subprocess.run([*WATTLENS, *arguments], env=environ, capture_output=True, text=True, check=False)


def test_it_prints_like_time_and_passes_the_exit_code_on(node, tmp_path):
    done = run(environ_of(node), "measure", "--out", str(tmp_path / "a.json"), "--", "sh", "-c", "echo out; sleep 0.3; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "method  counter; simulated GPUs" in done.stderr
    assert ") all 2 GPUs of this machine\n" in done.stderr
    assert [f"GPU {index} " in done.stderr for index in range(3)] == [True, True, False]
    saved = json.loads((tmp_path / "a.json").read_text())
    assert saved["exit_code"] == 7
    assert saved["lower"] < saved["joules"] < saved["upper"]
    assert len(saved["devices"]) == 2
    assert sum(d["joules"] for d in saved["devices"].values()) == pytest.approx(saved["joules"])


def test_without_a_driver_the_program_runs_and_the_reason_is_printed_once(tmp_path):
    environ = {k: v for k, v in os.environ.items() if k not in ("WATTLENS_SIM", "LD_LIBRARY_PATH")}
    (tmp_path / "train.py").write_text(TRAIN + "    sys.exit(3)\n")
    done = run(environ, "measure", "--", sys.executable, str(tmp_path / "train.py"), "1")
    assert done.returncode == 3
    assert done.stderr.count("not measured: NVML is not available") == 1
    assert re.search(r"^J/step +-  20 steps$", done.stderr, re.M)
    assert "wattlens sim start" in done.stderr


def count_tokens():
    """Serve the page of an engine with vLLM's metric names, which counts ten tokens per request."""
    tokens = itertools.count(10, 10)
    line = 'vllm:generation_tokens_total{model_name="m"} '
    return PageServer(lambda: f"{line}{next(tokens)}\nvllm:num_requests_running 0\n".encode())


@pytest.fixture
def page():
    with count_tokens() as server:
        yield server.url


def test_measure_prints_joules_per_token_of_a_server(node, tmp_path, page):
    path = tmp_path / "a.json"
    options = ["--gpus", "0-1", "--tokens-from", page, "--label", "precision=int8", "--label", "batch=32", "--out", str(path)]
    done = run(environ_of(node), "measure", *options, "--", "sleep", "0.3")
    assert done.returncode == 0
    assert re.search(r"J/token +\S+  \(.*\) generated, \d+0 tokens", done.stderr)
    assert "processed: no count of processed tokens was reported" in done.stderr
    saved = json.loads(path.read_text())
    assert saved["labels"] == {"precision": "int8", "batch": "32"}
    assert saved["tokens"]["generation"] % 10 == 0  # ten for each reading after the first one
    assert saved["tokens"]["generation"] > 0
    assert saved["joules_per_token"]["generated"]["joules"] == pytest.approx(saved["joules"] / saved["tokens"]["generation"])


def test_an_endpoint_that_cannot_be_read_is_one_line_before_the_program_starts(node, tmp_path, page):
    for url, server in (("http://127.0.0.1:1/metrics", "vllm"), (page, "sglang")):
        options = ["--tokens-from", url, "--token-server", server, "--gpus", "0"]
        done = run(environ_of(node), "measure", *options, "--", "touch", str(tmp_path / "ran"))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "the program was not started" in done.stderr
        assert not (tmp_path / "ran").exists()


SERVER = """
import subprocess, sys
from tests.wattlens.cli.test_measure import serve
worker = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
serve(worker.pid)
"""


def serve(worker_pid):
    """A server whose worker, a child process, is to use the GPUs; for SERVER."""
    print(json.dumps([count_tokens().url, worker_pid]), flush=True)
    signal.pause()


@pytest.fixture
def shared_node(tmp_path):
    """Six GPUs: a server's worker on 3 and 4, this process on 0, nobody on the others."""
    with make_plant(tmp_path / "node", 6) as plant:
        server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
        try:
            url, worker = json.loads(server.stdout.readline())
            for gpu, pid in ((3, worker), (4, worker), (0, os.getpid())):
                plant.attach_process(gpu, pid, memory_b=1 << 30)
            yield tmp_path / "node", plant, url, worker
        finally:
            os.kill(worker, signal.SIGKILL)
            server.kill()
            server.communicate()


def measured(folder, tmp_path, *options, command=("sleep", "0.3")):
    path = tmp_path / "result.json"
    done = run(environ_of(folder), "measure", "--out", str(path), *options, "--", *command)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text()), done.stderr


def gpus(result):
    return [device["gpu"] for device in result["devices"].values()]


def test_tokens_of_a_server_go_with_the_gpus_of_its_processes(shared_node, tmp_path):
    folder, _, url, _ = shared_node
    result, stderr = measured(folder, tmp_path, "--tokens-from", url)
    assert (gpus(result), result["gpus"]) == ([3, 4], "GPUs 3-4, used by the server")
    tokens = result["tokens"]["generation"]
    assert result["joules_per_token"]["generated"]["joules"] == pytest.approx(result["joules"] / tokens)
    assert result["other_workloads"] == []
    assert "warning" not in stderr


SUPERVISOR = """
import json, os, socket, subprocess, sys
engines, sockets = [], [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
for server in sockets:  # as a supervisor that passes each engine its socket
    code = "from tests.wattlens.cli.test_measure import serve_socket; serve_socket(%d)" % server.fileno()
    engines.append(subprocess.Popen([sys.executable, "-c", code], pass_fds=[server.fileno()]))
urls = ["http://127.0.0.1:%d/metrics" % server.getsockname()[1] for server in sockets]
print(json.dumps([urls, [engine.pid for engine in engines]]), flush=True)
for engine in engines:
    engine.wait()
"""


def serve_socket(number):
    """An engine on a socket that it was passed; for SUPERVISOR."""
    tokens = itertools.count(100_000, 500)

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            text = f'vllm:generation_tokens_total{{model_name="m"}} {next(tokens)}\n'.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page, bind_and_activate=False)
    server.socket = socket.socket(fileno=number)
    server.serve_forever()


def test_a_supervisor_of_two_engines_gives_a_warning(tmp_path):
    with make_plant(tmp_path / "node", 3) as plant:
        supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True)
        pids = []
        try:
            urls, pids = json.loads(supervisor.stdout.readline())
            for url in urls:  # their sockets take connections before they answer
                urllib.request.urlopen(url).close()
            for gpu, pid in enumerate(pids):
                plant.attach_process(gpu, pid, memory_b=1 << 30)
            port = int(urls[1].split(":")[2].split("/")[0])
            result, stderr = measured(tmp_path / "node", tmp_path, "--tokens-from", urls[0])
            assert (gpus(result), result["other_ports"]) == ([0, 1], [port])
            assert f"warning: processes of the server also listen on port {port}: if another server is there" in stderr
            for options in (["--tokens-from", urls[0], "--tokens-from", urls[1]], ["--tokens-from", urls[0], "--gpus", "0"]):
                result, stderr = measured(tmp_path / "node", tmp_path, *options)
                assert "other_ports" not in result
                assert "warning" not in stderr
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            supervisor.kill()
            supervisor.communicate()


def test_gpus_of_other_workloads_give_a_warning_and_no_joules_per_token(shared_node, tmp_path):
    folder, plant, url, _ = shared_node
    result, stderr = measured(folder, tmp_path, "--tokens-from", url, "--gpus", "0,3-4")
    per_token = result["joules_per_token"]["generated"]
    assert (gpus(result), per_token["joules"]) == ([0, 3, 4], None)
    assert f"(pid {os.getpid()})" in per_token["reason"]
    assert stderr.count("warning: other workloads used GPU 0: ") == 1
    assert "select GPUs with --gpus or --workload (no process uses GPUs 1-2,5)\n" in stderr
    plant.attach_process(4, os.getpid(), memory_b=1 << 30)  # now on one of the server's own GPUs
    result, stderr = measured(folder, tmp_path, "--tokens-from", url)
    assert (gpus(result), result["joules_per_token"]["generated"]["joules"]) == ([3, 4], None)
    assert "warning: other workloads used GPU 4: " in stderr


def test_gpus_that_a_program_may_use_are_named_as_all_of_the_machine(shared_node, tmp_path):
    folder, _, _, worker = shared_node
    result, stderr = measured(folder, tmp_path)
    assert result["gpus"] == "all 6 GPUs of this machine"
    assert "warning: other workloads used GPUs 0,3-4: " in stderr
    assert f"(pid {worker})" in stderr
    assert "note: no process used GPUs 1-2,5; select the other GPUs with --gpus to exclude their energy" in stderr


def test_a_workload_is_measured_by_its_name(shared_node, tmp_path):
    folder, _, url, _ = shared_node
    wrong = run(environ_of(folder), "measure", "--workload", "nobody", "--", "true")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    name = re.search(rf"process-\S+-{os.getpid()}-\d+", wrong.stderr)[0]
    result, stderr = measured(folder, tmp_path, "--workload", name, "--tokens-from", url)
    assert (gpus(result), result["gpus"], "warning" in stderr) == ([0], f"GPU 0, of workload {name}", False)


def test_a_server_without_a_gpu_that_can_be_seen_needs_its_gpus_named(node, page, tmp_path):
    ran = tmp_path / "ran"
    done = run(environ_of(node), "measure", "--tokens-from", page, "--", "touch", str(ran))
    assert (done.returncode, done.stderr.count("\n"), ran.exists()) == (2, 1, False)
    assert "--gpus" in done.stderr
    assert "--workload" in done.stderr
    assert measured(node, tmp_path, "--tokens-from", page, "--gpus", "1")[0]["joules_per_token"]["generated"]["joules"] > 0


TRAIN = """
import multiprocessing, sys, time, wattlens
def train(rank, world):
    with wattlens.training(rank=rank, world=world, group="job" if world > 1 else None):
        for _ in range(20):
            wattlens.step(tokens=4096); time.sleep(0.02)
if __name__ == "__main__":
    world = int(sys.argv[1])
    ranks = [multiprocessing.get_context("spawn").Process(target=train, args=(r, world)) for r in range(1, world)]
    for each in ranks: each.start()
    train(0, world)
    for each in ranks: each.join()
"""


@pytest.mark.parametrize("world", [1, 2])
def test_steps_of_a_training_program_and_its_ranks_are_divided_by_the_command(node, tmp_path, world):
    (tmp_path / "train.py").write_text(TRAIN)
    result, stderr = measured(node, tmp_path, command=(sys.executable, str(tmp_path / "train.py"), str(world)))
    assert result["steps"] == {"steps": 20, "tokens": 20 * 4096 * world, "ranks": world, "world": world}
    assert result["joules_per_step"]["joules"] == pytest.approx(result["joules"] / 20)
    assert result["joules_per_token"]["processed"]["joules"] == pytest.approx(result["joules"] / (20 * 4096 * world))
    assert [stderr.count(text) for text in ("J/step  ", "J/token  ", "wattlens: ")] == [1, 1, 0]


def test_gpus_of_other_workloads_take_joules_per_step_away_too(shared_node, tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    result, _ = measured(shared_node[0], tmp_path, command=(sys.executable, str(tmp_path / "train.py"), "1"))
    assert (result["steps"]["steps"], result["joules_per_step"]["joules"]) == (20, None)
    assert "other workloads" in result["joules_per_step"]["reason"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_program_and_the_result_is_still_shown(node, number):
    code = (
        f"import signal, sys, time; signal.signal({int(number)}, lambda *_: sys.exit(9)); print(1, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [*WATTLENS, "measure", "--", sys.executable, "-c", code],
        env=environ_of(node), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    time.sleep(0.2)
    if number == signal.SIGINT:  # as the terminal does: to the whole group
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == 9
    assert "joules" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ("2", "is not a GPU of this machine"), ("0-9", "reaches beyond the GPUs of this machine"), ("0,0", "listed twice"),
        ("1-0", "descending range"), ("1,,2", "got ''"),
    ],
)  # fmt: skip
def test_gpus_that_the_machine_does_not_have_are_wrong_usage(node, gpus, words):
    done = run(environ_of(node), "measure", "--gpus", gpus, "--", "true")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert words in done.stderr


@pytest.mark.parametrize("kind", [None, "file", "folder"])
def test_a_program_that_cannot_run_exits_as_in_a_shell(tmp_path, kind):
    program = tmp_path / "program"
    if kind == "file":
        program.write_text("#!/bin/sh\n")
    elif kind == "folder":
        program.mkdir()
    shell = subprocess.run(["sh", "-c", str(program)], capture_output=True, check=False)
    done = run(dict(os.environ), "measure", "--out", str(tmp_path / "a.json"), "--", str(program))
    assert done.returncode == shell.returncode == (126 if kind else 127)
    assert done.stderr.count("\n") == 1
    assert f"cannot run {str(program)!r}: " in done.stderr
    assert not (tmp_path / "a.json").exists()


def test_a_program_is_looked_for_in_path():
    assert run(dict(os.environ), "measure", "--", "no-such-program-of-any-kind").returncode == 127


NODE = """
description: Two GPUs, one of them used
boards:
  - {count: 2, sku: H100-SXM5-80GB}
seed: 5
workloads:
  - {name: trainer, kind: training, gpus: [1], cgroup: systemd}
"""


def test_a_workload_of_a_simulated_node_is_measured_outside_of_its_environment(tmp_path):
    environ = {k: v for k, v in os.environ.items() if k not in ("WATTLENS_SIM", "LD_LIBRARY_PATH")}
    with SimulatedNode.start(scenario.parse(NODE.encode(), "test"), tmp_path / "node"):
        done = run(environ, "measure", "--simulate", str(tmp_path / "node"), "--workload", "trainer", "--", "sleep", "0.3")
    assert done.returncode == 0
    assert ") GPU 1, of workload trainer\n" in done.stderr


def test_a_workload_is_refused_where_nothing_lists_the_workloads_on_the_gpus(tmp_path):
    environ = {k: v for k, v in os.environ.items() if k not in ("WATTLENS_SIM", "LD_LIBRARY_PATH")}
    done = run(environ, "measure", "--workload", "trainer", "--", "touch", str(tmp_path / "ran"))
    assert (done.returncode, done.stderr.count("\n"), (tmp_path / "ran").exists()) == (2, 1, False)
    assert "neither NVML nor an agent" in done.stderr


def test_otlp_sends_the_result_as_metrics_and_as_a_span_of_the_callers_trace(node, tmp_path):
    metrics = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2", reason="needs the extra otlp")
    traces = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    requests = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            requests.append((self.path, gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environ = environ_of(node) | {"TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        to = ["--otlp", f"http://127.0.0.1:{server.server_port}", "--label", "batch=32"]
        done = run(environ, "measure", "--name", "train", *to, "--out", str(tmp_path / "a.json"), "--", "sleep", "0.3")
        server.shutdown()
    assert (done.returncode, "sent to http://127.0.0.1" in done.stderr) == (0, True), done.stderr
    saved = json.loads((tmp_path / "a.json").read_text())
    by_path = dict(requests)
    gauges = metrics.ExportMetricsServiceRequest.FromString(by_path["/v1/metrics"]).resource_metrics[0].scope_metrics[0].metrics
    assert {m.name: m.gauge.data_points[0].as_double for m in gauges} == {
        "wattlens.run.energy": saved["joules"], "wattlens.run.energy_lower": saved["lower"],
        "wattlens.run.energy_upper": saved["upper"], "wattlens.run.duration": saved["seconds"],
    }  # fmt: skip
    [span] = traces.ExportTraceServiceRequest.FromString(by_path["/v1/traces"]).resource_spans[0].scope_spans[0].spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == (
        "train", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331",
    )  # fmt: skip
    assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 == pytest.approx(saved["seconds"], abs=1e-6)
    attributes = {a.key: a.value.string_value or a.value.double_value for a in span.attributes}
    assert (attributes["wattlens.energy.joules"], attributes["wattlens.run.label.batch"]) == (saved["joules"], "32")


def test_otlp_that_fails_changes_neither_result_nor_exit_code(node):
    done = run(environ_of(node), "measure", "--otlp", "http://127.0.0.1:9", "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert "joules" in done.stderr
    assert "warning: --otlp http://127.0.0.1:9: not sent" in done.stderr
