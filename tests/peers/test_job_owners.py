"""Chains of owners on a real API server, from a pod up to its TrainJob, JobSet, RayJob, Volcano job or PyTorchJob.

The API server and etcd are real. The job controllers are not: the objects, labels and owner references are those that Kubeflow
Trainer 2, JobSet 0.8, KubeRay 1.3, Volcano 1.11 and the training operator of Kubeflow document.
"""

import json

import pytest

from energy_agent.core.workloads.job_identity import job_address
from energy_agent.owners.kubernetes.informer import PodInformer
from energy_agent.runtime.clock import RealClock
from tests.peers.kube.api_server import ApiServer
from tests.support import eventually, need_peer, need_program
from wattlens.usage.job_address import parse_address

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

NODE, NAMESPACE = "gpu-node-1", "research"
KINDS = {
    "TrainJob": ("trainer.kubeflow.org", "v1alpha1", "trainjobs"),
    "JobSet": ("jobset.x-k8s.io", "v1alpha2", "jobsets"),
    "RayJob": ("ray.io", "v1", "rayjobs"),
    "RayCluster": ("ray.io", "v1", "rayclusters"),
    "PyTorchJob": ("kubeflow.org", "v1", "pytorchjobs"),
}
OWNER_KINDS = ("Job.batch/v1", "JobSet.jobset.x-k8s.io/v1alpha2", "RayCluster.ray.io/v1")


class OwnersApiServer(ApiServer):
    """Kinds that own pods, without the schemas of their projects."""

    def define(self, kind):
        """The CustomResourceDefinition of a kind."""
        group, version, plural = KINDS[kind]
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
        versions = [{"name": version, "served": True, "storage": True, "schema": schema}]
        spec = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
        body = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": spec,
        }
        self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
        eventually(lambda: self.serves(f"/apis/{group}/{version}/namespaces/{NAMESPACE}/{plural}"), 30, every=0.2)

    def owned(self, kind, name, owner=None):
        """An object of a kind, and the reference of what it owns."""
        if kind == "Job":
            container = {"name": "train", "image": "train"}
            spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
            api, path = "batch/v1", f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
        else:
            group, version, plural = KINDS[kind]
            spec, api, path = {}, f"{group}/{version}", f"/apis/{group}/{version}/namespaces/{NAMESPACE}/{plural}"
        metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner] if owner else []}
        resource = self.create(path, {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec})
        return {"apiVersion": api, "kind": kind, "name": name, "uid": resource["metadata"]["uid"], "controller": True}

    def pod(self, name, owner, **labels):
        metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner], "labels": labels}
        spec = {"nodeName": NODE, "containers": [{"name": "train", "image": "train"}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.create(f"/api/v1/namespaces/{NAMESPACE}/pods", body)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need_program("etcd")
    need_peer("kube-apiserver")
    running = OwnersApiServer(tmp_path_factory.mktemp("api"))
    try:
        running.wait()
        running.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for kind in KINDS:
            running.define(kind)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def jobs(server):
    """Pods of five jobs, by the address that people use."""
    jobset = server.owned("JobSet", "llama", server.owned("TrainJob", "llama"))
    child = server.owned("Job", "llama-node-0", jobset)
    names = {"jobset.sigs.k8s.io/jobset-name": "llama", "batch.kubernetes.io/job-name": "llama-node-0"}
    for rank in range(2):
        server.pod(f"llama-node-0-{rank}", child, **names)
    alone = server.owned("JobSet", "qwen")
    server.pod("qwen-w-0-0", server.owned("Job", "qwen-w-0", alone), **{"jobset.sigs.k8s.io/jobset-name": "qwen"})
    cluster = server.owned("RayCluster", "tune-x2k4p", server.owned("RayJob", "tune"))
    server.pod("tune-x2k4p-worker-abc", cluster, **{"ray.io/cluster": "tune-x2k4p", "ray.io/node-type": "worker"})
    bert = server.owned("PyTorchJob", "bert")
    server.pod("bert-worker-0", bert, **{"training.kubeflow.org/job-name": "bert", "training.kubeflow.org/replica-index": "0"})
    volcano = {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "name": "mpi", "uid": "u-1", "controller": True}
    server.pod("mpi-worker-0", volcano, **{"volcano.sh/job-name": "mpi", "volcano.sh/task-spec": "worker"})
    return {
        f"k8s/{NAMESPACE}/llama": {"llama-node-0-0", "llama-node-0-1"},
        f"k8s/{NAMESPACE}/qwen": {"qwen-w-0-0"},
        f"k8s/{NAMESPACE}/tune": {"tune-x2k4p-worker-abc"},
        f"k8s/{NAMESPACE}/bert": {"bert-worker-0"},
        f"k8s/{NAMESPACE}/mpi": {"mpi-worker-0"},
    }


def labels_of(informer, name):
    """What the ledger gets of a pod; None while it is not known."""
    fact = informer.pod(NAMESPACE, name)
    return None if fact is None else {**fact.labels, "namespace": NAMESPACE, "pod": name}


def test_every_pod_is_part_of_its_job(server, jobs):
    informer = PodInformer(server.api, NODE, RealClock(), {}, OWNER_KINDS)
    informer.start()
    try:
        pods = {pod for names in jobs.values() for pod in names}
        eventually(lambda: all(labels_of(informer, pod) for pod in pods), 30, every=0.2)
        for text, names in jobs.items():
            address = parse_address(text)
            members = {pod for pod in pods if address.matches("pod:x", "pod", labels_of(informer, pod))}
            assert members == names, text
        owners = {job_address("pod", labels_of(informer, pod)).partition(f"{NAMESPACE}/")[2] for pod in pods}
        assert owners == {"TrainJob/llama", "JobSet/qwen", "RayJob/tune", "PyTorchJob/bert", "Job/mpi"}
        # A preempted pod is replaced on the same node, under another name, by the same job.
        server.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/bert-worker-0?gracePeriodSeconds=0")
        references = json.loads(server.request("GET", f"/apis/kubeflow.org/v1/namespaces/{NAMESPACE}/pytorchjobs/bert"))
        uid = references["metadata"]["uid"]
        owner = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": "bert", "uid": uid, "controller": True}
        server.pod("bert-worker-0-r1", owner, **{"training.kubeflow.org/job-name": "bert"})
        eventually(lambda: labels_of(informer, "bert-worker-0-r1"), 30, every=0.2)
        assert parse_address(f"k8s/{NAMESPACE}/bert").matches("pod:y", "pod", labels_of(informer, "bert-worker-0-r1"))
    finally:
        informer.stop()


def test_without_owner_kinds_labels_name_the_job_or_its_cluster(server, jobs):
    informer = PodInformer(server.api, NODE, RealClock(), {})
    informer.start()
    try:
        pods = ("llama-node-0-0", "tune-x2k4p-worker-abc", "mpi-worker-0")
        eventually(lambda: all(labels_of(informer, pod) for pod in pods), 30, every=0.2)
        owners = [labels_of(informer, pod)["owner"] for pod in pods]
        assert owners == ["JobSet/llama", "RayCluster/tune-x2k4p", "Job/mpi"]
    finally:
        informer.stop()
