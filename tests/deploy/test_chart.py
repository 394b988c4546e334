"""The chart by Helm 4: committed manifests are what it makes, every value works, Kubernetes' own schemas accept it all."""

import json
import os
import re
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import manifests
from dvfs.actuator import allow_list
from energy_agent.config import agent
from tests.deploy.kubernetes_objects import (
    CHART,
    FOLDERS,
    KUBERNETES,
    ROOT,
    Object,
    committed,
    containers,
    exceptions,
    listed,
    of_kind,
    pods,
)
from tests.deploy.kubernetes_tools import need_tools
from tests.deploy.npm_models import install_models
from tests.support import need_module, need_program
from tools import rbac
from wattlens import __version__
from wattlens.agent.config_check import check
from wattlens.site.file import load_site

pytestmark = [pytest.mark.peer, pytest.mark.timeout(800)]  # the first one may fetch Helm

VERSIONS = ("1.34", "1.35", "1.36", "1.37")
"""The last four of Kubernetes."""
EVERYTHING = {
    "mode": "enforce",
    "deviceAccess": "nri",
    "image": {"repository": "registry.example/wattlens", "tag": "1.2.3", "pullSecrets": ["registry"]},
    "informer": {"enabled": True, "ownerKinds": ["Job.batch/v1", "Proxy.ai.example/v1", "Mass.ai.example/v1beta1"]},
    "tls": {"enabled": True},
    "clientSocket": {"enabled": True},
    "ship": {"enabled": True, "url": "s3://bucket/$(NODE_NAME)", "envSecretName": "bucket"},
    "podMonitor": {
        "enabled": True, "clusterLabel": True, "labels": {"release": "prometheus"}, "interval": "30s",
        "endpoint": {"basicAuth": {which: {"name": "scrape", "key": which} for which in ("username", "password")}},
        "seriesLabels": {"site": "fra1", "price": "3$/h"}, "nodeLabels": {"rack": "topology.example.com/rack-name"},
    },
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True, "annotations": {"example.com/folder": "GPU energy"}},
    "grafanaAlerts": {"enabled": True, "datasourceUid": "mimir", "folder": "GPU energy"},
    "networkPolicy": {"scrapeFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]},
    "site": {"enabled": True, "secretName": "meters", "storageClassName": "fast", "priorityClassName": "high"},
    "report": {"enabled": True, "signingSecretName": "key", "interim": True, "storageClassName": "shared"},
    "agent": {
        "config": {"dvfs": {"slowdown": 0.05}, "node": {"cluster": "fra1-a"}},
        "env": [{"name": "TZ", "value": "UTC"}],
        "podAnnotations": {"example.com/owner": "sre"},
        "maxUnavailable": 2,
        "kubeletPath": "/var/lib/k0s/kubelet",
        "podLogsPath": "/data/pod-logs",
    },
    "actuator": {
        "allow": [{"devices": [0, "GPU-1"], "knobs": ["clock", "power"], "baseline": "unlocked", "clock_mhz": [1005, 1980]}],
    },
    "priority": {"create": False, "className": "system-node-critical"},
}  # fmt: skip


@pytest.fixture(scope="module")
def tools() -> tuple[Path, Path]:
    """Helm and kubectl."""
    return need_tools()


@pytest.fixture(scope="module")
def helm(tools: tuple[Path, Path]) -> Path:
    return tools[0]


def render_chart(helm: Path, folder: Path, values: Any) -> list[Object]:
    """Objects that the chart makes of values."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return objects(manifests.template(helm, "--values", path))


def objects(text: str) -> list[Object]:
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def keyed(documents: list[Object]) -> dict[tuple[str, str], Object]:
    keys = {(o["kind"], o["metadata"]["name"]): o for o in documents}
    assert len(keys) == len(documents)
    return keys


def valid(documents: list[Object]) -> None:
    """By the strict schemas of every version."""
    need_module("kubernetes_validate")
    import kubernetes_validate

    for document in documents:
        if not document["apiVersion"].startswith("monitoring.coreos.com/"):
            for version in VERSIONS:
                kubernetes_validate.validate(document, version, strict=True)


def test_what_is_committed_is_what_the_chart_makes(helm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests.check(helm)
    monkeypatch.setattr(manifests, "readme", lambda: "other")
    with pytest.raises(ValueError, match=r"stale: deploy/helm/wattlens/README\.md; write them with"):
        manifests.check(helm)


@pytest.mark.parametrize(
    "folder",
    [
        "namespace",
        "base",
        "overlays/observe",
        "overlays/enforce",
        "site",
        "site/volume",
        "report",
        "report/volume",
        "monitoring",
    ],
)
def test_kustomize_builds_what_helm_makes(tools: tuple[Path, Path], folder: str) -> None:
    helm, kubectl = tools
    directory = KUBERNETES / folder
    command = [kubectl, "kustomize", directory]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    values = directory / "values.yaml"
    values = values if values.is_file() else KUBERNETES / "base/values.yaml"
    expected = keyed(objects(manifests.template(helm, "--skip-tests", "--values", values)))
    kept = ("Namespace", "PersistentVolumeClaim")
    if folder == "namespace" or folder.endswith("/volume"):
        expected = {key: o for key, o in expected.items() if key[0] in kept}
    else:
        expected = {key: o for key, o in expected.items() if key[0] not in kept}
    if folder == "monitoring":  # monitors, and the rules that the dashboards' own build writes
        expected = {key: o for key, o in expected.items() if key[0] == "PodMonitor"}
        rules = yaml.load((directory / "prometheusrule.yaml").read_text(), yaml.CSafeLoader)
        expected["PrometheusRule", "wattlens"] = rules | {"metadata": rules["metadata"] | {"namespace": "wattlens"}}
    assert keyed(objects(built)) == expected


def test_debians_kustomize_builds_every_folder() -> None:
    program = need_program("kustomize")
    for folder in (*FOLDERS, "overlays/observe"):
        subprocess.run([program, "build", KUBERNETES / folder], capture_output=True, check=True)


def test_what_holds_the_ledger_is_kept_at_uninstall(helm: Path, tmp_path: Path) -> None:
    values = {"namespace": {"create": True}, "site": {"enabled": True}, "report": {"enabled": True}}
    kept = {(o["kind"], o["metadata"]["name"]) for o in render_chart(helm, tmp_path, values)
            if o["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"}  # fmt: skip
    assert kept == {("Namespace", "wattlens"), *(("PersistentVolumeClaim", f"wattlens-{name}") for name in ("site", "report"))}


def test_what_is_committed_fits_the_last_four_kubernetes() -> None:
    documents = {json.dumps(o, sort_keys=True): o for folder in FOLDERS for o in committed(folder)}
    valid(list(documents.values()))
    need_module("kubernetes_validate")
    import kubernetes_validate

    (wrong,) = of_kind(committed("base"), "DaemonSet")
    wrong["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    for version in VERSIONS:
        with pytest.raises(kubernetes_validate.ValidationError, match="redinessProbe"):
            kubernetes_validate.validate(wrong, version, strict=True)


def test_every_value_at_once(helm: Path, tmp_path: Path) -> None:
    documents = render_chart(helm, tmp_path, EVERYTHING)
    valid(documents)
    keys = keyed(documents)
    template = keys["DaemonSet", "wattlens-agent"]["spec"]["template"]
    pod, notes = template["spec"], template["metadata"]["annotations"]
    places = {"/var/lib/k0s/kubelet/pod-resources": "/var/lib/kubelet/pod-resources", "/data/pod-logs": "/var/log/pods"}
    assert {(f"hostPath {place}, read-only", "") for place in places} <= exceptions(pod)
    usual = {f"hostPath {place}, read-only": f"hostPath {default}, read-only" for place, default in places.items()}
    taken = {(usual.get(what, what), container) for what, container in exceptions(pod)}
    rows = {(what, c) for what, c, where in listed() if where in ("enforce", "clientSocket.enabled")}
    assert taken == rows | {("uid 0", "ship")}
    assert not {key for key in notes if key.startswith("prometheus.io/")}, "who has monitors needs no annotations"
    injected = {key for key in notes if key.startswith("nvidia.cdi.k8s.io/container.")}
    assert injected == {f"nvidia.cdi.k8s.io/container.{name}" for name in ("agent", "actuator")}
    assert notes["example.com/owner"] == "sre"
    assert "runtimeClassName" not in pod
    assert (pod["priorityClassName"], pod["imagePullSecrets"]) == ("system-node-critical", [{"name": "registry"}])
    assert ("PriorityClass", "system-node-critical") not in keys
    assert {c["image"] for c in containers(pod).values()} == {"registry.example/wattlens:1.2.3"}
    assert not [v for v in pod["volumes"] if "persistentVolumeClaim" in v], "an object store needs no volume"
    agent_yaml = tmp_path / "agent.yaml"
    agent_yaml.write_text(keys["ConfigMap", "wattlens-agent"]["data"]["agent.yaml"])
    check(agent_yaml)
    whole = agent.load(agent_yaml)
    assert (whole.dvfs.mode, whole.dvfs.slowdown, whole.node.cluster) == ("enforce", 0.05, "fra1-a")
    role, binding = rbac.documents(whole.holders.kubernetes, node=True)
    assert keys["ClusterRole", "wattlens-agent"]["rules"] == role["rules"]
    assert keys["ClusterRoleBinding", "wattlens-agent"]["subjects"] == binding["subjects"]
    actuator_yaml = tmp_path / "actuator.yaml"
    actuator_yaml.write_text(keys["ConfigMap", "wattlens-actuator"]["data"]["actuator.yaml"])
    (rule,) = allow_list.load(actuator_yaml).allow.rules
    assert rule.covers("GPU-1", 7)
    rules = yaml.load((KUBERNETES / "monitoring/prometheusrule.yaml").read_text(), yaml.CSafeLoader)
    assert keys["PrometheusRule", "wattlens"]["spec"] == rules["spec"]
    site = pods(documents)["wattlens-site"]
    assert exceptions(site) == set()
    assert containers(site)["ship"]["args"][3] == "s3://bucket/$(NODE_NAME)"
    assert keys["CronJob", "wattlens-report-interim"]["spec"]["suspend"] is False


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"mode": "enforcing"}, "value must be one of 'observe', 'shadow', 'enforce'"),
        ({"agent": {"resource": {}}}, "additional properties 'resource' not allowed"),
        ({"agent": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}, "invalid propertyName 'nvidia.com/gpu'"),
        ({"mode": "enforce", "runAsNonRoot": True}, "mode enforce needs uid 0"),
        ({"mode": "enforce", "simulated": {"enabled": True}}, "set mode=shadow"),
        ({"agent": {"config": {"dvfs": {"mode": "enforce"}}}}, "set the value mode"),
        ({"actuator": {"allow": [{"devices": "all"}]}}, "missing property 'knobs'"),
        ({"priority": {"value": 2_000_000_000}}, "maximum"),
        ({"deviceAccess": "dra"}, "needs informer.enabled=true"),
        ({"informer": {"ownerKinds": ["Job"]}}, "does not match pattern"),
        ({"agent": {"config": {"dvfs": {"slowdwon": 0.05}}}}, "additional properties 'slowdwon' not allowed"),
        ({"podMonitor": {"endpoint": {"relabelings": []}}}, "invalid propertyName 'relabelings'"),
        ({"podMonitor": {"seriesLabels": {"instance": "a"}}}, "invalid propertyName 'instance'"),
        ({"podMonitor": {"nodeLabels": {"rack-name": "a"}}}, "invalid propertyName 'rack-name'"),
        ({"agent": {"tolerations": [{"keys": "a"}]}}, "additional properties 'keys' not allowed"),
        ({"dashboards": {"label": "grafana_dashboard"}}, "additional properties 'label' not allowed"),
    ],
)
def test_a_wrong_value_is_refused(helm: Path, tmp_path: Path, values: Any, says: str) -> None:
    with pytest.raises(OSError, match=says):
        render_chart(helm, tmp_path, values)


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "shadow", "runAsNonRoot": True},
        {"mode": "shadow", "simulated": {"enabled": True}, "tls": {"enabled": True}},
        {"runtimeClassName": "", "priority": {"className": "", "create": False}, "networkPolicy": {"enabled": False}},
        {"preflight": {"enabled": True}, "deviceAccess": "nri", "mode": "enforce"},
        {"preflight": {"enabled": True}, "deviceAccess": "dra", "namespace": {"create": True}},
    ],
)
def test_values_that_go_together(helm: Path, tmp_path: Path, values: Any) -> None:
    documents = render_chart(helm, tmp_path, values)
    valid(documents)
    everyone = [c for pod in pods(documents).values() for c in containers(pod).values()]
    assert everyone
    assert not any(c["securityContext"]["capabilities"].get("add") for c in everyone)


def test_helm_lint_passes_and_notes_list_next_steps(helm: Path, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    path = tmp_path / "values.yaml"
    for values in ({}, EVERYTHING):
        path.write_text(yaml.safe_dump(values))
        command = [helm, "lint", "--strict", CHART, "--values", path]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    command = [helm, "install", "wattlens", CHART, "--namespace", "energy", "--dry-run=client", "--values", path]
    output = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    notes = output.split("NOTES:")[1]
    assert "helm test wattlens --namespace energy --logs" in notes
    assert "wattlens dvfs off --socket" in notes


def test_the_schema_has_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(actual: Any, described: Any, where: str) -> None:
        assert described.get("additionalProperties") is False, where
        properties = {k: v for k, v in described["properties"].items() if k != "global"}  # Helm's own
        assert actual.keys() == properties.keys(), where
        for key, value in actual.items():
            if properties[key].get("additionalProperties") is False:
                compare(value, properties[key], f"{where}.{key}")

    compare(values, schema, "values")
    explained = {key for key, _, _ in manifests.described((CHART / "values.yaml").read_text())}
    groups = {key for key, value in values.items() if isinstance(value, dict)}
    assert explained == (values.keys() - groups) | {f"{group}.{key}" for group in groups for key in values[group]}


FREE = {"global", "site.config", "report.org"}
"""Values with objects of any keys: Helm's own, and files that the programs check; installed meters add keys to the site's."""


def test_the_schema_refuses_unknown_keys_at_every_level() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    open_places = set()

    def visit(described: Any, where: str) -> None:
        if isinstance(described, list):
            for item in described:
                visit(item, where)
        if not isinstance(described, dict):
            return
        if described.get("type") == "object" and not {"additionalProperties", "propertyNames"} & described.keys():
            open_places.add(where)
        for key, value in described.get("properties", {}).items():
            visit(value, f"{where}.{key}".removeprefix("."))
        for key in ("items", "anyOf", "additionalProperties"):
            visit(described.get(key), where)
        for key, value in described.get("definitions", {}).items():
            visit(value, key)

    visit(schema, "")
    assert open_places == FREE | {"env.valueFrom"}


def test_dashboards_reach_the_sidecar_as_they_are_committed(helm: Path, tmp_path: Path) -> None:
    maps = [
        o
        for o in of_kind(render_chart(helm, tmp_path, EVERYTHING), "ConfigMap")
        if o["metadata"]["name"].endswith("-dashboard")
    ]
    built = {path.name: json.loads(path.read_text()) for path in (ROOT / "dashboards/grafana").glob("*.json")}
    assert {key: json.loads(text) for o in maps for key, text in o["data"].items()} == built
    for config_map in maps:
        assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert config_map["metadata"]["annotations"] == {"grafana_folder": "Wattlens", "example.com/folder": "GPU energy"}
        # The annotation in which `kubectl apply` keeps the object may have 256 KiB with all others; a ConfigMap 1 MiB.
        assert len(json.dumps(config_map).encode()) < 200 << 10


def test_grafanas_alerts_are_those_of_prometheus(helm: Path, tmp_path: Path) -> None:
    documents = keyed(render_chart(helm, tmp_path, EVERYTHING | {"prometheusRule": {"enabled": True, "alerts": False}}))
    alerts = documents["ConfigMap", "wattlens-grafana-alerts"]
    assert alerts["metadata"]["labels"]["grafana_alert"] == "1"
    (group,) = yaml.safe_load(alerts["data"]["wattlens-alerts.yaml"])["groups"]
    assert group["folder"] == "GPU energy"
    assert {q["datasourceUid"] for rule in group["rules"] for q in rule["data"]} == {"mimir", "__expr__"}
    rules = yaml.load((KUBERNETES / "monitoring/prometheusrule.yaml").read_text(), yaml.CSafeLoader)["spec"]["groups"]
    built = {rule["alert"]: rule["expr"] for group in rules for rule in group["rules"] if "alert" in rule}
    assert {rule["title"]: rule["data"][0]["model"]["expr"] for rule in group["rules"]} == built
    recording = [group for group in rules if "record" in group["rules"][0]]
    assert documents["PrometheusRule", "wattlens"]["spec"]["groups"] == recording, "no alert is raised twice"


def test_the_users_labels_are_on_every_series(helm: Path, tmp_path: Path) -> None:
    documents = keyed(render_chart(helm, tmp_path, EVERYTHING))
    for name in ("wattlens-agent", "wattlens-site"):
        spec = documents["PodMonitor", name]["spec"]
        assert spec["attachMetadata"] == {"node": True}
        (endpoint,) = spec["podMetricsEndpoints"]
        labels = {rule.pop("targetLabel", ""): rule for rule in endpoint["relabelings"]}
        assert labels["site"] == {"replacement": "fra1"}
        assert labels["price"] == {"replacement": "3$$/h"}
        assert labels["rack"] == {"sourceLabels": ["__meta_kubernetes_node_label_topology_example_com_rack_name"]}


def test_the_docs_list_every_privilege_of_the_informer(helm: Path, tmp_path: Path) -> None:
    table = (
        (ROOT / "docs/kubernetes.md")
        .read_text()
        .split("| Resources | Verbs | For |\n| --- | --- | --- |\n")[1]
        .split("\n\n")[0]
    )
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    documented = {resource.strip("`"): verbs.replace("`", "").split(", ") for resource, verbs, _ in rows}
    for values, left_out in (({}, {"nodes"}), ({"mode": "shadow"}, set())):
        role = keyed(render_chart(helm, tmp_path, {"informer": {"enabled": True}} | values))["ClusterRole", "wattlens-agent"]
        allowed = {".".join(filter(None, (name, group))): rule["verbs"]
                   for rule in role["rules"] for group in rule["apiGroups"] for name in rule["resources"]}  # fmt: skip
        assert allowed == {name: verbs for name, verbs in documented.items() if name not in left_out}


def examples(word: str) -> list[Any]:
    """YAML blocks of docs/kubernetes.md that have a word."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/kubernetes.md").read_text(), re.S)
    return [yaml.safe_load(block) for block in blocks if word in block]


def test_the_examples_in_the_docs_work(tools: tuple[Path, Path], tmp_path: Path) -> None:
    helm, kubectl = tools
    (enforced,), (site,), (overlay,) = (examples(w) for w in ("mode: enforce", "# site-values.yaml", "# kustomization.yaml"))
    (monitored,) = examples("# monitoring-values.yaml")
    kinds = {o["kind"] for o in render_chart(helm, tmp_path, monitored)}
    assert {"PodMonitor", "PrometheusRule"} <= kinds
    by_key = keyed(render_chart(helm, tmp_path, enforced) + render_chart(helm, tmp_path, site | {"agent": {"enabled": False}}))
    for name, key, load in (("wattlens-actuator", "actuator.yaml", allow_list.load), ("wattlens-site", "site.yaml", load_site)):
        (tmp_path / key).write_text(by_key["ConfigMap", name]["data"][key])
        load(tmp_path / key)
    (tmp_path / "mine").mkdir()
    overlay["resources"] = [os.path.relpath(KUBERNETES / "base", (tmp_path / "mine").resolve())]
    (tmp_path / "mine/kustomization.yaml").write_text(yaml.safe_dump(overlay))
    (tmp_path / "mine/agent.yaml").write_text("node: {cluster: mine}\n")
    command = [kubectl, "kustomize", tmp_path / "mine"]
    mine = keyed(objects(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert mine["ConfigMap", "wattlens-agent"]["data"] == {"agent.yaml": "node: {cluster: mine}\n"}
    pod = pods(list(mine.values()))["wattlens-agent"]
    assert containers(pod)["agent"]["image"] == f"REGISTRY/wattlens:{__version__}"
    assert {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v} == {"wattlens-agent"}


def test_the_operators_own_schemas_accept_monitors_and_rules(helm: Path, tmp_path: Path) -> None:
    node = need_program("node")
    folder = install_models("prometheus-operator", "6.0.0")
    everything = [o for o in render_chart(helm, tmp_path, EVERYTHING) if o["apiVersion"].startswith("monitoring.coreos.com/")]
    documents = committed("monitoring") + everything
    rules = yaml.load((KUBERNETES / "monitoring/prometheusrule.yaml").read_text(), yaml.CSafeLoader)
    wrong = deepcopy(documents[0])
    wrong["spec"]["podMetricsEndpoints"][0]["interval"] = "15 sec"
    command = [node, ROOT / "tests/deploy/monitoring_crds.mjs", folder]
    text = json.dumps([*documents, rules, wrong])
    lines = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[:-1] == ["ok"] * (2 + 3 + 1)
    assert "podMetricsEndpoints/0/interval must match pattern" in lines[-1]
