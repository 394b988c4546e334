"""MIG instances and MPS clients of the plant run side by side; energy, work and truth add up."""

import os

import pytest

from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.plant import Plant

S = 10**9
PLENTY = 1000 * S


@pytest.fixture
def plant(tmp_path):
    made = Plant.create(tmp_path / "plant", [BoardSpec("H100-SXM5-80GB")] * 2, seed=5, manual=True)
    yield made
    made.close()


def slots(plant, count, gpu=0):
    return [plant.attach_process(gpu, os.getpid(), memory_b=0) for _ in range(count)]


def run(plant, seconds, work, gpu=0):
    """Truth gained over a while in which these slots have work: {slot: (boundness, intensity)}."""
    for slot, (boundness, intensity) in work.items():
        plant.submit(gpu, slot, reference_ns=PLENTY, memory_boundness=boundness, intensity=intensity)
    before = plant.truth(gpu)
    plant.advance_to(plant.now_ns() + round(seconds * S))
    after = plant.truth(gpu)
    pairs = zip(before.slots, after.slots, strict=True)
    return after.true_uj - before.true_uj, [
        (b.done_ns - a.done_ns, b.busy_ns - a.busy_ns, b.active_uj - a.active_uj, b.idle_uj - a.idle_uj) for a, b in pairs
    ]


def test_an_instance_works_at_its_share_of_the_speed_whoever_else_works(plant):
    for gpu, others in ((0, {}), (1, {1: (1.0, 0.3), 2: (1.0, 0.3)})):
        plant.fault(gpu, "mig", value=421)
        slots(plant, 3, gpu)
        _, found = run(plant, 10, {0: (1.0, 0.3)} | others, gpu)
        done_ns, busy_ns, _, _ = found[0]
        assert busy_ns == pytest.approx(4 / 7 * 10 * S, rel=0.01)
        assert done_ns == pytest.approx(4 / 7 * 10 * S, rel=0.02)  # memory-bound: the clock does not matter


def test_power_grows_with_the_slices_at_work_and_each_draws_its_own(plant):
    plant.fault(0, "mig", value=34)
    slots(plant, 2)
    alone_uj, found = run(plant, 10, {0: (0.3, 0.5)})
    both_uj, later = run(plant, 10, {1: (0.3, 0.5)})
    assert both_uj > 1.4 * alone_uj
    (_, _, three, _), (_, _, four, _) = later
    assert four / three == pytest.approx(4 / 3, rel=0.02)
    assert three + four == pytest.approx(both_uj, rel=0.01)  # all slices held and at work: all of it is theirs
    (_, _, active, _), (_, _, nothing, idle) = found
    assert nothing == 0
    assert 0 < idle < active
    assert active + idle == pytest.approx(alone_uj, rel=0.01)


def test_slices_that_nobody_holds_keep_their_part_of_the_static_power(plant):
    plant.fault(0, "mig", value=7)
    slots(plant, 2)
    true_uj, found = run(plant, 10, {0: (0.3, 0.5), 1: (0.3, 0.5)})
    theirs = sum(active + idle for _, _, active, idle in found)
    static_uj = 10 * 62_300_000
    assert true_uj - theirs == pytest.approx(5 / 7 * static_uj, rel=0.2)  # leakage follows temperature


def test_mps_clients_use_their_part_of_the_sms_until_all_of_them_are_in_use(plant):
    plant.fault(0, "mps", value=40)
    slots(plant, 4)
    _, one = run(plant, 5, {0: (1.0, 0.5)})
    _, two = run(plant, 5, {1: (1.0, 0.5)})
    _, four = run(plant, 5, {2: (1.0, 0.5), 3: (1.0, 0.5)})
    assert one[0][1] == pytest.approx(0.4 * 5 * S, rel=0.01)
    assert [busy for _, busy, _, _ in two[:2]] == [pytest.approx(0.4 * 5 * S, rel=0.01)] * 2
    assert [busy for _, busy, _, _ in four] == [pytest.approx(0.25 * 5 * S, rel=0.01)] * 4


def test_the_truth_of_all_processes_is_the_gpus_whatever_they_do(plant):
    for gpu, fault in ((0, None), (1, "mps")):
        if fault:
            plant.fault(gpu, fault, value=35)
        slots(plant, 3, gpu)
        true_uj, found = run(plant, 6, {0: (0.2, 1.0), 1: (0.9, 0.6)}, gpu)
        assert sum(active + idle for _, _, active, idle in found) == pytest.approx(true_uj, rel=1e-3)


def test_what_is_drawn_while_nothing_runs_is_shared_by_the_holders(plant):
    slots(plant, 2)
    true_uj, found = run(plant, 5, {})
    assert [idle for *_, idle in found] == [pytest.approx(true_uj / 2, rel=1e-3)] * 2


def test_a_wait_knows_how_slow_an_instance_is(plant):
    plant.fault(0, "mig", value=7)
    (slot,) = slots(plant, 1)
    ticket = plant.submit(0, slot, reference_ns=S, memory_boundness=1.0)
    began = plant.now_ns()
    assert plant.wait(0, slot, ticket, timeout_s=60)
    assert plant.now_ns() - began == pytest.approx(7 * S, rel=0.05)
