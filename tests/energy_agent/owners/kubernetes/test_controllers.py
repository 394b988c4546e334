"""Who made a pod, from metadata as Kubernetes and its job controllers write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.text import is_printable
from energy_agent.owners.kubernetes.controllers import facts_of_owner, plural


def ref(kind, name, api="batch/v1", **more):
    return {"apiVersion": api, "kind": kind, "name": name, "uid": "u", **more}


@pytest.mark.parametrize(
    ("labels", "references", "owner", "group"),
    [
        ({}, [], None, None),
        ({"pod-template-hash": "7c5ddbdf54"}, [ref("ReplicaSet", "chat-7c5ddbdf54", "apps/v1")], "Deployment/chat", None),
        ({"pod-template-hash": "other"}, [ref("ReplicaSet", "chat-7c5ddbdf54", "apps/v1")], "ReplicaSet/chat-7c5ddbdf54", None),
        ({}, [ref("StatefulSet", "db", "apps/v1")], "StatefulSet/db", None),
        ({}, [ref("Node", "n1", "v1"), ref("Job", "train", controller=True)], "Job/train", None),
        ({"batch.kubernetes.io/job-name": "train"}, [ref("Job", "train", controller=True)], "Job/train", "Job/train"),
        ({"job-name": "old"}, [], "Job/old", "Job/old"),
        ({"jobset.sigs.k8s.io/jobset-name": "llm", "batch.kubernetes.io/job-name": "llm-w-0"}, [ref("Job", "llm-w-0")],
         "JobSet/llm", "JobSet/llm"),
        ({"ray.io/cluster": "raycluster-x"}, [ref("RayCluster", "raycluster-x", "ray.io/v1")],
         "RayCluster/raycluster-x", "RayCluster/raycluster-x"),
        ({"ray.io/cluster": "tune-x2k4", "ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "tune"},
         [ref("RayCluster", "tune-x2k4", "ray.io/v1")], "RayJob/tune", "RayJob/tune"),
        ({"ray.io/cluster": "tune-x2k4", "ray.io/originated-from-crd": "RayService", "ray.io/originated-from-cr-name": "tune"},
         [ref("RayCluster", "tune-x2k4", "ray.io/v1")], "RayCluster/tune-x2k4", "RayCluster/tune-x2k4"),
        ({"volcano.sh/job-name": "mpi", "volcano.sh/queue-name": "q"}, [ref("Job", "mpi", "batch.volcano.sh/v1alpha1")],
         "Job/mpi", "Job/mpi"),
        ({"training.kubeflow.org/job-name": "bert"}, [ref("PyTorchJob", "bert", "kubeflow.org/v1")],
         "PyTorchJob/bert", "PyTorchJob/bert"),
        ({"training.kubeflow.org/job-name": "bert"}, [], "TrainingJob/bert", "TrainingJob/bert"),
        ({"leaderworkerset.sigs.k8s.io/name": "vllm", "leaderworkerset.sigs.k8s.io/group-index": "1"},
         [ref("StatefulSet", "vllm-1", "apps/v1")], "LeaderWorkerSet/vllm", "LeaderWorkerSet/vllm/1"),
        ({"disaggregatedset.x-k8s.io/name": "pd", "disaggregatedset.x-k8s.io/slice": "0",
          "leaderworkerset.sigs.k8s.io/name": "pd-0-5d8f-decode", "leaderworkerset.sigs.k8s.io/group-index": "9f2ac71b" * 5},
         [ref("ReplicaSet", "pd-0-5d8f-decode-7c9", "apps/v1")], "DisaggregatedSet/pd",
         "LeaderWorkerSet/pd-0-5d8f-decode/" + "9f2ac71b" * 5),
        ({"kueue.x-k8s.io/pod-group-name": "statefulset-chat-1a2b3", "kueue.x-k8s.io/queue-name": "q"},
         [ref("StatefulSet", "chat", "apps/v1")], "StatefulSet/chat", None),
        ({"kueue.x-k8s.io/pod-group-name": "g1", "kueue.x-k8s.io/queue-name": "q"}, [], "PodGroup/g1", "PodGroup/g1"),
        ({"ray.io/cluster": "../../etc"}, [ref("Job", "ok")], "Job/ok", None),
        ({}, [ref("job", "x"), ref("Job", "X\x1b"), "text", {"kind": 5}], None, None),
    ],
)  # fmt: skip
def test_the_whole_comes_before_its_part(labels, references, owner, group):
    facts = facts_of_owner({"labels": labels, "ownerReferences": references})
    assert (facts.get("owner"), facts.get("group")) == (owner, group)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "name", "apiVersion", "ray.io/cluster"]), inner)
    ),
    max_leaves=8,
)


@given(json_like, json_like)
def test_any_metadata_gives_printable_facts_or_none(labels, references):
    for value in facts_of_owner({"labels": labels, "ownerReferences": references}).values():
        assert is_printable(value)
        assert len(value) < 400


def test_resources_are_named_as_kubernetes_guesses_them():
    kinds = ("Job", "ModelTrainingJob", "Policy", "Ingress")
    assert [plural(kind) for kind in kinds] == ["jobs", "modeltrainingjobs", "policies", "ingresses"]
