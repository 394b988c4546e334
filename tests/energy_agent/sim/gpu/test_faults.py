"""Faults as people name them and as a timeline plays them."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.sim.gpu import faults, plant
from energy_agent.sim.gpu.fault_log import FaultLog
from energy_agent.sim.gpu.faults import FaultEvent
from energy_agent.sim.gpu.plant_abi import DeviceLostError
from tests.support import refusal

kinds = st.sampled_from(sorted(faults.KINDS))
events = st.lists(
    st.builds(FaultEvent, st.integers(0, 1000), st.integers(0, 3), kinds, st.sampled_from(["", "nvmlX"]), clear=st.booleans()),
    max_size=30,
)


def test_every_fault_of_the_plant_is_described_and_no_other():
    assert set(faults.KINDS) == set(plant.FAULTS)


def test_wrong_fault_is_reported_in_one_line():
    for kind, call, value, says in (
        ("lots", "", 0, "'lost'"), ("zzzz", "", 0, "lost, hang"), ("lost", "nvmlDeviceGetPowerUsage", 0, "take a call"),
        ("hang", "power", 0, "expected the name"), ("hang", "nvml" + "x" * 60, 0, "too long"), ("hang", "", 3, "take a value"),
        ("latency", "", 10**9, "expected -1000000"),
    ):  # fmt: skip
        assert says in refusal(faults.check_fault, kind, call, value)


def test_a_gpu_by_its_names():
    assert [faults.parse_gpu(t, 4) for t in ("gpu3", "3", "gpu0")] == [3, 3, 0]
    for text in ("gpu4", "4", "-1", "gpu", "", "gpu-1", "two", "gpu99999", "\u0663"):
        assert "gpu0 to gpu3" in refusal(faults.parse_gpu, text, 4)


@given(events, st.lists(st.integers(0, 1000), max_size=10))
def test_a_timeline_plays_each_event_once_however_often_one_looks(timeline, looks):
    edges = [-1, *sorted(looks), 1000]
    played = [e for a, b in itertools.pairwise(edges) for e in faults.due(timeline, a, b)]
    assert sorted(map(repr, played)) == sorted(map(repr, timeline))
    assert [e.at_ns for e in played] == sorted(e.at_ns for e in timeline)


def test_what_is_set_after_sets_and_clears():
    log = [
        FaultEvent(0, 0, "lost"),
        FaultEvent(1, 1, "hang", "nvmlDeviceGetPowerUsage"),
        FaultEvent(2, 1, "xid", value=13),  # once: never stays set
        FaultEvent(3, 0, "lost", clear=True),
        FaultEvent(4, 2, "unprivileged"),
        FaultEvent(5, 1, "ambient", value=40),
    ]
    assert [(e.gpu, e.kind) for e in faults.active(log)] == [(1, "hang"), (2, "unprivileged"), (1, "ambient")]
    assert faults.active([*log, FaultEvent(6, 1, "", clear=True)]) == []  # everything of gpu1, and of the node


def test_the_log_agrees_with_the_plant(tmp_path):
    with plant.Plant.create(tmp_path / "plant", [plant.BoardSpec("A40")] * 2, seed=1, manual=True) as node:
        log = FaultLog(tmp_path / "faults.jsonl")
        assert log.active() == []
        log.apply(node, FaultEvent(0, 1, "counter_reset"))
        log.apply(node, FaultEvent(0, 1, "lost"))
        assert [e.kind for e in log.active()] == ["lost"]
        refusal(node.attach_process, 1, 1, memory_b=0, error=DeviceLostError)
        log.apply(node, FaultEvent(1, 1, "lost", clear=True))
        assert log.active() == []
        assert node.truth(1).counter_resets == 2  # the one set, and that of a GPU that comes back
        assert "take a value" in refusal(log.set, node, FaultEvent(0, 0, "lost", value=1))
        assert log.active() == []
