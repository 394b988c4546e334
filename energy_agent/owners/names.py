"""What pods are called, for as long as each lives. No I/O.

`namespace/pod` with the first eight digits of the uid where that is known when the pod first holds a device, else
`namespace/pod`; a pod that is first known by its cgroup is `pod-UID`, unless an informer knows it. A name under which joules
were recorded stays to the pod's end, whatever is learnt later; that becomes facts of the workload. Two lives of one name whose
uids are not known both book under `namespace/pod`.

A uid gets the name of a pod only from the kubelet or the API server, which know the uids of pods. Which GPU a process is on
proves nothing, as a container may use GPUs that it was not given.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from energy_agent.core.energy import WorkloadFacts

PodKey = tuple[str, str]
"""Namespace and name."""


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

    def forget(self, seen: Collection[str]) -> None:
        """Forget the uids of pods that are neither claimed nor among those `seen` by a process."""
        kept = {life.uid for life in self._lives.values()} | set(seen)
        self._by_uid = {uid: name for uid, name in self._by_uid.items() if uid in kept}
