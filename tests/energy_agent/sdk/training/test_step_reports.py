"""Steps that the processes of a program send to the `wattlens measure` above them, some of them hostile."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sdk.training import step_reports
from energy_agent.sdk.training.step_reports import VARIABLE, ReportedSteps, StepReceiver, send_report

HOSTILE = (
    b"", b"", b"{", b"[" * 8000, b"null", b"\xff" * 100, b"{}", json.dumps({"run": "x"}).encode(), b"9" * 7000, b" " * 100_000,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _patience():
    """A busy machine may let a full queue, and the reader at the end, wait for longer than a training program does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_reports, "_SEND_S", 60.0)
        patch.setattr(step_reports, "_END_S", 60.0)
        yield


def report(run=0, steps=1, tokens=0, rank=0, world=1, group="", age_s=1.0, **more):
    fields = {
        "run": f"{run:016x}",
        "age_s": age_s,
        "steps": {"training": steps},
        "tokens": tokens,
        "rank": rank,
        "world": world,
    }
    return fields | {"group": group} | more


def received(*reports):
    with StepReceiver() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, receiver.environ[VARIABLE])
        for each in reports:
            if isinstance(each, bytes):
                with (
                    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
                    suppress(OSError),
                ):  # larger than the kernel takes
                    sender.sendto(each, receiver.environ[VARIABLE])
            else:
                assert send_report(each)
    return receiver.total()


def test_the_last_report_of_a_process_counts():
    reports = [report(steps=5, tokens=50), report(steps=9, tokens=90, age_s=2.0), report(steps=7, tokens=70, age_s=1.5)]
    assert received(*reports) == ReportedSteps(9, 90, 1, 1)
    assert received() is received(report(steps=0, tokens=5)) is None


def test_ranks_of_a_job_take_a_step_together_and_jobs_one_after_the_other():
    first = [report(run=r, steps=10, tokens=100, rank=r, world=4, group="a") for r in range(4)]
    restarted = [report(run=9, steps=5, tokens=50, rank=0, world=4, group="a")]
    other = [report(run=20 + r, steps=3, tokens=30, rank=r, world=2, group="b") for r in range(2)]
    alone = [report(run=30 + r, steps=2, tokens=20) for r in range(2)]
    assert received(*first, *restarted, *other, *alone) == ReportedSteps(15 + 3 + 4, 550, 4, 4)


def test_hostile_datagrams_change_nothing():
    absurd = [report(run=1, steps=1 << 52), report(run=2, tokens=1 << 52), report(run=3, steps=-1), report(run=4, steps="9")]
    absurd += [report(run=5, extra=1), report(run=6, group="x" * 500), report(run=7, rank=1 << 30)]
    assert received(*HOSTILE, report(run=8, steps=4, tokens=40), *absurd, *HOSTILE) == ReportedSteps(4, 40, 1, 1)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 100)), min_size=1, max_size=20))
def test_tokens_are_the_sum_of_all_processes_and_steps_those_of_the_fastest_rank(processes):
    ranks = Counter()
    for rank, steps in processes:
        ranks[rank] += steps
    reports = (report(run, steps, 2 * steps, rank, 4, "job") for run, (rank, steps) in enumerate(processes))
    assert received(*reports) == ReportedSteps(max(ranks.values()), 2 * sum(ranks.values()), len(ranks), 4)


def test_the_socket_is_its_user_s_alone_and_goes_with_the_program():
    with StepReceiver() as receiver:
        folder = Path(receiver.environ[VARIABLE]).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_without_a_receiver_nothing_is_sent(monkeypatch):
    assert not send_report(report())
    for path in ("", "/nonexistent/steps", "/tmp", "x" * 300):
        monkeypatch.setenv(VARIABLE, path)
        assert not send_report(report())


PROGRAM = """
import sys, wattlens
wattlens.step(tokens=10)
sys.stdin.readline()
for _ in range(19):
    wattlens.step(tokens=10)
"""


def test_an_agent_that_does_not_answer_costs_no_step(tmp_path):
    """The thread that reports waits for the agent, when the program has ended already."""
    with StepReceiver() as receiver, socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent.sock"))
        agent.listen()
        environ = os.environ | receiver.environ | {"WATTLENS_AGENT_SOCKET": str(tmp_path / "agent.sock")}
        program = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environ, stdin=subprocess.PIPE)
        with agent.accept()[0]:
            program.communicate(b"\n")
        assert program.returncode == 0
    assert receiver.total() == ReportedSteps(20, 200, 1, 1)
