"""MIG instances and MPS clients of the plant run side by side; energy, work and truth add up."""

import pytest

from tests.doubles.gpus import H100, PLENTY_S, S


@pytest.fixture
def node(gpus):
    return gpus(H100, H100)


def shared(node, count, fault="", value=0, gpu=0):
    if fault:
        node.plant.fault(gpu, fault, value=value)
    for _ in range(count):
        node.attach(gpu)


def run(node, seconds, work, gpu=0):
    """Truth gained over a while in which these slots have work: {slot: (boundness, intensity)}."""
    for slot, (boundness, intensity) in work.items():
        node.plant.submit(gpu, slot, reference_ns=PLENTY_S * S, memory_boundness=boundness, intensity=intensity)
    before = node.truth(gpu)
    node.step(seconds)
    after = node.truth(gpu)
    pairs = zip(before.slots, after.slots, strict=True)
    return after.true_uj - before.true_uj, [
        (b.done_ns - a.done_ns, b.busy_ns - a.busy_ns, b.active_uj - a.active_uj, b.idle_uj - a.idle_uj) for a, b in pairs
    ]


def test_an_instance_works_at_its_share_of_the_speed_whoever_else_works(node):
    for gpu, others in ((0, {}), (1, {1: (1.0, 0.3), 2: (1.0, 0.3)})):
        shared(node, 3, "mig", 421, gpu)
        _, ((done_ns, busy_ns, *_), *_) = run(node, 10, {0: (1.0, 0.3)} | others, gpu)
        assert busy_ns == pytest.approx(4 / 7 * 10 * S, rel=0.01)
        assert done_ns == pytest.approx(4 / 7 * 10 * S, rel=0.02)  # memory-bound: the clock does not matter


def test_power_grows_with_the_slices_at_work_and_each_draws_its_own(node):
    shared(node, 2, "mig", 34)
    alone_uj, ((_, _, active, _), (_, _, nothing, idle)) = run(node, 10, {0: (0.3, 0.5)})
    both_uj, ((_, _, three, _), (_, _, four, _)) = run(node, 10, {1: (0.3, 0.5)})
    assert both_uj > 1.4 * alone_uj
    assert four / three == pytest.approx(4 / 3, rel=0.02)
    assert three + four == pytest.approx(both_uj, rel=0.01)  # all slices held and at work: all of it is theirs
    assert nothing == 0
    assert 0 < idle < active
    assert active + idle == pytest.approx(alone_uj, rel=0.01)


def test_unallocated_slices_keep_their_part_of_the_static_power(node):
    shared(node, 2, "mig", 7)
    true_uj, process_truths = run(node, 10, {0: (0.3, 0.5), 1: (0.3, 0.5)})
    theirs, static_uj = sum(active + idle for _, _, active, idle in process_truths), 10 * 62_300_000
    assert true_uj - theirs == pytest.approx(5 / 7 * static_uj, rel=0.2)  # leakage follows temperature


def test_mps_clients_use_their_part_of_the_sms_until_all_of_them_are_in_use(node):
    shared(node, 4, "mps", 40)
    for more, share in (((0,), 0.4), ((1,), 0.4), ((2, 3), 0.25)):
        _, process_truths = run(node, 5, dict.fromkeys(more, (1.0, 0.5)))
        working = [busy for _, busy, _, _ in process_truths[: more[-1] + 1]]
        assert working == [pytest.approx(share * 5 * S, rel=0.01)] * len(working)


def test_the_truth_of_all_processes_is_the_gpus_whatever_they_do(node):
    for gpu, fault in ((0, ""), (1, "mps")):
        shared(node, 2, fault, 35, gpu)
        true_uj, process_truths = run(node, 5, {}, gpu)  # what is drawn while nothing runs is shared by the holders
        assert [idle for *_, idle in process_truths] == [pytest.approx(true_uj / 2, rel=1e-3)] * 2
        shared(node, 1, gpu=gpu)
        true_uj, process_truths = run(node, 6, {0: (0.2, 1.0), 1: (0.9, 0.6)}, gpu)
        assert sum(active + idle for _, _, active, idle in process_truths) == pytest.approx(true_uj, rel=1e-3)


def test_a_wait_knows_how_slow_an_instance_is(node):
    node.plant.fault(0, "mig", value=7)
    slot, began_ns = node.attach(), node.plant.now_ns()
    assert node.plant.wait(0, slot, node.plant.submit(0, slot, reference_ns=S, memory_boundness=1.0), timeout_s=60)
    assert node.plant.now_ns() - began_ns == pytest.approx(7 * S, rel=0.05)
