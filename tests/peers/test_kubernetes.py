"""The chart and the manifests on a real Kubernetes: as the documentation has it, and what was refused or lost on the way.

The images are built by the product's recipe, so that the agent runs on their Python and under the manifests' memory limit.
"""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from energy_agent.ledger.journal import database
from tests.certificates import Authority
from tests.deploy.kubernetes_objects import FOLDERS, KUBERNETES
from tests.peers.kube import images
from tests.peers.kube.cluster import NODE, ROOT, Cluster, CommandError, cluster, load, need_cluster
from tests.peers.kube.init import KERNEL_SETTINGS
from tests.support import eventually, need_program
from wattlens import __version__

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1800)]

CHART = "deploy/helm/wattlens"
LABEL = "nvidia.com/gpu.present"
GPUS = 8
LIMIT_B = 192 << 20
RUNTIME_CLASS = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"}
VALUES = ("--set", f"image.repository={images.REGISTRY}/wattlens")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A node with GPUs that has neither the label nor the runtime class."""
    need_cluster()
    for program in ("dockerd", "docker", "mmdebstrap", "curl"):
        need_program(program)
    folder = tmp_path_factory.mktemp("kube")
    archive = images.build(folder)
    settings = kernel_settings()
    with cluster(folder / "node") as node:
        load(node, archive)
        archive.unlink()
        yield node
    assert kernel_settings() == settings, "the kubelet's are the node's own"


def kernel_settings() -> dict[str, str]:
    return {name: Path("/proc/sys", name).read_text() for name in KERNEL_SETTINGS}


@pytest.fixture(scope="module")
def node(bare: Cluster) -> Cluster:
    """As the GPU Operator leaves it."""
    bare.kubectl("label", "node", NODE, f"{LABEL}=true", "--overwrite")
    bare.apply(RUNTIME_CLASS)
    return bare


def make_namespace(node: Cluster) -> None:
    node.kubectl("apply", "-k", KUBERNETES / "namespace")


def install(node: Cluster, *values: str) -> str:
    return node.run("helm", "upgrade", "--install", "wattlens", CHART, "--namespace", "wattlens", *VALUES, *values)


def uninstall(node: Cluster) -> None:
    node.run("helm", "uninstall", "wattlens", "--namespace", "wattlens", "--wait")


def agent(node: Cluster, name: str = "wattlens-agent") -> str:
    """Name of the ready pod of a workload that is not being deleted."""

    def ready() -> str:
        for pod in node.objects("pods", "--namespace", "wattlens", "--selector", f"app.kubernetes.io/name={name}"):
            conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
            if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
                return str(pod["metadata"]["name"])
        return ""

    try:
        return eventually(ready, 60, 0.5)
    except pytest.fail.Exception:
        selector = ("--namespace", "wattlens", "--selector", f"app.kubernetes.io/name={name}")
        pytest.fail(
            node.kubectl("describe", "pods", *selector) + node.kubectl("logs", *selector, "--all-containers") + node.logs()
        )


def series(node: Cluster, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Values of a metric by their labels."""
    families = text_string_to_metric_families(node.metrics(agent(node)))
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return {tuple(sorted(sample.labels.items())): sample.value for sample in samples}


def container(node: Cluster, name: str = "agent") -> dict[str, Any]:
    """What the kubelet measured of a container of the agent's pod."""
    summary = json.loads(node.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/stats/summary"))
    (pod,) = [pod for pod in summary["pods"] if pod["podRef"]["name"] == agent(node)]
    (spec,) = [c for c in pod["containers"] if c["name"] == name]
    return dict(spec)


def restarts(node: Cluster) -> int:
    pods = node.objects("pods", "--namespace", "wattlens")
    return sum(status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", []))


def existing(node: Cluster, *kinds: str) -> set[tuple[str, str]]:
    objects = node.objects(",".join(kinds), "--namespace", "wattlens")
    return {(o["kind"], o["metadata"]["name"]) for o in objects if o["metadata"]["name"] != "kube-root-ca.crt"}


def blocks(page: str) -> list[str]:
    """Shell commands that a page says are run here, with this cluster's names; images are built and there already."""
    text = (ROOT / "docs" / page).read_text()
    scripts = re.findall(r"<!-- run by: tests/peers/test_kubernetes.py -->\n```sh\n(.*?)```", text, re.S)
    for word, name in {"REGISTRY": images.REGISTRY, "NAMESPACE": "serving", "NAME": "chat", "VERSION": __version__}.items():
        scripts = [re.sub(rf"\b{word}\b", name, block) for block in scripts]
    return [re.sub(r"^docker .*\n", "", block, flags=re.M) for block in scripts]


def test_a_rollout_without_agents_is_a_failure_with_its_reason(bare: Cluster) -> None:
    make_namespace(bare)
    install(bare)
    with pytest.raises(CommandError, match="no matching node"):
        bare.run("helm", "test", "wattlens", "--namespace", "wattlens", "--logs")
    bare.kubectl("label", "node", NODE, f"{LABEL}=true")
    with pytest.raises(CommandError, match='RuntimeClass "nvidia" not found'):
        bare.run("helm", "test", "wattlens", "--namespace", "wattlens", "--logs")
    uninstall(bare)


def test_the_quick_start_as_it_is_written(node: Cluster) -> None:
    node.kubectl("delete", "namespace", "wattlens", "--ignore-not-found")
    node.kubectl("apply", "--filename", ROOT / "tests/peers/kube/serving.yaml")
    look, set_up, see, annotate, _ = blocks("kubernetes.md")
    *_, remove = blocks("security.md")
    assert NODE in node.shell(look)
    assert "wattlens-agent: 1 of 1 nodes have a ready agent" in node.shell(set_up)
    node.kubectl("--namespace", "serving", "rollout", "status", "deployment/chat")
    eventually(lambda: len(series(node, "wattlens_workload_info")) >= 3, every=1)
    output = node.shell(see)
    assert output.count('namespace="serving"') == 3
    assert 'owner="Deployment/chat"' in output
    node.shell(annotate)
    node.kubectl("--namespace", "serving", "rollout", "status", "deployment/chat")

    def tokens() -> dict[str, float]:
        token_counts = {dict(labels)["workload"]: value for labels, value in series(node, "wattlens_tokens_total").items()
                 if ("phase", "generation") in labels}  # fmt: skip
        return {name: value for name, value in token_counts.items() if value > 0}

    eventually(lambda: len(tokens()) == 3, 60, 1)
    memory_b = container(node)["memory"]["workingSetBytes"]
    node.kubectl("--namespace", "serving", "scale", "deployment/chat", "--replicas=2")
    generated = max(tokens().values())
    eventually(lambda: max(tokens().values()) > generated + 2000, 120, 1)  # 20 s
    assert memory_b < LIMIT_B / 2
    assert container(node)["memory"]["workingSetBytes"] < memory_b + (8 << 20), "it grows with every poll"
    assert restarts(node) == 0
    assert "no response" not in node.kubectl("--namespace", "wattlens", "logs", agent(node)), "a pod that ends is no fault"
    with node.plant() as plant:
        counters = [plant.truth(gpu).sensed_uj for gpu in range(plant.count)]
        energy_j = sum(series(node, "wattlens_gpu_energy_joules_total").values())
        node.kubectl("create", "secret", "generic", "meters", "--namespace", "wattlens", "--from-literal=community=public")
        node.shell(remove)
        assert ("Secret", "meters") in existing(node, "secrets")
        node.shell("\n".join(line for line in set_up.splitlines() if line.startswith("helm")))
        gained_j = sum(series(node, "wattlens_gpu_energy_joules_total").values()) - energy_j
        drawn_j = sum(plant.truth(gpu).sensed_uj - start for gpu, start in enumerate(counters)) / 1e6
    lag_j = 3 * GPUS * 700  # seconds by which a page may be behind, at each end
    assert abs(gained_j - drawn_j) < lag_j, "the ledger on the node goes on where it was"
    assert gained_j > 0
    uninstall(node)
    node.kubectl("delete", "namespace", "serving", "--wait=false")


def test_an_upgrade_keeps_values_and_energy_and_a_rollback_meets_a_journal_of_another_format(node: Cluster) -> None:
    upgrade, rollback, _ = blocks("security.md")
    make_namespace(node)
    install(node, "--set", "agent.config.holders.retention_s=77")
    first = agent(node)
    assert not may_list_pods(node)
    with node.plant() as plant:
        counters = [plant.truth(gpu).sensed_uj for gpu in range(plant.count)]
        energy_j = sum(series(node, "wattlens_gpu_energy_joules_total").values())
        node.shell(upgrade.replace("--set ", "--set informer.enabled=true,"))
        second = agent(node)
        gained_j = sum(series(node, "wattlens_gpu_energy_joules_total").values()) - energy_j
        drawn_j = sum(plant.truth(gpu).sensed_uj - start for gpu, start in enumerate(counters)) / 1e6
    assert second != first
    assert abs(gained_j - drawn_j) < 3 * GPUS * 700  # as above
    assert may_list_pods(node)
    assert "retention_s: 77" in node.kubectl("--namespace", "wattlens", "describe", "configmap", "wattlens-agent")
    values = json.loads(node.run("helm", "get", "values", "wattlens", "--namespace", "wattlens", "--output", "json"))
    assert values["image"] == {"repository": f"{images.REGISTRY}/wattlens", "tag": __version__}
    with closing(sqlite3.connect(node.folder / "lib/wattlens/journal.db", timeout=30)) as connection:
        connection.execute(f"PRAGMA user_version={database.FORMAT + 1}")
    energy_j = sum(series(node, "wattlens_gpu_energy_joules_total").values())
    node.shell(rollback)
    assert agent(node) not in (first, second)
    assert not may_list_pods(node)
    assert restarts(node) == 0
    assert list(series(node, "wattlens_ledger_journals_moved_aside").values()) == [1]
    sealed_j = sum(series(node, "wattlens_gpu_energy_joules_total").values())
    assert sealed_j >= energy_j, "the agent that was stopped had sealed all that it showed"
    assert sum(series(node, "wattlens_gpu_energy_gap_bound_joules_total").values()) > 0
    for path in (node.folder / "lib/wattlens").glob("journal.db.format-*"):
        path.unlink()
    uninstall(node)


def may_list_pods(node: Cluster) -> bool:
    account = "system:serviceaccount:wattlens:wattlens-agent"
    return node.run("sh", "-c", f"kubectl auth can-i list pods --as {account} || true").strip() == "yes"


def test_the_preflight_leaves_nothing_in_the_way(node: Cluster) -> None:
    *_, commands = blocks("kubernetes.md")
    for _ in range(2):  # before the installation, and while agents run
        output = node.shell(commands)
        assert '"can_run": true' in output
        eventually(lambda: not existing(node, "daemonsets", "serviceaccounts") & {("DaemonSet", "wattlens-preflight")}, 30)
        install(node)
        agent(node)
    assert ("ConfigMap", "wattlens-agent") in existing(node, "configmaps")
    uninstall(node)


def test_the_doctor_of_the_notes_finds_no_failure(node: Cluster) -> None:
    for values in ([], ["--set", "simulated.enabled=true"]):
        install(node, *values)
        agent(node)
        notes = node.run("helm", "get", "notes", "wattlens", "--namespace", "wattlens")
        (command,) = re.findall(r"^ *(kubectl .* exec .*)$", notes, re.M)
        assert "The agent can run here" in node.shell(command)
        uninstall(node)


def test_every_folder_of_manifests_is_accepted(node: Cluster) -> None:
    node.kubectl(
        "label", "--overwrite", "namespace", "wattlens", "resource.kubernetes.io/admin-access=true"
    )  # for overlays/dra
    for folder in FOLDERS:
        if folder != "monitoring":  # kinds of the Prometheus operator
            node.kubectl("apply", "--dry-run=server", "-k", KUBERNETES / folder)


def test_every_overlay_runs_and_none_takes_the_ledger_with_it(node: Cluster, tmp_path: Path) -> None:
    make_namespace(node)
    authority = Authority(tmp_path)
    authority.issue("tls", "DNS:wattlens-agent.wattlens.svc")
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n")
    files = (f"web.yml={tmp_path}/web.yml", f"tls.crt={tmp_path}/tls.pem", f"tls.key={tmp_path}/tls.key")
    node.kubectl("--namespace", "wattlens", "create", "secret", "generic", "wattlens-web", *(f"--from-file={f}" for f in files))
    node.apply(*(volume(node, name, size) for name, size in (("report", "100Gi"), ("site", "10Gi"))))
    node.kubectl("apply", "-k", KUBERNETES / "report/volume")
    node.kubectl("apply", "-k", KUBERNETES / "site/volume")
    for name in ("base", "shadow", "enforce", "informer", "cdi", "tls", "ship", "nonroot"):
        folder = name if name == "base" else f"overlays/{name}"
        if name == "nonroot":
            node.run("chown", "--recursive", "65532:65532", "/var/lib/wattlens")
        node.kubectl("apply", "-k", KUBERNETES / folder)
        node.kubectl("--namespace", "wattlens", "rollout", "status", "daemonset/wattlens-agent", "--timeout=90s")
        if name != "tls":
            eventually(lambda: sum(series(node, "wattlens_gpu_up").values()) == GPUS, every=1)
    node.run("chown", "--recursive", "root:root", "/var/lib/wattlens")  # which root's agents require
    for folder in ("site", "report"):
        node.kubectl("apply", "-k", KUBERNETES / folder)
    agent(node, "wattlens-site")
    node.kubectl("--namespace", "wattlens", "create", "job", "try", "--from", "cronjob/wattlens-compact")
    node.kubectl("--namespace", "wattlens", "wait", "--for=condition=complete", "job/try", "--timeout=60s")
    assert "nothing to compact yet" in node.kubectl("--namespace", "wattlens", "logs", "job/try")
    assert restarts(node) == 0
    kept = {
        ("PersistentVolumeClaim", "wattlens-report"),
        ("PersistentVolumeClaim", "wattlens-site"),
        ("Secret", "wattlens-web"),
    }
    for folder in ("report", "site", "overlays/ship", "overlays/informer", "overlays/enforce"):
        node.kubectl("delete", "--ignore-not-found", "-k", KUBERNETES / folder)
    assert kept <= existing(node, "persistentvolumeclaims", "secrets")
    assert not existing(node, "daemonsets", "deployments", "cronjobs", "configmaps")
    node.kubectl("apply", "-k", KUBERNETES / "overlays/simulated")
    agent(node)
    node.kubectl("delete", "-k", KUBERNETES / "overlays/simulated")


def test_helm_creates_the_namespace_and_leaves_it_with_its_volumes(node: Cluster) -> None:
    node.kubectl("delete", "namespace", "wattlens", "--ignore-not-found", timeout=180)
    install(node, "--create-namespace", "--set", "namespace.create=true,site.enabled=true,report.enabled=true")
    agent(node)
    node.kubectl("create", "secret", "generic", "meters", "--namespace", "wattlens", "--from-literal=community=public")
    uninstall(node)
    kept = {("PersistentVolumeClaim", "wattlens-report"), ("PersistentVolumeClaim", "wattlens-site"), ("Secret", "meters")}
    assert kept <= existing(node, "persistentvolumeclaims", "secrets")


def volume(node: Cluster, name: str, size: str) -> dict[str, Any]:
    """A volume for a claim, in a folder of the node that every user may write."""
    folder = node.folder / f"volume-{name}"
    folder.mkdir()
    folder.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": "wattlens", "name": f"wattlens-{name}"},
        },
    }
