"""The laws of docs/decisions/0006: claims and processes make one holding, whatever they say."""

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import Interval, Method, State
from energy_agent.metering.attribution import Holding, shares
from energy_agent.owners.join import PATIENCE_NS, OwnerEvidence, SchedulerCoverage, coverage_of, join, reason, weights

NAMES = st.sampled_from(["ml/a", "ml/b", "web/c", "cron.service", "process-x"])
CLAIMED = st.lists(NAMES, unique=True, max_size=4)
SEEN = st.dictionaries(NAMES, st.integers(0, 10**9), max_size=4)
EVIDENCE = st.builds(OwnerEvidence, CLAIMED, SEEN, st.booleans(), st.booleans())
ANSWERS = st.sampled_from(SchedulerCoverage)
MIG = st.dictionaries(st.sampled_from(["MIG-1", "MIG-2", "MIG-3"]), EVIDENCE, min_size=1)
GPU = Interval("GPU-1", 0, 10**9, 123_456_789, Method.COUNTER, 1000, True)


def of(holding):
    energy = {}
    for entry in shares(GPU, holding, holding):
        energy[entry.workload] = energy.get(entry.workload, 0) + entry.energy_uj
    return energy


@given(EVIDENCE, ANSWERS)
def test_energy_is_booked_once_whoever_is_named(evidence, answer):
    holding = join(evidence, {}, answer)
    assert sum(of(holding).values()) == GPU.energy_uj
    if holding is not None:
        assert set(holding.weights) <= {*evidence.claimed, *evidence.process_weights}


@given(EVIDENCE, ANSWERS)
def test_the_order_of_claims_means_nothing(evidence, answer):
    turned = OwnerEvidence(
        list(reversed(evidence.claimed)), dict(reversed(evidence.process_weights.items())), evidence.unseen, evidence.measured
    )
    assert of(join(evidence, {}, answer)) == of(join(turned, {}, answer))


def test_device_is_unallocated_only_if_all_owners_would_be_known():
    nobody = OwnerEvidence((), {})
    assert {a: weights(nobody, a) for a in SchedulerCoverage} == {
        SchedulerCoverage.NONE: {}, SchedulerCoverage.FRESH: {}, SchedulerCoverage.PARTIAL: None,
        SchedulerCoverage.STARTING: None, SchedulerCoverage.LOST: None,
    }  # fmt: skip


@given(NAMES, st.booleans(), st.booleans(), st.sampled_from([SchedulerCoverage.FRESH, SchedulerCoverage.PARTIAL]))
def test_a_claimant_holds_without_a_process_and_with_ones_that_cannot_be_seen(name, unseen, measured, answer):
    assert of(join(OwnerEvidence([name], {}, unseen, measured), {}, answer)) == {name: GPU.energy_uj}


@given(CLAIMED, SEEN.filter(lambda weights: any(weights.values())), st.booleans())
def test_a_claimant_without_a_process_weighs_nothing_while_another_works(claimed, process_weights, measured):
    energy = of(join(OwnerEvidence(claimed, process_weights, False, measured), {}, SchedulerCoverage.FRESH))
    assert all(energy[name] == 0 for name in claimed if name not in process_weights)
    if measured and len({*claimed, *process_weights}) > 1:
        for name in process_weights:
            assert abs(energy[name] * sum(process_weights.values()) - GPU.energy_uj * process_weights[name]) <= sum(
                process_weights.values()
            )


@given(CLAIMED.filter(len), st.booleans(), st.booleans())
def test_claimants_without_any_process_share_equally(claimed, unseen, measured):
    energy = of(join(OwnerEvidence(claimed, {}, unseen, measured), {}, SchedulerCoverage.FRESH))
    assert max(energy.values()) - min(energy.values()) <= 1
    assert set(energy) == set(claimed)


@given(CLAIMED, SEEN.filter(len))
def test_a_scheduler_that_is_lost_leaves_it_to_the_processes(claimed, process_weights):
    assert weights(OwnerEvidence((), process_weights), SchedulerCoverage.LOST) == process_weights
    assert weights(OwnerEvidence(claimed, process_weights, True), SchedulerCoverage.LOST) is None


@given(MIG, EVIDENCE, ANSWERS)
def test_a_mig_device_has_the_holders_that_it_alone_would_have(slices, whole, answer):
    holding = join(OwnerEvidence(whole.claimed, {}), slices, answer)
    if answer is SchedulerCoverage.STARTING:
        assert holding is None
        return
    for uuid, evidence in slices.items():
        if not whole.claimed or evidence.claimed or evidence.process_weights:
            assert holding.slices[uuid] == weights(evidence, answer)
        else:
            assert holding.slices[uuid] is None, "the claim without a place may be here"
    assert set(holding.weights) == {name for part in holding.slices.values() for name in part or ()}


def test_process_on_an_unknown_mig_device_makes_all_unknown():
    slices = {"MIG-1": OwnerEvidence(["ml/a"], {})}
    assert join(OwnerEvidence((), {"web/c": 5}), slices, SchedulerCoverage.FRESH) is None
    assert join(OwnerEvidence((), {}, True), slices, SchedulerCoverage.FRESH) is None


@given(st.integers(0, 2 * PATIENCE_NS), st.integers(0, 2 * PATIENCE_NS), st.integers(0, 3))
def test_the_last_answer_counts_for_the_patience_and_no_longer(asked_ns, later_ns, unknown):
    coverage = coverage_of(asked_ns + later_ns, asked_ns, 0, unknown)
    assert (coverage is SchedulerCoverage.LOST) == (later_ns > PATIENCE_NS)
    assert coverage in (SchedulerCoverage.LOST, SchedulerCoverage.PARTIAL if unknown else SchedulerCoverage.FRESH)
    assert coverage_of(later_ns, None, 0, 0) is (
        SchedulerCoverage.STARTING if later_ns <= PATIENCE_NS else SchedulerCoverage.LOST
    )


def test_pending_answers_are_distinguished_from_unavailable_ones():
    assert reason(SchedulerCoverage.STARTING, True) is reason(SchedulerCoverage.FRESH, False) is State.STARTING
    assert reason(SchedulerCoverage.LOST, True) is reason(SchedulerCoverage.FRESH, True) is State.UNKNOWN_OWNER
    assert Holding({}) == join(OwnerEvidence((), {}), {}, SchedulerCoverage.FRESH)
