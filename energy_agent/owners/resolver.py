"""Input of `join`: the schedulers' last responses, the names of pods, and the labels of their workloads.

It has no clock and no I/O: sources respond from memory, and callers pass the time.

A pod is called by one name as long as it lives: `namespace/pod` with the first eight digits of the uid where that is known when
the pod first holds a device, else `namespace/pod`; a pod that is first known by its cgroup is `pod-UID`, unless an informer
knows it. A name under which joules were recorded stays to the pod's end, whatever is learnt later; that becomes facts of the
workload. Two lives of one name whose uids are not known both book under `namespace/pod`.

A uid gets the name of a pod only from the kubelet or the API server, which know the uids of pods. Which GPU a process is on
proves nothing, as a container may use GPUs that it was not given.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from energy_agent.core.energy import DeviceSample, SourceHealth, State, WorkloadFacts
from energy_agent.owners.claims import Claim, ClaimSource
from energy_agent.owners.join import OwnerEvidence, SchedulerCoverage, coverage_of, join, reason
from energy_agent.owners.kubernetes.device_ids import gpu_of
from energy_agent.owners.processes import DeviceOwners, ProcessOwners

if TYPE_CHECKING:
    from energy_agent.owners.kubernetes.grants import PodFact
    from energy_agent.owners.kubernetes.informer import PodInformer
    from energy_agent.owners.kubernetes.living_pods import LivingPods
    from energy_agent.owners.kubernetes.pod_logs import PodLogs

PodKey = tuple[str, str]
"""Namespace and name."""
_WORST = list(SchedulerCoverage)


@dataclass(slots=True)
class _Life:
    name: str
    uid: str = ""


@dataclass(slots=True)
class PodNames:
    """Names given so far."""

    _by_uid: dict[str, str] = field(default_factory=dict)
    _lives: dict[PodKey, _Life] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Iterable[WorkloadFacts]) -> "PodNames":
        """The names of the agent's last run, of pods with a known uid: only the uid distinguishes two pods of the same name."""
        return cls({uid: fact.workload for fact in facts if (uid := fact.labels.get("pod_uid", ""))})

    def of_claim(self, key: PodKey, uid: str) -> str:
        """The name of a pod that a scheduler gave a device; `uid` is "" where it is not known."""
        life, name = self._lives.get(key), self.of_pod(key, uid)
        if life is None or life.name != name:
            self._lives[key] = life = _Life(name)
        if uid:
            self._by_uid[uid], life.uid = name, uid
        return name

    def of_pod(self, key: PodKey, uid: str) -> str:
        """The name that `of_claim` would give, without giving it."""
        life = self._lives.get(key)
        if uid and uid in self._by_uid:  # known by its cgroup first, or before a restart
            return self._by_uid[uid]
        if life is not None and (not uid or not life.uid):
            return life.name
        return f"{key[0]}/{key[1]}" + (f".{uid[:8]}" if uid else "")

    def of_process(self, uid: str, key: PodKey | None = None) -> str:
        """The name of the pod whose cgroup a process is in; `key` where an informer knows the pod."""
        if uid not in self._by_uid:
            claimed = key is not None and key in self._lives
            name = f"pod-{uid}" if key is None else self.of_claim(key, uid) if claimed else self.of_pod(key, uid)
            self._by_uid[uid] = name
        return self._by_uid[uid]

    def uid_of(self, key: PodKey) -> str:
        """The uid that this pod is known to have, or ""."""
        life = self._lives.get(key)
        return life.uid if life is not None else ""

    def claimed_uids(self) -> set[str]:
        """Uids of pods whose claim is known."""
        return {life.uid for life in self._lives.values() if life.uid}

    def claimed(self, keys: Collection[PodKey]) -> None:
        """These pods are claimed now: the life of a pod ends when its scheduler takes the devices back."""
        self._lives = {key: life for key, life in self._lives.items() if key in keys}

    def forget(self, uids: Collection[str]) -> None:
        """Forget the uids of pods that are neither claimed nor among the `uids` of a process."""
        kept = {life.uid for life in self._lives.values()} | set(uids)
        self._by_uid = {uid: name for uid, name in self._by_uid.items() if uid in kept}


class OwnerResolver:
    """Who holds each device, by claims and processes together."""

    def __init__(
        self,
        sources: Sequence[ClaimSource] = (),
        started_boot_ns: int = 0,
        informer: "PodInformer | None" = None,
        logs: "PodLogs | None" = None,
        living: "LivingPods | None" = None,
    ) -> None:
        self._sources, self._logs, self._living = sources, logs, living
        self._informer = informer
        self._started_ns = started_boot_ns
        self._names = PodNames()
        self._answer = SchedulerCoverage.STARTING if sources else SchedulerCoverage.NONE
        self._last_claims: list[tuple[Claim, ...]] = []
        self._claims: dict[str, list[Claim]] = {}  # by device
        self._mig: dict[str, tuple[str, ...]] = {}  # MIG devices of a GPU
        self._ended: dict[PodKey, str] = {}  # pods that are claimed still and have ended, with their uid
        self._served: set[str] = set()  # uids of pods with a metrics page that held a device
        self._uids: dict[str, str] = {}  # uid of the pod, by the name that its processes give it
        self._pods: dict[str, PodKey] = {}  # of uids that the kubelet's log folders have
        self._worked: set[str] = set()  # uids of pods of which a process held a device
        self._labels: dict[str, Mapping[str, str]] = {}
        self._version = 0  # another one when the same processes may mean another holding
        self._by_process: dict[str, DeviceOwners] = {}
        self._joined_at: dict[str, int] = {}  # version

    def restore(self, facts: Iterable[WorkloadFacts]) -> None:
        """Names as they were when the agent last ran."""
        self._names = PodNames.of(facts)

    def look(self, now_boot_ns: int) -> None:
        """Take up what the schedulers say now."""
        if not self._sources:
            return
        claims_by_source: list[tuple[Claim, ...]] = []
        answer = SchedulerCoverage.NONE
        for source in self._sources:
            claims = source.claims()
            asked_ns, unknown = (None, 0) if claims is None else (claims.boot_ns, claims.unknown)
            one = coverage_of(now_boot_ns, asked_ns, self._started_ns, unknown)
            claims_by_source.append(claims.claims if claims is not None and one is not SchedulerCoverage.LOST else ())
            answer = max(answer, one, key=_WORST.index)
        if len(claims_by_source) != len(self._last_claims) or any(
            a is not b for a, b in zip(claims_by_source, self._last_claims, strict=True)
        ):
            self._last_claims = claims_by_source
            self._index()
        if answer is not self._answer:
            self._answer = answer
            self._version += 1

    def learn(self, facts: Iterable[WorkloadFacts]) -> list[WorkloadFacts]:
        """Facts of workloads whose processes are seen for the first time; returns those that need no scheduler's word."""
        if self._answer is SchedulerCoverage.NONE:
            return list(facts)
        others = []
        claimed = {claim.workload for claims in self._last_claims for claim in claims}
        for fact in facts:
            if fact.kind == "pod" and (uid := fact.labels.get("pod_uid")):
                if fact.workload not in self._uids and self._logs is not None and (pod := self._logs.pod_of(uid)) is not None:
                    self._pods[uid] = pod
                self._uids[fact.workload] = uid
                self._worked.add(uid)
                self._labels[fact.workload] = fact.labels
            elif fact.workload not in claimed:  # of which its scheduler says more
                others.append(fact)
        return others

    def of_sample(self, sample: DeviceSample, processes: ProcessOwners) -> tuple[DeviceOwners | None, list[WorkloadFacts]]:
        """Who holds a GPU by a reading of it, None: as before; and the facts of workloads that are new or known better."""
        by_process: DeviceOwners | None = None
        facts: list[WorkloadFacts] = []
        if sample.processes is not None:
            by_process, fresh = processes.resolve(sample.processes, sample.t_ns, sample.mig or ())
            facts = self.learn(fresh)
            self._look_for_ends(sample.uuid, by_process)
        elif "processes" in sample.absent:
            by_process = DeviceOwners(None, State.UNKNOWN_OWNER)
        owners, named = self.owners(sample.uuid, by_process, sample.t_ns)
        return owners, facts + named

    def owners(self, gpu: str, by_process: DeviceOwners | None, now_ns: int) -> tuple[DeviceOwners | None, list[WorkloadFacts]]:
        """The owners of a GPU, None if unchanged; and the metadata of its pods.

        Args:
            gpu: its UUID.
            by_process: the owners by the processes on it; None: the processes were not listed again and are unchanged.
            now_ns: since when facts count.
        """
        if self._answer is SchedulerCoverage.NONE:
            return by_process, []
        if by_process is not None:
            self._by_process[gpu] = by_process
        elif self._joined_at.get(gpu) == self._version:
            return None, []
        self._joined_at[gpu] = self._version
        return self._join(gpu, self._by_process.get(gpu) or DeviceOwners(None), now_ns)

    def forget(self, living: Collection[str]) -> None:
        """Keep of the processes' workloads those that are `living`, so that a long-lived agent stays small."""
        self._uids = {name: uid for name, uid in self._uids.items() if name in living}
        self._labels = {name: labels for name, labels in self._labels.items() if name in living}
        self._names.forget(self._uids.values())
        self._pods = {uid: self._pods[uid] for uid in self._uids.values() if uid in self._pods}
        self._worked &= {*self._uids.values(), *self._names.claimed_uids()}

    def serving(self) -> "list[tuple[str, PodFact]] | None":
        """Pods that run, hold or held a device and have a metrics page, by workload; None: not known yet.

        While the API server does not answer, only those that hold one now: the address of a pod that is gone may be another's.
        """
        if self._informer is None:
            return []
        pods = self._informer.serving()
        if pods is None or self._answer is SchedulerCoverage.STARTING:
            return None
        claimed = {_key(c): c.pod_uid for claims in self._last_claims for c in claims if c.facts.kind == "pod"}
        uids, served_uids = set(self._uids.values()), self._served if self._informer.answers() else set[str]()
        served = []
        for key, fact in pods.items():
            if claimed.get(key) in ("", fact.uid):
                served.append((self._names.of_pod(key, claimed[key]), fact))
            elif fact.uid in uids or fact.uid in served_uids:
                served.append((self._names.of_pod(key, fact.uid), fact))
        self._served = {fact.uid for _, fact in served}
        return served

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether the schedulers answer."""
        rows = tuple(row for source in self._sources for row in source.rows())
        return rows if self._informer is None else (*rows, self._informer.health())

    def stop(self) -> None:
        """End their threads."""
        for source in self._sources:
            source.stop()
        for part in (self._informer, self._living):
            if part is not None:
                part.stop()

    def _join(self, gpu: str, by_process: DeviceOwners, now_ns: int) -> tuple[DeviceOwners, list[WorkloadFacts]]:
        processes = by_process.holding
        if processes is not None:
            self._mig[gpu] = tuple(processes.slices)
        mig = self._mig.get(gpu, ())
        mig_uuids = {device for devices in self._mig.values() for device in devices}
        answer = self._answer
        if answer is SchedulerCoverage.FRESH and any(d.startswith("MIG-") and d not in mig_uuids for d in self._claims):
            answer = SchedulerCoverage.PARTIAL
        facts: dict[str, WorkloadFacts] = {}
        listed = processes is not None or by_process.reason is not State.STARTING
        if answer is SchedulerCoverage.STARTING or not listed:
            holding = None
        elif processes is None or not mig:
            whole = OwnerEvidence(
                self._claimed(gpu, mig, by_process.process_weights, facts, now_ns),
                self._name_processes(by_process.process_weights, facts, now_ns),
                processes is None,
                processes is not None and processes.measured,
            )
            holding = join(whole, {}, answer)
        else:
            slices = {}
            for uuid in mig:
                process_weights = processes.slices.get(uuid)
                claimed = self._claimed(uuid, (), process_weights or {}, facts, now_ns)
                slices[uuid] = OwnerEvidence(
                    claimed,
                    self._name_processes(process_weights or {}, facts, now_ns),
                    process_weights is None,
                    processes.measured,
                )
            holding = join(OwnerEvidence(self._claimed(gpu, (), {}, facts, now_ns), {}), slices, answer)
        if holding is not None and holding.measured and processes is not None:
            holding = replace(holding, unseen=processes.unseen)
        departed = {self._named(name): sm for name, sm in by_process.departed.items()}
        joined = DeviceOwners(holding, reason(answer, listed), by_process.processes, by_process.process_weights, departed)
        return joined, list(facts.values())

    def _named(self, workload: str) -> str:
        uid = self._uids.get(workload)
        if not uid:
            return workload
        key, _ = self._pod_of(uid)
        return self._names.of_process(uid, key)

    def _pod_of(self, uid: str) -> tuple[PodKey | None, Mapping[str, str]]:
        """The pod that a uid is proven to be, and what the informer knows of it; None: nothing proves it."""
        informed = self._informer.pod_of(uid) if self._informer is not None else None
        return (self._pods.get(uid), {}) if informed is None else (informed[0], informed[1].labels)

    def _labels_of(self, workload: str) -> dict[str, str]:
        """What is known of a process's pod."""
        key, labels = self._pod_of(self._uids.get(workload, ""))
        named = {} if key is None else {"namespace": key[0], "pod": key[1]}
        return {**self._labels[workload], **named, **labels}

    def _name_processes(
        self, process_weights: Mapping[str, int], facts: dict[str, WorkloadFacts], now_ns: int
    ) -> dict[str, int]:
        """Processes by workload, a pod's by its name; call after `_claimed`, which may provide the name."""
        named: dict[str, int] = {}
        for workload, sm in process_weights.items():
            name = self._named(workload)
            named[name] = named.get(name, 0) + sm
            if workload in self._labels:
                workload_facts = facts.get(name)
                labels = self._labels_of(workload) | (dict(workload_facts.labels) if workload_facts is not None else {})
                facts[name] = WorkloadFacts(name, now_ns, "pod", labels)
        return named

    def _claimed(
        self,
        device: str,
        slices: Iterable[str],
        process_weights: Mapping[str, int],
        facts: dict[str, WorkloadFacts],
        now_ns: int,
    ) -> list[str]:
        """Workloads that claim a device or one of these slices of it."""
        claims = [claim for each in (device, *slices) for claim in self._claims.get(each, ()) if not self._over(claim)]
        names: list[str] = []
        for claim in claims:
            fact = claim.facts
            name, labels = fact.workload, dict(fact.labels)
            if fact.kind == "pod":
                name = self._names.of_claim(_key(claim), claim.pod_uid)
                if uid := self._names.uid_of(_key(claim)):
                    labels["pod_uid"] = uid
            facts[name] = WorkloadFacts(name, now_ns, fact.kind, labels)
            names.append(name)
        return list(dict.fromkeys(names))

    def _look_for_ends(self, gpu: str, by_process: DeviceOwners) -> None:
        """Kubelets may list pods that have ended. A pod has ended if its process held a device and it has no process left.

        For a pod that the informer knows, the informer decides.
        """
        for claim in (claim for each in (gpu, *self._mig.get(gpu, ())) for claim in self._claims.get(each, ())):
            key = _key(claim)
            uid = self._names.uid_of(key) if claim.facts.kind == "pod" else ""
            if uid not in self._worked or (self._informer is not None and self._informer.pod_of(uid) is not None):
                continue
            if any(self._uids.get(workload) == uid for workload in by_process.process_weights):
                self._ended.pop(key, None)
            elif self._ended.get(key) != uid and self._living is not None and not self._living.lives(uid):
                self._ended[key] = uid

    def _over(self, claim: Claim) -> bool:
        """Whether its pod has ended; the next pod of the same name has another uid."""
        uid = self._ended.get(_key(claim))
        return bool(uid) and claim.pod_uid in ("", uid)

    def _index(self) -> None:
        self._claims = {}
        for claim in (claim for claims in self._last_claims for claim in claims):
            device = claim.device if claim.device.startswith("MIG-") and "/" not in claim.device else gpu_of(claim.device)
            self._claims.setdefault(device, []).append(claim)
        pods = {_key(claim): claim.pod_uid for claims in self._last_claims for claim in claims if claim.facts.kind == "pod"}
        self._names.claimed(pods)
        for key, uid in pods.items():  # before any of its processes is seen, wherever that works
            self._names.of_claim(key, uid)
        self._ended = {key: uid for key, uid in self._ended.items() if key in pods and self._names.uid_of(key) == uid}
        self._version += 1


def _key(claim: Claim) -> PodKey:
    return claim.facts.labels.get("namespace", ""), claim.facts.labels.get("pod", "")
