"""No pod is ever taken for another one, whatever is claimed, whichever uids are known, and wherever processes come and go."""

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.energy import DeviceSample, ProcessUse, WorkloadFacts
from energy_agent.metering.attribution import Holding
from energy_agent.owners.processes import DeviceOwners
from energy_agent.owners.resolver import OwnerResolver
from tests.energy_agent.owners.kubernetes.test_device_ids import A, B
from tests.energy_agent.owners.test_resolver import Informer, Said, claim

PODS = [  # namespace, name, uid: two lives of one name among them
    ("victim", "notebook", "11111111-0000-4000-8000-000000000001"),
    ("victim", "notebook", "22222222-0000-4000-8000-000000000002"),
    ("evil", "own", "33333333-0000-4000-8000-000000000003"),
    ("evil", "notebook", "44444444-0000-4000-8000-000000000004"),
]
GPUS = (A, B)
pod, gpu = st.sampled_from(range(len(PODS))), st.sampled_from(GPUS)
actions = st.one_of(
    st.tuples(st.just("give"), pod, gpu),
    st.tuples(st.just("take"), pod, gpu),
    st.tuples(st.just("start"), pod, gpu),
    st.tuples(st.just("end"), pod, gpu),
    st.tuples(st.just("learn the uid"), pod, gpu),
    st.tuples(st.just("restart the agent"), pod, gpu),
)


class Plant:
    """Which pod was given which GPU and works on which; stands for the kubelet and for the process lists."""

    def __init__(self, knows):
        self.given, self.running, self.uid_pods = set(), set(), set()
        self.source, self.informer = Said(), Informer() if knows == "informer" else None
        self.logs = self if knows == "logs" else None
        self.facts, self.seen_uids = {}, set()
        self.time = 0
        self.restart()

    def restart(self):
        self.joined = OwnerResolver((self.source,), 0, self.informer, self.logs, self)
        self.joined.restore(self.facts.values())
        self.seen_uids = set()

    def do(self, action, pod, gpu):
        match action:
            case "give":
                self.given.add((pod, gpu))
            case "take":
                self.given.discard((pod, gpu))
            case "start":
                self.running.add((pod, gpu))
            case "end":
                self.running.discard((pod, gpu))
            case "learn the uid":
                self.uid_pods.add(pod)
                if self.informer is not None:
                    namespace, name, uid = PODS[pod]
                    self.informer.pods[uid] = ((namespace, name), Informer(x=uid).pods[uid][1])
            case _:
                self.restart()
        self.time += 1
        claims = [claim(g, PODS[p][1], PODS[p][2] if p in self.uid_pods else "", PODS[p][0]) for p, g in sorted(self.given)]
        self.source.say(self.time, *claims)

    def resolve(self, processes, now_ns, _mig=()):
        """As `ProcessHolders` does, of the processes of these pods."""
        uids = [PODS[process.pid][2] for process in processes]
        fresh = [WorkloadFacts(f"pod-{uid}", now_ns, "pod", {"pod_uid": uid}) for uid in uids if uid not in self.seen_uids]
        self.seen_uids.update(uids)
        weights = {f"pod-{uid}": 7 for uid in uids}
        return DeviceOwners(Holding(weights, True), process_weights=weights), fresh

    def pod_of(self, uid):
        """As `PodLogs` does."""
        return next((PODS[p][:2] for p in self.uid_pods if PODS[p][2] == uid), None)

    def lives(self, uid):
        return any(PODS[p][2] == uid for p, _ in self.running)

    def look(self, gpu):
        """What the agent makes of a GPU now: weights by workload."""
        self.joined.look(self.time)
        on_it = tuple(ProcessUse(p) for p, g in sorted(self.running) if g == gpu)
        owners, facts = self.joined.of_sample(DeviceSample(gpu, self.time, self.time, processes=on_it), self)
        self.facts |= {fact.workload: fact for fact in facts}
        return owners.holding.weights


@given(st.lists(actions, max_size=14), st.permutations(GPUS), st.sampled_from(["nobody", "informer", "logs"]))
def test_no_uid_gets_the_name_or_the_energy_of_another_pod(script, order, knows):
    plant = Plant(knows)
    owner_of = {}  # the pod that a workload stands for, by all that was ever known of it
    plant.do("restart the agent", 0, A)
    for action in script:
        plant.do(*action)
        for gpu in order:
            weights = plant.look(gpu)
            working = {PODS[p] for p, g in plant.running if g == gpu}
            facts = {name: plant.facts[name].labels for name in weights}
            for name, labels in facts.items():
                if uid := labels.get("pod_uid"):
                    (owner,) = (p for p in PODS if p[2] == uid)
                    assert labels.get("namespace", owner[0]) == owner[0]
                    assert labels.get("pod", owner[1]) == owner[1]
                    assert owner_of.setdefault(name, owner[:2]) == owner[:2]
                else:
                    assert owner_of.setdefault(name, (labels["namespace"], labels["pod"])) == (
                        labels["namespace"],
                        labels["pod"],
                    )
            # Energy goes to working pods, under their own names; an idle pod gets none while another one works.
            by_owner = {}
            for name, weight in weights.items():
                by_owner[owner_of[name]] = by_owner.get(owner_of[name], 0) + weight
            if working:
                assert {owner: weight for owner, weight in by_owner.items() if weight} == {
                    owner: 7 * sum(w[:2] == owner for w in working) for owner in {w[:2] for w in working}
                }
            # A client of the socket is the workload of its own uid, and no other.
            for uid in (p[2] for p in PODS):
                for name in [name for name, fact in plant.facts.items() if fact.labels.get("pod_uid") == uid]:
                    assert owner_of[name] == next(p[:2] for p in PODS if p[2] == uid)
