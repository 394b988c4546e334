"""The optimizer of energy_agent.sdk.zeus compared with Zeus itself, in Hugging Face's Trainer, and under data parallelism."""

import inspect
import json
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sdk.zeus import optimizer, profile
from energy_agent.sdk.zeus.optimizer import PowerLimitMeasurement
from energy_agent.sdk.zeus.power_limit import TTL_S
from tests.doubles.agent import Agent, serving
from tests.support import eventually, need_module

pytestmark = [pytest.mark.peer, pytest.mark.timeout(480)]


@pytest.fixture(scope="module")
def zeus():
    need_module("zeus")
    import zeus.optimizer.power_limit as module

    return module


limits = st.lists(st.integers(100, 1000), min_size=1, max_size=20, unique=True).map(lambda found: sorted(found, reverse=True))
amounts = st.one_of(st.floats(1e-3, 1e6), st.sampled_from([1.0, 2.0, 4.0]))  # equal ones too
tables = limits.flatmap(
    lambda found: st.tuples(*(st.tuples(st.just(limit), amounts, amounts) for limit in found)).map(list)
)  # fmt: skip
selectors = st.one_of(
    st.just(("Energy", ())),
    st.just(("Time", ())),
    st.tuples(st.just("ZeusCost"), st.tuples(st.floats(0, 1), st.integers(1, 64))),
    st.tuples(st.just("MaxSlowdownConstraint"), st.tuples(st.floats(1, 3))),
)


@given(tables, selectors)
def test_selectors_pick_what_zeus_picks(zeus, table, selector):
    name, arguments = selector
    theirs = [zeus.PowerLimitMeasurement(power_limit=w, energy=j, time=s) for w, j, s in table]
    ours = [PowerLimitMeasurement(w, j, s) for w, j, s in table]
    picked = getattr(zeus, name)(*arguments).select(theirs)
    mine = getattr(optimizer, name)(*arguments)
    assert mine.select(ours) == picked
    assert mine.select(theirs) == picked  # a table of Zeus
    assert getattr(zeus, name)(*arguments).select(ours) == picked  # a selector of Zeus


@pytest.mark.parametrize(("name", "arguments"), [
    ("ZeusCost", (-0.1,)), ("ZeusCost", (1.1,)), ("ZeusCost", (0.5, 0)), ("MaxSlowdownConstraint", (0.9,)),
])  # fmt: skip
def test_what_zeus_refuses_is_refused(zeus, name, arguments):
    for module in (zeus, optimizer):
        with pytest.raises(ValueError):
            getattr(module, name)(*arguments)


def assert_arguments_are_zeus_s(zeus, name):
    theirs = inspect.signature(getattr(zeus, name).__init__).parameters
    ours = inspect.signature(getattr(optimizer, name).__init__).parameters
    assert list(ours)[: len(theirs)] == list(theirs), name
    for parameter, told in theirs.items():
        if told.default is not inspect.Parameter.empty:
            assert ours[parameter].default == told.default, (name, parameter)


def test_names_and_arguments_are_zeus_s(zeus):
    for name in ("GlobalPowerLimitOptimizer", "ZeusCost", "MaxSlowdownConstraint"):
        assert_arguments_are_zeus_s(zeus, name)
    for event in ("on_epoch_begin", "on_epoch_end", "on_step_begin", "on_step_end", "on_train_begin", "on_train_end"):
        assert callable(getattr(optimizer.GlobalPowerLimitOptimizer, event))


def test_arguments_of_the_trainer_s_callback_are_zeus_s(zeus):
    need_module("transformers")
    assert_arguments_are_zeus_s(zeus, "HFGlobalPowerLimitOptimizer")


def test_each_reads_the_other_s_profile(zeus, tmp_path):
    ours = [PowerLimitMeasurement(300, 5210.5, 12.25, 40.0), PowerLimitMeasurement(275, 5000.0, 12.5)]
    profile.write(tmp_path / "ours.json", ours)
    theirs = zeus._PowerLimitMeasurementList.parse_file(tmp_path / "ours.json").measurements
    assert [(m.power_limit, m.energy, m.time) for m in theirs] == [(m.power_limit, m.energy, m.time) for m in ours]
    (tmp_path / "theirs.json").write_text(zeus._PowerLimitMeasurementList(measurements=theirs).json(indent=4))
    read = profile.read(tmp_path / "theirs.json")
    assert read == [PowerLimitMeasurement(m.power_limit, m.energy, m.time) for m in ours]


TRAINER = """
import sys, tempfile, time
import torch, transformers
from energy_agent.sdk.zeus import power_limit
power_limit._POLL_S = 0.01
from energy_agent.sdk.zeus.optimizer import Energy, HFGlobalPowerLimitOptimizer
torch.set_num_threads(1)

class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(4, 2)
    def forward(self, x, labels=None):
        time.sleep(0.002)
        logits = self.head(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

callback = HFGlobalPowerLimitOptimizer(None, Energy(), warmup_steps=2, profile_steps=5, pl_step=250, min_window_s=0)
assert isinstance(callback, transformers.TrainerCallback)
rows = [{"x": torch.randn(4), "labels": torch.tensor(i % 2)} for i in range(240)]
with tempfile.TemporaryDirectory() as folder:
    args = transformers.TrainingArguments(
        folder, num_train_epochs=8, per_device_train_batch_size=2, gradient_accumulation_steps=2, use_cpu=True, report_to=[],
        disable_tqdm=True, save_strategy="no", logging_strategy="no", remove_unused_columns=False,
    )
    trainer = transformers.Trainer(Tiny(), args, train_dataset=rows, callbacks=[callback])
    trainer.train()
made = callback.optimizer
best = Energy().select(made.measurements)  # which one that is depends on the load of the machine
print([m.power_limit for m in made.measurements], made.optimal_power_limit_w == best, trainer.state.global_step)
"""


def test_hugging_face_s_trainer_sweeps_and_lets_go_at_its_end(tmp_path):
    for module in ("torch", "transformers", "accelerate"):
        need_module(module)
    with serving(Agent(tmp_path / "s")) as agent:
        done = subprocess.run(
            [sys.executable, "-c", TRAINER], env=os.environ | {"WATTLENS_AGENT_SOCKET": str(tmp_path / "s")},
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[700, 450, 200] True 480"
        assert agent.limits[:3] == [700.0, 450.0, 200.0]
        eventually(lambda: agent.in_force_w is None, TTL_S + 2)  # a word that a busy machine lost ends by itself
        assert "wattlens" not in done.stderr


RANK = """
import json, sys, time
import torch.distributed as dist
from energy_agent.sdk.zeus import power_limit
power_limit._POLL_S = 0.01
from energy_agent.sdk.zeus.optimizer import GlobalPowerLimitOptimizer, MaxSlowdownConstraint
rank, step_s = int(sys.argv[1]), float(sys.argv[3])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
made = GlobalPowerLimitOptimizer(
    None, MaxSlowdownConstraint(1.2), warmup_steps=2, profile_steps=20, pl_step=250, profile_path=sys.argv[4], min_window_s=0
)
for step in range(100_000):
    made.on_step_begin()
    time.sleep(step_s)
    dist.barrier()  # as a step of data parallel training
    if step % 300 == 299:
        made.on_epoch_end()
    if made.done:
        break
print(json.dumps([step, made.optimal_power_limit_w, [[m.power_limit, m.energy, m.time] for m in made.measurements]]))
time.sleep(0.5)
dist.destroy_process_group()
"""


@pytest.mark.parametrize("shared", [False, True], ids=["two nodes", "one pod"])
def test_ranks_measure_and_choose_as_one(tmp_path, shared):
    need_module("torch")
    agents = [Agent(tmp_path / f"s{n}", f"GPU-{n}") for n in range(1 if shared else 2)]
    agents[-1].delay_s = 0.3  # the slower one is waited for
    with ExitStack() as stack:
        for agent in agents:
            stack.enter_context(serving(agent))
        children = [
            subprocess.Popen(
                [sys.executable, "-c", RANK, str(rank), str(tmp_path / "store"), step_s, str(tmp_path / f"p{rank}.json")],
                env=os.environ | {"WATTLENS_AGENT_SOCKET": str(agents[min(rank, len(agents) - 1)].path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank, step_s in ((0, "0.004"), (1, "0.008"))
        ]
        told = []
        for child in children:
            out, errors = child.communicate(timeout=120)
            assert child.returncode == 0, errors[-2000:]
            assert "wattlens" not in errors
            told.append(json.loads(out.splitlines()[-1]))
    assert told[0] == told[1]  # at the same step, too
    _, kept_w, rows = told[0]
    assert [row[0] for row in rows] == [700, 450, 200]
    # 200 W on an idle machine, as the steps of this job do not become longer.
    assert kept_w == optimizer.MaxSlowdownConstraint(1.2).select([PowerLimitMeasurement(*row) for row in rows])
    for limit, joules, seconds in rows:
        assert seconds > 20 * 0.008  # of the slowest
        assert joules == pytest.approx(len(agents) * 0.9 * limit * seconds, rel=0.15)
    assert (tmp_path / "p0.json").exists()
    assert not (tmp_path / "p1.json").exists()  # one of them writes
    for agent in agents:
        assert agent.limits == [700.0, 450.0, 200.0, 700.0, *([kept_w] if kept_w != 700 else [])]


def test_one_rank_that_cannot_be_steered_leaves_all_as_found(tmp_path):
    need_module("torch")
    agents = [Agent(tmp_path / f"s{n}", f"GPU-{n}") for n in range(2)]
    agents[1].mode = "shadow"
    with serving(agents[0]), serving(agents[1]):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", RANK, str(rank), str(tmp_path / "store"), "0.004", str(tmp_path / "p.json")],
                env=os.environ | {"WATTLENS_AGENT_SOCKET": str(agents[rank].path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        said = []
        for child in children:
            out, errors = child.communicate(timeout=120)
            assert child.returncode == 0, errors[-2000:]
            said.append((json.loads(out.splitlines()[-1]), [line for line in errors.splitlines() if "wattlens" in line]))
    (first, lines), (second, none) = said
    assert first == second
    assert first[1] is None
    assert [row[0] for row in first[2]] == [700]
    assert len(lines) == 1
    assert "mode is shadow" in lines[0]
    assert none == []
    assert agents[0].limits == []
