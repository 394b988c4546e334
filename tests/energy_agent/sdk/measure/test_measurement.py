"""`measure` in real processes on a plant: nested, threads, fork, faults, nothing to read; its sampler ends with its process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.energy_agent.agents import alive
from tests.energy_agent.nodes import environ_of, make_plant
from tests.support import eventually, refusal
from wattlens import measure

PRELUDE = """
import json, os, sys, threading, time
from pathlib import Path
from energy_agent.sdk.measure import connection
from energy_agent.sim.gpu.plant import Plant
from wattlens import measure
connection.START_S = connection.ANSWER_S = 60.0  # as long as the sampler may need on a busy machine
def as_record(m):
    return {"joules": m.joules, "low": m.low, "high": m.high, "edge": m.edge_joules, "reason": m.reason, "method": m.method,
            "seconds": m.seconds, "devices": {u: [d.joules, d.reason] for u, d in m.by_device.items()}}
def fault(gpu, kind):
    with Plant.attach(Path(os.environ["WATTLENS_SIM"]) / "plant") as plant: plant.fault(gpu, kind)
"""
SHORT = "with measure() as m: time.sleep(0.15)\nprint(json.dumps(as_record(m)))"


@pytest.fixture
def node(tmp_path):
    with make_plant(tmp_path / "node", 2) as plant:
        yield tmp_path / "node", plant


def run(folder, code, **environ):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + code],
        env=environ_of(folder) | environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def idle_w(plant):
    return sum(t.power_w * t.gain for t in map(plant.truth, range(plant.count)))


def test_windows_nest_and_overlap_across_threads(node):
    folder, plant = node
    windows = run(folder, """
found = []
def work():
    with measure("thread") as t: time.sleep(0.3)
    found.append(t)
with measure("outer") as outer:
    thread = threading.Thread(target=work); thread.start()
    with measure("inner") as inner: time.sleep(0.2)
    thread.join()
print(json.dumps([as_record(outer), as_record(inner), as_record(found[0])]))
""")  # fmt: skip
    for window in windows:
        assert window["reason"] == ""
        assert window["method"] == "counter"
        assert abs(window["joules"] - idle_w(plant) * window["seconds"]) <= max(window["edge"], 0.05 * window["joules"])
        assert window["low"] < window["joules"] < window["high"]
        assert len(window["devices"]) == 2


def test_a_forked_child_has_a_sampler_of_its_own(node):
    results = run(node[0], """
with measure("parent") as m:
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        with measure("child") as c: time.sleep(0.15)
        os.write(w, json.dumps([as_record(c), m.reason]).encode()); os._exit(0)
    os.waitpid(pid, 0)
child, open_in_child = json.loads(os.read(r, 65536))
print(json.dumps([as_record(m), child, open_in_child]))
""")  # fmt: skip
    parent, child, in_child = results
    assert parent["joules"] > child["joules"] > 0
    assert in_child == "the window is still open"


def test_only_visible_devices_count_and_it_prints_as_a_person_wants_it(node):
    folder, plant = node
    assert list(run(folder, SHORT, CUDA_VISIBLE_DEVICES="1")["devices"]) == [plant.uuid(1)]
    hidden = run(folder, SHORT, CUDA_VISIBLE_DEVICES="")
    assert (hidden["joules"], hidden["reason"]) == (None, "CUDA_VISIBLE_DEVICES hides every GPU")
    hidden = run(folder, "with measure() as m: pass\nprint(json.dumps(repr(m)))", CUDA_VISIBLE_DEVICES="")
    assert hidden.endswith(" ms, not measured: CUDA_VISIBLE_DEVICES hides every GPU")
    never, is_open, ended = run(folder, """
m = measure("step"); said = [repr(m)]
with m:
    time.sleep(0.15); said.append(repr(m))
print(json.dumps([*said, repr(m)]))
""")  # fmt: skip
    assert never == "measure('step'): the window was never entered"
    assert is_open == "measure('step'): the window is still open"
    assert re.fullmatch(
        r"measure\('step'\): # ms, # J \(# to #\), all 2 GPUs, simulated, counter".replace("#", r"[\d.]+"), ended
    )


def test_a_gpu_that_is_lost_or_counts_anew_takes_its_number_and_the_sum_with_it(node):
    folder, plant = node
    before, lost, still = run(folder, """
found = []
for kind in ("", "lost", ""):
    with measure() as m:
        time.sleep(0.15)
        if kind: fault(1, kind)
        time.sleep(0.15)
    found.append(as_record(m))
print(json.dumps(found))
""")  # fmt: skip
    assert before["joules"] > 0
    for window in (lost, still):  # within it and before it
        assert window["joules"] is None
        assert "GPU_IS_LOST" in window["reason"]
        assert "GPU_IS_LOST" in window["devices"][plant.uuid(1)][1]
        assert window["devices"][plant.uuid(0)][0] > 0
        assert len(window["devices"]) == 2
    plant.clear(1, "lost")
    restarted = run(folder, """
with measure() as m:
    time.sleep(0.25)
    fault(1, "counter_reset")
    time.sleep(0.25)
print(json.dumps(as_record(m)))
""")  # fmt: skip
    assert restarted["joules"] is None
    assert restarted["devices"][plant.uuid(1)] == [None, "the energy counter was reset during the window"]


def test_without_a_driver_there_is_a_reason_and_no_number(tmp_path):
    environ = {k: v for k, v in os.environ.items() if k not in ("WATTLENS_SIM", "LD_LIBRARY_PATH")}
    code = PRELUDE + "with measure() as m: pass\nprint(json.dumps(as_record(m)))"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert (result["joules"], result["low"]) == (None, None)
    assert result["reason"]


def test_a_decorated_function_keeps_its_windows(node):
    (first, a_j), (second, b_j) = run(node[0], """
@measure
def a(x):
    "doc"
    time.sleep(0.1); return x + 1
@measure("named")
def b(): time.sleep(0.1)
assert a(1) == 2 and a.__doc__ == "doc"
b()
print(json.dumps([(f.windows[0].name, f.windows[0].joules) for f in (a, b)]))
""")  # fmt: skip
    assert (first, second) == ("a", "named")
    assert min(a_j, b_j) > 0


def rests(pid, seconds):
    """Whether it does nothing for so long: a process that runs, however shortly, waits again and so switches."""

    def switches():
        return [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "ctxt_switches" in line]

    before = switches()
    time.sleep(seconds)
    return switches() == before


def test_the_sampler_reads_nothing_without_a_window_and_dies_with_its_process(node):
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + "with measure(): time.sleep(0.1)\nprint(1, flush=True)\ntime.sleep(60)"],
        env=environ_of(node[0]), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        (child,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        eventually(lambda: rests(child, 1.0))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    eventually(lambda: not alive(child))


def test_wrong_arguments_are_refused_before_anything_runs():
    for arguments in ({"gain_uncertainty_ratio": -1}, {"gain_uncertainty_ratio": 1}, {"sync": "always"}):
        assert refusal(measure, **arguments, error=ValueError).startswith("measure: ")
    assert refusal(measure, name=3, error=TypeError).startswith("measure: ")

    def steps():
        yield 1

    async def more():
        yield 1

    for function in (steps, more):  # a generator runs while others use it
        assert "a generator" in refusal(measure("g"), function, error=TypeError)
    window = measure("x")
    assert window.tokens is None
    assert "no token count" in window.joules_per_token.reason
    window.tokens = 5
    assert window.tokens == 5
    assert "never entered" in window.joules_per_token.reason
    assert "label" in refusal(window.save, "/dev/null", labels={"no name": "x"}, error=ValueError)


def test_a_window_is_entered_once_at_a_time(node):
    result = run(node[0], """
m, said, began_s = measure("w"), [], time.monotonic()
def refused(call, *arguments):
    try: call(*arguments)
    except RuntimeError as error: said.append(str(error))
refused(m.__exit__, None, None, None)
with m:
    time.sleep(0.2)
    refused(m.__enter__)
once = as_record(m)
with m: time.sleep(0.1)
print(json.dumps({"said": said, "once": once, "again": as_record(m), "in_all_s": time.monotonic() - began_s}))
""")  # fmt: skip
    assert ["not opened" in result["said"][0], "is already open" in result["said"][1]] == [True, True]
    assert result["once"]["seconds"] >= 0.2
    assert result["again"]["seconds"] >= 0.1
    assert result["once"]["seconds"] + result["again"]["seconds"] <= result["in_all_s"]
    for window in (result["once"], result["again"]):
        assert window["low"] < idle_w(node[1]) * window["seconds"] < window["high"]


def test_importing_wattlens_is_cheap():
    code = "import sys, wattlens; print([m for m in sys.modules if m.startswith('energy_agent')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_program_counts_its_tokens_and_saves_them(node, tmp_path):
    folder, _ = node
    result = run(folder, f"""
with measure("x") as m:
    time.sleep(0.3)
    workers = [threading.Thread(target=lambda: [m.count(prompt=1, generation=2) for _ in range(1000)]) for _ in range(4)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
per = m.joules_per_token
m.save({str(tmp_path / "x.json")!r}, labels={{"precision": "int8"}})
print(json.dumps(as_record(m) | {{"tokens": m.tokens, "per": [per.joules, per.low, per.high]}}))
""")  # fmt: skip
    assert result["tokens"] == 12000
    assert result["per"] == pytest.approx([result[key] / 12000 for key in ("joules", "low", "high")])
    saved = json.loads((tmp_path / "x.json").read_text())
    assert (saved["schema"], saved["name"], saved["labels"]) == ("wattlens.measure/1", "x", {"precision": "int8"})
    assert (saved["tokens"]["generation"], saved["tokens"]["computed"], saved["tokens"]["processed"]) == (8000, 4000, 12000)
    assert saved["joules_per_token"]["generated"]["joules"] == pytest.approx(result["joules"] / 8000)
