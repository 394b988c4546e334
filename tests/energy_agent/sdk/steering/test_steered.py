"""A job over several nodes: one agent leads, the others get its settings as requests, and all ranks change at the same step."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sdk.ranks import local_rank_of
from energy_agent.sdk.steering import request
from energy_agent.sdk.steering.request import in_force
from energy_agent.sdk.steering.steered import steered
from tests.doubles.agent import Agent, serving
from tests.support import eventually

# A rank of a job without PyTorch: the user's own broadcast is a pipe, which also announces the last step to all ranks. The rank
# prints the steps at which it broadcast, and its number of steps.
RANK = """
import functools, json, os, sys, time
from energy_agent.sdk.steering import request
request._WITHDRAW_S = 60.0
request.ask = functools.partial(request.ask, within_s=60.0)  # as long as a busy machine may need for an answer
request._TURN_S, request._RENEW_S, request._OTHERS_S, request._FOLLOWS_S = 0.02, 0.1, 0.3, float(os.environ["FOLLOWS_S"])
import wattlens
rank, ends, called = int(sys.argv[1]), [int(fd) for fd in sys.argv[2].split(",")], []
pipe = os.fdopen(ends[0]) if rank else None
step, over = 0, False
def broadcast(message):
    global over
    called.append(step)
    with open(f"{sys.argv[3]}-broadcasts-{rank}", "a") as file:
        file.write(".")
    if rank:
        line = pipe.readline()
        over = line.startswith("over")
        return json.loads(line.removeprefix("over"))
    over = os.path.exists(sys.argv[3])
    for end in ends:
        os.write(end, b"over" * over + json.dumps(message).encode() + b"\\n")
    return message
steer = wattlens.steered(broadcast, every_s=0.2, rank=rank)
while not over and not (rank and os.path.exists(sys.argv[3] + "-alone")):
    time.sleep(0.005)
    steer.step()
    step += 1
print(json.dumps([called, step]))
"""


LIMIT_S = 60.0


class Job:
    """Ranks as processes; each has the socket of its node's agent. They train until they are to end."""

    def __init__(self, folder: Path, agents: list[Agent], local_ranks: list[int], follows_s: float = LIMIT_S) -> None:
        self._over = folder / "over"
        pipes = [os.pipe() for _ in agents[1:]]
        self.ranks = []
        for rank, (agent, local) in enumerate(zip(agents, local_ranks, strict=True)):
            ends = [end for _, end in pipes] if rank == 0 else [pipes[rank - 1][0]]
            command = [sys.executable, "-c", RANK, str(rank), ",".join(map(str, ends)), str(self._over)]
            ours = {"WATTLENS_AGENT_SOCKET": str(agent.path), "LOCAL_RANK": str(local), "FOLLOWS_S": str(follows_s)}
            self.ranks.append(subprocess.Popen(
                command, env=os.environ | ours, pass_fds=ends, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ))  # fmt: skip
        for end in chain(*pipes):
            os.close(end)

    def ended(self) -> list[tuple[tuple[list[int], int], str]]:
        """End it: at which steps each rank broadcast and how many it made, and what it said."""
        self._over.touch()
        results = []
        for child in self.ranks:
            out, errors = child.communicate()
            assert child.returncode == 0, errors
            called, steps = json.loads(out)
            results.append(((called, steps), errors))
        return results

    def meet(self, times: int) -> None:
        """Wait for so many broadcasts more."""
        for rank in range(len(self.ranks)):
            path = self._over.with_name(f"over-broadcasts-{rank}")
            eventually(path.exists, LIMIT_S)
            wanted = path.stat().st_size + times
            eventually(lambda path=path, wanted=wanted: path.stat().st_size >= wanted, LIMIT_S)  # type: ignore[misc]

    def end_without_the_first(self) -> None:
        """Let the other ranks end, which nobody broadcasts to any more."""
        self._over.with_name("over-alone").touch()


def asks_for(agent: Agent, clock_mhz: int) -> None:
    """Wait until the agent receives a request for that clock."""
    eventually(lambda: agent.asked.get("sm_clock_max_mhz") == clock_mhz, LIMIT_S)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Agent]]:
    agents = [Agent(tmp_path / f"s{n}", f"GPU-{n}") for n in range(2)]
    for n, agent in enumerate(agents):
        agent.node = f"node-{n}"
    with serving(agents[0]), serving(agents[1]):
        yield agents


def words(agent: Agent) -> list[dict[str, object]]:
    """Return the requests to an agent, without repetitions."""
    requests: list[dict[str, object]] = []
    for post in agent.posts:
        word = {k: v for k, v in post.items() if k != "ttl_s"}
        if word != (requests[-1] if requests else None):
            requests.append(word)
    return requests


def test_other_nodes_follow_the_first_and_all_ranks_meet_at_the_same_steps(tmp_path: Path, nodes: list[Agent]) -> None:
    lead, other = nodes
    lead.clock_mhz = 1200
    job = Job(tmp_path, [lead, other], [0, 0])
    asks_for(other, 1200)
    lead.clock_mhz = 1005
    asks_for(other, 1005)
    lead.clock_mhz = None  # back to the original setting
    eventually(lambda: other.posts[-1] == {"ttl_s": 1}, LIMIT_S)
    (first, first_errors), (second, second_errors) = job.ended()
    assert first == second
    broadcasts, steps = first
    assert len(broadcasts) < steps
    assert first_errors == second_errors == ""
    assert words(lead) == [{"lead": True}, {}]
    assert words(other) == [{"sm_clock_max_mhz": 1200}, {"sm_clock_max_mhz": 1005}, {}]


def test_shadow_mode_applies_nothing_and_sends_no_requests(tmp_path: Path, nodes: list[Agent]) -> None:
    nodes[0].mode, nodes[0].clock_mhz = "shadow", 1200
    job = Job(tmp_path, nodes, [0, 0])
    eventually(lambda: nodes[0].posts and nodes[1].paths, LIMIT_S)
    job.meet(times=4)
    job.ended()
    assert nodes[1].posts == []


def test_a_second_rank_of_a_node_speaks_only_where_it_is_a_workload_of_its_own(tmp_path: Path, nodes: list[Agent]) -> None:
    """Four ranks: one on the first node, two of one pod on the second, and one there that is its own workload."""
    lead, other = nodes
    lead.clock_mhz = 1200
    alone = Agent(tmp_path / "s3", "GPU-3")
    alone.node = other.node
    with serving(alone):
        job = Job(tmp_path, [lead, other, other, alone], [0, 0, 1, 2])
        for agent in (other, alone):
            asks_for(agent, 1200)
        job.ended()
    assert words(other)[0] == {"sm_clock_max_mhz": 1200}


def test_ranks_beside_the_first_do_not_ask_for_what_its_agent_decides(tmp_path: Path, nodes: list[Agent]) -> None:
    lead, other = nodes
    lead.clock_mhz, other.node = 1200, lead.node  # another workload of the same node
    job = Job(tmp_path, [lead, other], [0, 1])
    eventually(lambda: other.posts, LIMIT_S)
    job.meet(times=2)
    job.ended()
    assert words(other) in ([{"lead": True}, {}], [{"lead": True}])


def test_when_the_first_rank_dies_the_others_take_back_their_word_and_train_on(tmp_path: Path, nodes: list[Agent]) -> None:
    lead, other = nodes
    lead.clock_mhz = 1200
    job = Job(tmp_path, [lead, other], [0, 0])
    asks_for(other, 1200)
    os.kill(job.ranks[0].pid, signal.SIGKILL)
    job.ranks[0].communicate()
    eventually(lambda: other.posts[-1] == {"ttl_s": 1}, LIMIT_S)
    job.end_without_the_first()
    _, errors = job.ranks[1].communicate()
    assert job.ranks[1].returncode == 0
    assert errors.count("\n") == 1
    assert errors.startswith("wattlens: this job is no longer steered across its nodes: ")


def test_a_node_that_does_not_follow_is_named_once(tmp_path: Path, nodes: list[Agent]) -> None:
    lead, other = nodes
    lead.clock_mhz, other.mode = 1200, "observe"
    job = Job(tmp_path, nodes, [0, 0], follows_s=1.0)
    assert job.ranks[1].stderr is not None
    assert job.ranks[1].stderr.readline() == (
        "wattlens: a node of a steered job does not apply the setting: node-1: its mode is observe; see the agent's log\n"
    )
    posts = len(other.posts)
    # the job sends the request again, and the node still does not follow
    eventually(lambda: len(other.posts) > posts + 1, LIMIT_S)
    assert [errors for _, errors in job.ended()] == ["", ""]


def test_without_an_agent_the_job_trains_on(tmp_path: Path) -> None:
    nowhere = [Agent(tmp_path / f"none{n}") for n in range(2)]
    job = Job(tmp_path, nowhere, [0, 0])
    for child in job.ranks:
        assert child.stderr is not None
        assert "no agent responds" in child.stderr.readline()
    job.meet(times=2)
    assert [errors for _, errors in job.ended()] == ["", ""]


@pytest.fixture
def _no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run without an agent and without the hint that no agent responds."""
    monkeypatch.setenv("WATTLENS_AGENT_SOCKET", str(tmp_path / "none"))
    monkeypatch.setattr("energy_agent.sdk.training.step_counter._hinted", {"no agent responds on a node of a steered job"})


@pytest.mark.usefixtures("_no_agent")
@pytest.mark.parametrize("broadcast", [
    lambda _: None, lambda _: {}, lambda _: {"steps": "x", "node": "", "setting": {}}, lambda _: 1 / 0,
])  # fmt: skip
def test_failed_broadcast_is_reported_once_and_costs_no_step(capsys, broadcast) -> None:
    steer = steered(broadcast, rank=1)
    for _ in range(100):
        steer.step()
    assert capsys.readouterr().err.count("\n") == 1
    steer.step()
    assert steer.setting == {}


@pytest.mark.usefixtures("_no_agent")
def test_more_ranks_without_a_way_to_reach_them_are_named(capsys, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with steered() as steer:
        steer.step()
    assert (
        "torch.distributed is not initialized: call step() after its initialization, or pass broadcast="
        in capsys.readouterr().err
    )


@given(st.integers(1, 10**6), st.floats(1e-4, 1e4), st.floats(0.1, 100))
def test_broadcasts_come_about_as_often_as_wanted(steps, took_s, every_s):
    steer = steered(every_s=every_s)
    steer._steps, steer._met_s = steps, time.monotonic() - took_s
    interval = steer._next()
    assert 1 <= interval <= max(1, min(8 * steps, 1_000_000))
    if 1 < interval < min(8 * steps, 1_000_000):
        assert interval * took_s / steps == pytest.approx(every_s, rel=0.51)


def test_of_gpus_that_differ_the_slowest_counts():
    def status_of(*settings):
        return {"devices": [{"uuid": str(n), "setting": s} for n, s in enumerate(settings)]}

    assert in_force(status_of({"sm_clock_max_mhz": 1200}, {"sm_clock_max_mhz": 1005})) == {"sm_clock_max_mhz": 1005}
    assert in_force(status_of({"sm_clock_max_mhz": 1200}, {})) == in_force(status_of()) == in_force({}) == {}
    assert request._RENEW_S * 3 < request.TTL_S < 60  # a word outlives what renews it by little
    for environ, rank in (({}, 0), ({"LOCAL_RANK": "3"}, 3), ({"LOCAL_RANK": "x", "SLURM_LOCALID": "2"}, 2),
                          ({"OMPI_COMM_WORLD_LOCAL_RANK": "1"}, 1)):  # fmt: skip
        assert local_rank_of(environ) == rank
