"""Names and facts of pods over their lives: by claim, by process, by both, and after a restart."""

import shutil
from itertools import count

from energy_agent.core.energy import DeviceSample, ProcessUse, State, WorkloadFacts
from energy_agent.metering.attribution import Holding
from energy_agent.owners.cgroup import unchecked
from energy_agent.owners.claims import Claim, Claims
from energy_agent.owners.join import PATIENCE_NS
from energy_agent.owners.kubernetes.grants import PodFact
from energy_agent.owners.kubernetes.living_pods import LivingPods
from energy_agent.owners.processes import DeviceOwners, ProcessOwners
from energy_agent.owners.resolver import OwnerResolver
from energy_agent.runtime.clock import RealClock
from tests.energy_agent.owners.kubernetes.test_device_ids import MIG, A, B

U1, U2 = "1a2b3c4d-0000-4000-8000-000000000001", "99998888-0000-4000-8000-000000000002"


class Said:
    """A scheduler that returns given results."""

    def __init__(self):
        self.now = None

    def say(self, boot_ns, *claims, unknown=0):
        self.now = Claims(boot_ns, tuple(claims), unknown)

    def claims(self):
        return self.now

    def rows(self):
        return ()

    def stop(self):
        return None


def claim(device, pod, uid="", namespace="ml", **labels):
    name = f"{namespace}/{pod}" + (f".{uid[:8]}" if uid else "")
    return Claim(device, WorkloadFacts(name, 0, "pod", {"namespace": namespace, "pod": pod, **labels}), uid)


def on(*uids, others=(), slices=None):
    process_weights = {f"pod-{uid}": 5 for uid in uids} | dict.fromkeys(others, 5)
    return DeviceOwners(Holding(process_weights, False, slices or {}), process_weights=process_weights)


class Node:
    def __init__(self):
        self.source = Said()
        self.joined = OwnerResolver((self.source,))
        self.facts = {}

    def at(self, boot_ns, gpu, by_process):
        self.joined.look(boot_ns)
        uids = [w for w in (by_process.process_weights if by_process else ()) if w.startswith("pod-")]
        self.joined.learn([WorkloadFacts(w, 0, "pod", {"pod_uid": w[4:], "container_id": "abc"}) for w in uids])
        device_owners, facts = self.joined.owners(gpu, by_process, boot_ns)
        self.facts |= {fact.workload: fact.labels for fact in facts}
        return None if device_owners is None or device_owners.holding is None else dict(device_owners.holding.weights)


def test_owner_is_starting_before_the_first_answer():
    node = Node()
    assert node.at(1, A, on(U1)) is None
    assert node.joined.owners(A, on(U1), 1)[0].reason is State.STARTING
    node.source.say(2, claim(A, "a", U1))
    assert list(node.at(3, A, None)) == [f"ml/a.{U1[:8]}"], "so that the pod needs no other name later"
    assert node.facts[f"ml/a.{U1[:8]}"] == {"namespace": "ml", "pod": "a", "pod_uid": U1, "container_id": "abc"}


def test_sharers_are_named_by_their_uids():
    node = Node()
    node.source.say(1, claim(A, "a", U1), claim(A, "b", U2))
    assert set(node.at(1, A, on(U1, U2))) == {f"ml/a.{U1[:8]}", f"ml/b.{U2[:8]}"}
    fresh = Node()
    fresh.source.say(1, claim(A, "a"), claim(A, "b"))
    weights = fresh.at(1, A, on(U1, U2))
    assert weights == {"ml/a": 0, "ml/b": 0, f"pod-{U1}": 1, f"pod-{U2}": 1}, "either may be either"


def test_a_pod_on_a_gpu_that_it_was_not_given_has_its_own_name_there_whichever_gpu_is_read_first():
    for order in ((A, B), (B, A)):
        node = Node()
        node.source.say(1, claim(A, "idle"), claim(B, "own", U2, namespace="other"))
        names = {gpu: node.at(1, gpu, on(U2)) for gpu in order}
        assert names == {A: {"ml/idle": 0, f"other/own.{U2[:8]}": 1}, B: {f"other/own.{U2[:8]}": 1}}


def test_a_name_survives_a_restart_of_the_agent():
    node = Node()
    node.joined.restore([WorkloadFacts("ml/a", 0, "pod", {"namespace": "ml", "pod": "a", "pod_uid": U1})])
    node.source.say(1, claim(A, "a", U1))
    assert list(node.at(1, A, on(U1))) == ["ml/a"]


def test_a_claim_that_is_gone_takes_no_more_and_an_answer_that_is_old_is_no_answer():
    node = Node()
    node.source.say(1, claim(A, "a", U1), claim(B, "b", U2))
    assert node.at(1, A, on())
    node.source.say(2, claim(B, "b", U2))
    assert node.at(2, A, None) == {}, "free again, without waiting for the next list of processes"
    assert node.at(2, B, on()) == {f"ml/b.{U2[:8]}": 0}
    assert node.at(2 + PATIENCE_NS, B, None) is None
    node.joined.look(3 + PATIENCE_NS)
    assert node.joined.owners(B, None, 0)[0].reason is State.UNKNOWN_OWNER


def test_the_same_claims_again_change_nothing():
    node = Node()
    claims = (claim(A, "a", U1),)
    node.source.now = Claims(1, claims)
    assert node.at(1, A, on())
    node.source.now = Claims(2, claims)
    assert node.at(2, A, None) is None


def test_mig_device_belongs_to_its_claimant_and_an_unknown_one_leaves_doubt():
    node = Node()
    node.source.say(1, claim(MIG, "a", U1))
    slices = {MIG: {}, "MIG-other": {}}
    node.joined.look(1)
    device_owners, _ = node.joined.owners(A, on(slices=slices), 1)
    assert device_owners.holding.slices == {MIG: {f"ml/a.{U1[:8]}": 0}, "MIG-other": {}}
    node.source.say(2, claim("MIG-0a1b2c3d-9999-5222-8333-444455556666", "b", U2))
    node.joined.look(2)
    assert node.joined.owners(B, on(), 2)[0].reason is State.UNKNOWN_OWNER, "it may be this one"
    assert node.joined.owners(B, on(), 2)[0].holding is None


def test_what_has_ended_is_forgotten():
    node = Node()
    node.source.say(1, claim(A, "a", U1))
    node.at(1, A, on(U1, U2))
    node.source.say(2)
    node.at(2, A, on())
    node.joined.forget(set())
    assert node.at(3, A, on(U1)) == {f"pod-{U1}": 5}


def test_the_next_life_of_a_pod_that_ended_and_is_listed_holds_again(tmp_path):
    """Each life's process comes and goes in a real folder of processes."""
    node, processes = Node(), ProcessOwners(tmp_path)
    living = LivingPods(RealClock(), tmp_path, unchecked)
    node.joined = OwnerResolver((node.source,), living=living)

    def run(pid, uid):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"0::/kubepods/besteffort/pod{uid}/{'a' * 64}\n")
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (python) S " + " ".join(["1"] * 18) + f" {pid}\n")

    times = count(5 * 10**9, 10**9)

    def read(*pids):
        node.joined.look(5)
        sample = DeviceSample(A, next(times), 5, processes=tuple(ProcessUse(pid) for pid in pids))
        node.joined.of_sample(sample, processes)
        living.poll()
        device_owners, _ = node.joined.of_sample(sample, processes)
        return list(device_owners.holding.weights)

    node.source.say(5, claim(A, "a", U1))
    run(10, U1)  # its sandbox
    run(11, U1)
    assert read(11) == [f"ml/a.{U1[:8]}"]
    shutil.rmtree(tmp_path / "11")
    assert read() == [f"ml/a.{U1[:8]}"], "it lives, and holds its device idle"
    shutil.rmtree(tmp_path / "10")
    assert read() == [], "listed still, and over"
    node.source.say(5, claim(A, "a", U2))
    run(12, U2)
    assert read(12) == [f"ml/a.{U2[:8]}"]
    assert read(12) == [f"ml/a.{U2[:8]}"]


def test_a_job_keeps_the_facts_of_its_scheduler_when_its_process_is_seen():
    node = Node()
    job = WorkloadFacts("slurm-7", 0, "slurm", {"job": "7", "account": "ml"})
    node.source.say(5, Claim(A, job))
    node.joined.look(5)
    new_facts = [WorkloadFacts("slurm-7", 9, "slurm", {"job": "7", "step": "0"}), WorkloadFacts("vllm", 9, "unit")]
    assert [fact.workload for fact in node.joined.learn(new_facts)] == ["vllm"]
    assert node.at(6, A, on(others=["slurm-7"])) == {"slurm-7": 1}
    assert node.facts["slurm-7"]["account"] == "ml"


class Informer:
    """A pod informer that knows some pods."""

    def __init__(self, **pods):
        self.pods = {uid: (("ml", name), PodFact(uid, False, {"owner": f"Job/{name}"})) for name, uid in pods.items()}

    def pod_of(self, uid):
        return self.pods.get(uid)

    def health(self):
        return ()


def test_a_pod_that_ran_before_its_claim_was_seen_has_its_name_from_the_informer():
    node = Node()
    node.joined = OwnerResolver((node.source,), informer=Informer(fast=U1))
    node.source.say(1)
    assert node.at(1, A, on(U1, U2)) == {"ml/fast.1a2b3c4d": 5, f"pod-{U2}": 5}
    assert node.facts["ml/fast.1a2b3c4d"]["owner"] == "Job/fast"
    assert (node.facts["ml/fast.1a2b3c4d"]["namespace"], node.facts["ml/fast.1a2b3c4d"]["pod"]) == ("ml", "fast")
    node.source.say(2, claim(A, "fast", U1))
    assert node.at(2, A, on(U1)) == {"ml/fast.1a2b3c4d": 1}


def test_an_informer_that_learns_of_a_pod_later_does_not_change_its_name_and_adds_what_it_is():
    node = Node()
    informer = Informer()
    node.joined = OwnerResolver((node.source,), informer=informer)
    node.source.say(1)
    assert node.at(1, A, on(U1)) == {f"pod-{U1}": 5}
    informer.pods = Informer(late=U1).pods
    assert node.at(2, A, on(U1)) == {f"pod-{U1}": 5}
    assert node.facts[f"pod-{U1}"]["pod"] == "late"


def test_a_pod_that_was_claimed_before_anyone_knew_its_uid_keeps_that_name():
    node = Node()
    informer = Informer()
    node.joined = OwnerResolver((node.source,), informer=informer)
    node.source.say(1, claim(A, "a"), claim(A, "b"))
    assert node.at(1, A, on()) == {"ml/a": 0, "ml/b": 0}
    informer.pods = Informer(a=U1, b=U2).pods
    assert node.at(2, A, on(U1, U2)) == {"ml/a": 1, "ml/b": 1}
