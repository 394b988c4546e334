"""Who made a pod: the job, service or cluster whose energy people ask for. Pure; from the pod's own metadata.

Well-known labels come first, as they name the whole (a JobSet) where an owner reference names a part (one Job of it). The
LeaderWorkerSets of a DisaggregatedSet get new names with each of its revisions. A TrainJob of Kubeflow Trainer gives its own
name to its JobSet. A RayCluster has its own name: which RayJob made it is in its owner reference, or in labels that KubeRay
gives to what a RayJob or RayService creates. Then the controlling owner reference, with a ReplicaSet taken for its Deployment
where the pod-template-hash proves that it is one's.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LLMD_ROLE = "llm-d.ai/role"
_PHASES = ("encode", "encode-prefill", "prefill", "decode")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_LWS = "leaderworkerset.sigs.k8s.io/name"
_LWS_GROUP = "leaderworkerset.sigs.k8s.io/group-index"
"""A number, or with `groupIdentity: Hash` a random key."""
_BY_LABEL = (
    ("jobset.sigs.k8s.io/jobset-name", "JobSet"),
    ("disaggregatedset.x-k8s.io/name", "DisaggregatedSet"),
    (_LWS, "LeaderWorkerSet"),
    ("trainer.kubeflow.org/trainjob-name", "TrainJob"),
    ("ray.io/cluster", "RayCluster"),
    ("training.kubeflow.org/job-name", ""),  # of several kinds: its owner reference says which
    ("volcano.sh/job-name", "Job"),  # its kind in the group batch.volcano.sh
    ("kueue.x-k8s.io/pod-group-name", "PodGroup"),
    ("batch.kubernetes.io/job-name", "Job"),
    ("job-name", "Job"),
)
_WORKS_AS_ONE = {"JobSet", "TrainJob", "RayCluster", "RayJob", "PodGroup", "Job"}
_RAY_KIND, _RAY_NAME = "ray.io/originated-from-crd", "ray.io/originated-from-cr-name"
_TRAINING = "kubeflow.org/"


def facts_of_owner(metadata: Mapping[str, Any]) -> dict[str, str]:
    """`owner` as Kind/name, and `group` where the owner's pods work as one; what is not known is left out."""
    labels = text_map(metadata.get("labels"))
    service = _service_of_pools(labels)
    if service:
        return {"owner": service, "group": f"{metadata['namespace']}/{service}"}
    reference = controller(metadata)
    for key, label_kind in _BY_LABEL:
        name = labels.get(key, "")
        if not _NAME.fullmatch(name):
            continue
        if label_kind == "PodGroup" and reference is not None and reference["kind"] == "StatefulSet":
            continue  # Kueue labels the replicas of a StatefulSet so, which are no job
        kind = label_kind
        if not kind:
            of_training = reference is not None and str(reference.get("apiVersion", "")).startswith(_TRAINING)
            kind = str(reference["kind"]) if reference is not None and of_training else "TrainingJob"
        if kind == "RayCluster" and labels.get(_RAY_KIND) == "RayJob" and _NAME.fullmatch(labels.get(_RAY_NAME, "")):
            kind, name = "RayJob", labels[_RAY_NAME]
        owner = f"{kind}/{name}"
        if kind in ("DisaggregatedSet", "LeaderWorkerSet"):
            part, index = labels.get(_LWS, ""), labels.get(_LWS_GROUP, "")
            grouped = _NAME.fullmatch(part) and _LABEL.fullmatch(index)
            return {"owner": owner} | ({"group": f"LeaderWorkerSet/{part}/{index}"} if grouped else {})
        return {"owner": owner} | ({"group": owner} if kind in _WORKS_AS_ONE or not label_kind else {})
    if reference is None:
        return {}
    kind, name, hashed = str(reference["kind"]), str(reference["name"]), labels.get("pod-template-hash", "")
    if kind == "ReplicaSet" and hashed and name.endswith(f"-{hashed}"):
        kind, name = "Deployment", name.removesuffix(f"-{hashed}")
    return {"owner": f"{kind}/{name}"} if _NAME.fullmatch(name) else {}


def _service_of_pools(labels: Mapping[str, str]) -> str:
    """The inference service of which a pod is a pool for one phase (encode, prefill, decode), as Kind/name; "" for other pods.

    Its pools are of several Deployments, which work as one engine.
    """
    if labels.get(_LLMD_ROLE) not in _PHASES:
        return ""
    of_kserve = labels.get("app.kubernetes.io/part-of") == "llminferenceservice"
    kind, key = ("LLMInferenceService", "app.kubernetes.io/name") if of_kserve else ("ModelService", "llm-d.ai/model")
    name = labels.get(key, "")
    return f"{kind}/{name}" if _LABEL.fullmatch(name) else ""


def controller(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner reference with `controller`, else the first; None if there is no valid reference."""
    references = metadata.get("ownerReferences")
    if not isinstance(references, Sequence) or isinstance(references, str):
        return None
    good = [
        r
        for r in references[:16]
        if isinstance(r, Mapping) and _KIND.fullmatch(str(r.get("kind", ""))) and _NAME.fullmatch(str(r.get("name", "")))
    ]
    return next((r for r in good if r.get("controller") is True), good[0] if good else None)


def text_map(value: object) -> dict[str, str]:
    """Labels or annotations: what of them is text."""
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, str)} if isinstance(value, Mapping) else {}


def plural(kind: str) -> str:
    """The resource of a kind, as Kubernetes guesses it: lower case, with s, es or ies."""
    name = kind.lower()
    if name.endswith("s"):
        return name + "es"
    return name[:-1] + "ies" if name.endswith("y") else name + "s"
