"""Counting in the training process: exact, out of the way, and the same after forks, execs and whatever is handed to it."""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from energy_agent.core.workloads.training_report import RATE_MAX, parse
from energy_agent.sdk.ranks import RankPosition, place_of
from energy_agent.sdk.training.step_counter import Counter, complain, guarded, parse_token_count


class Silent:
    """A reporter that does not send reports."""

    started = True


def quiet_counter():
    counter = Counter()
    counter.reporter = Silent()
    return counter


calls = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(0, 300_000), st.none() | st.floats() | st.integers()),
        st.tuples(st.sampled_from(["enter", "leave"]), st.sampled_from(["evaluation", "checkpoint", "mine"])),
        st.tuples(st.just("waited"), st.sampled_from(["evaluation", "checkpoint"]), st.floats(0, 100)),
    ),
    max_size=30,
)


@given(calls)
@example([("step", 1, 1.7e308), ("step", 1, -1.7e308)])
def test_counts_are_those_of_the_calls_and_the_agent_takes_them(sequence):
    counter, steps, tokens, doing, waits = quiet_counter(), {}, 0, ["training"], {}
    for name, *arguments in sequence:
        if name == "step":
            counter.step(*arguments)
            steps[doing[-1]] = steps.get(doing[-1], 0) + 1
            tokens += arguments[0] if doing[-1] == "training" else 0
        else:
            getattr(counter, name)(*arguments)
            if name == "enter":
                doing.append(arguments[0])
            elif name == "leave" and arguments[0] in doing:
                del doing[len(doing) - 1 - doing[::-1].index(arguments[0])]
            elif name == "waited" and arguments[1] >= 1.0:
                waits[arguments[0]] = waits.get(arguments[0], 0.0) + arguments[1]
    report = json.loads(json.dumps(counter.as_report(), allow_nan=False))
    assert (report["steps"], report["tokens"], report["doing"]) == (steps, tokens, doing[-1])
    assert report["waits"] == pytest.approx(waits, abs=1e-3)
    assert parse(report).tokens == tokens


def in_threads(*calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def test_no_step_is_lost_between_threads_and_a_phase_of_one_takes_none_of_another():
    counter, inside, over = quiet_counter(), threading.Event(), threading.Event()
    for thread in in_threads(*[lambda: [counter.step(3, None) for _ in range(20_000)]] * 4):
        thread.join()
    assert (counter.as_report()["steps"], counter.as_report()["tokens"]) == ({"training": 80_000}, 240_000)

    def checkpoint():
        counter.enter("checkpoint")
        counter.step(5, None)
        inside.set()
        over.wait(60)
        counter.leave("checkpoint")
        counter.step(7, None)

    counter = quiet_counter()
    (thread,) = in_threads(checkpoint)
    assert inside.wait(60)
    counter.step(100, None)
    report = counter.as_report()
    over.set()
    thread.join()
    counter.enter("evaluation")
    counter.step(1, None)
    assert (report["steps"], report["tokens"], report["doing"]) == ({"checkpoint": 1, "training": 1}, 100, "training")
    report = counter.as_report()
    steps = {"checkpoint": 1, "training": 2, "evaluation": 1}
    assert (report["steps"], report["tokens"], report["doing"]) == (steps, 107, "evaluation")


class OnAGpu:
    """A tensor whose value must not be read."""

    class device:  # noqa: N801
        type = "cuda"

    def detach(self):
        return self

    def __float__(self):
        raise AssertionError("that waits for the GPU")


def test_a_loss_that_is_no_number_at_hand_is_left_out():
    for loss in (OnAGpu(), "word", [1, 2], float("nan"), float("inf"), object(), None):
        counter = quiet_counter()
        counter.step(0, loss)
        assert counter.as_report()["loss"] is None


class Count:
    """As numpy's integers, and tensors of one number on the CPU."""

    def __int__(self):
        return 4096


def test_tokens_that_cannot_be_are_left_out_with_one_line_and_spoil_nothing(capsys, monkeypatch):
    for tokens in (
        20_000_000_000_000, 10**30, 1e30, -5000, -1.0, float("nan"), float("inf"), "many", "12", b"1", None, [1], OnAGpu(),
    ):  # fmt: skip
        monkeypatch.setattr("energy_agent.sdk.training.step_counter._hinted", set())
        counter = quiet_counter()
        for each in (1_000, tokens, 1_000, tokens, 1_000.0, Count()):
            counter.step(each, None)
        report = counter.as_report()
        assert (report["steps"], report["tokens"]) == ({"training": 6}, 3_000 + 4096), tokens
        assert parse(json.loads(json.dumps(report))).tokens == 7_096
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("wattlens: the tokens of a step were not counted: tokens=: ")


@given(st.lists(st.integers(0, 10**13)), st.floats(0, 1e9))
def test_agent_accepts_every_accepted_token_count(steps, age_s):
    total = 0
    for tokens in steps:
        with suppress(ValueError):
            total += parse_token_count(tokens, total, age_s)
    assert total <= RATE_MAX * (age_s + 1)


PATIENT = """
from energy_agent.sdk.training import reporter
reporter._FLUSH_S = 600.0  # a busy machine takes longer than a second for the last report, which is not left out
"""


def python(code, **environ):
    return subprocess.run(
        [sys.executable, "-c", PATIENT + code], env=os.environ | {"WATTLENS_AGENT_SOCKET": "/nonexistent/s"} | environ,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_without_agent_and_gpu_training_goes_on_with_one_hint():
    done = python("""
import wattlens
run = wattlens.training(model="m")
for k in range(100):
    run.step(tokens=10, loss=1.0 / (k + 1))
with wattlens.phase("checkpoint"): pass
wattlens.step(tokens="many"); wattlens.step(tokens=-5); wattlens.step(loss="x")
with run: pass
report = run.status()
print(report.steps, report.tokens, report.joules, bool(report.reason), report.joules_per_token)
""")
    assert (done.returncode, done.stdout) == (0, "103 1000 None True None\n"), done.stderr
    assert done.stderr.count("no agent responds") == 1
    assert done.stderr.count("wattlens: 103 steps, 1,000 tokens; energy not measured: ") == 1
    assert len(done.stderr.splitlines()) == 3  # the "many" tokens were not counted, with a single message


def test_the_line_at_the_end_is_of_rank_0_with_steps_and_can_be_switched_off():
    code = "import wattlens; wattlens.training(quiet={}); [wattlens.step(tokens=5) for _ in range({})]"
    for quiet, steps, environ, lines in (
        (False, 3, {}, 1), (True, 3, {}, 0), (False, 0, {}, 0), (False, 3, {"WATTLENS_SUMMARY": "0"}, 0),
        (False, 3, {"RANK": "0", "WORLD_SIZE": "2"}, 1), (False, 3, {"RANK": "1", "WORLD_SIZE": "2"}, 0),
    ):  # fmt: skip
        done = python(code.format(quiet, steps), **environ)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.count(" steps, ") == lines, (quiet, steps, environ, done.stderr)


def test_a_forked_child_counts_anew_and_the_parent_goes_on():
    done = python("""
import os, wattlens
from energy_agent.sdk.training.step_counter import counter
for _ in range(10): wattlens.step(tokens=1)
run = counter().as_report()["run"]
pid = os.fork()
if not pid:
    wattlens.step(tokens=1)
    report = counter().as_report()
    os._exit(0 if report["steps"] == {"training": 1} and report["run"] != run else 1)
_, status = os.waitpid(pid, 0)
wattlens.step(tokens=1)
print(status, counter().as_report()["steps"], counter().as_report()["run"] == run)
""")
    assert done.stdout == "0 {'training': 11} True\n", done.stderr


def test_hook_error_is_reported_and_not_raised(capsys, monkeypatch):
    @guarded
    def hook():
        raise RuntimeError("no")

    monkeypatch.setattr("energy_agent.sdk.training.step_counter._hinted", set())
    assert hook() is None
    hook()
    complain(ValueError("again"))
    assert capsys.readouterr().err == "wattlens: a step was not counted: RuntimeError: no\n"


def test_launchers_say_which_rank_a_process_is():
    elastic = {"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "h"}
    for environ, place in (
        ({}, RankPosition()), ({"RANK": "3"}, RankPosition()), ({"RANK": "9", "WORLD_SIZE": "8"}, RankPosition()),
        ({"RANK": "x", "WORLD_SIZE": "8"}, RankPosition()),
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "h"}, RankPosition()),
        (elastic | {"MASTER_PORT": "29500"}, RankPosition(3, 8, "h:29500")),
        (elastic | {"TORCHELASTIC_RUN_ID": "job7"}, RankPosition(3, 8, "job7")),
        (elastic | {"TORCHELASTIC_RUN_ID": "none"}, RankPosition(3, 8, "h:")),
        (elastic | {"TORCHELASTIC_RUN_ID": ""}, RankPosition(3, 8, "h:")),
        ({"RANK": "3", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": " None ", "SLURM_JOB_ID": "7"},
         RankPosition(3, 8, "slurm-7.0")),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "42"}, RankPosition(1, 2, "slurm-42.0")),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_ess_base_jobid": "5"},
         RankPosition(1, 2, "mpi-5")),
    ):  # fmt: skip
        assert place_of(environ) == place, environ
