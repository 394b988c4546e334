"""The manifests as they are committed: which exceptions they take, and that every file and command in them is right."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import manifests
from dvfs.actuator import allow_list
from energy_agent.config import agent as config
from tests.deploy.kubernetes_objects import (
    FOLDERS,
    JOBS,
    KUBERNETES,
    OVERLAYS,
    Object,
    committed,
    containers,
    exceptions,
    listed,
    of_kind,
    pods,
)
from tests.support import promtool_with
from tests.test_readme import _check
from tools import rbac
from wattlens.agent.config_check import check
from wattlens.cli import build_parser, main
from wattlens.site.file import load_site

WORKLOADS = [(folder, name) for folder in FOLDERS for name in pods(committed(folder))]


def pod_of(folder: str, name: str = "wattlens-agent") -> Object:
    return pods(committed(folder))[name]


def file_of(folder: str, name: str, key: str, tmp_path: Path) -> Path:
    """A key of a ConfigMap as a file."""
    (config_map,) = of_kind(committed(folder), "ConfigMap", name)
    path = tmp_path / key
    path.write_text(config_map["data"][key])
    return path


def short(folder: str) -> str:
    return folder.removeprefix("overlays/")


def test_every_overlay_is_there() -> None:
    assert {short(f) for f in OVERLAYS} == {
        "base", "cdi", "dra", "enforce", "informer", "nonroot", "nri", "shadow", "ship", "simulated", "tls",
    }  # fmt: skip
    observe = yaml.safe_load((KUBERNETES / "overlays/observe/kustomization.yaml").read_text())
    assert observe["resources"] == ["../../base"], "observing is the default"


def test_the_exceptions_are_those_that_the_docs_list() -> None:
    taken = {
        (what, container, short(folder))
        for folder, name in WORKLOADS
        for what, container in exceptions(pods(committed(folder))[name])
    }
    assert taken == {row for row in listed() if row[2] != "clientSocket.enabled"}


def test_sys_admin_is_the_actuators_alone() -> None:
    added = {
        (short(folder), name, capability)
        for folder, workload in WORKLOADS
        for name, container in containers(pods(committed(folder))[workload]).items()
        for capability in container["securityContext"]["capabilities"].get("add", [])
    }
    assert added == {("enforce", "actuator", "SYS_ADMIN")}


def test_the_test_of_this_file_sees_each_exception() -> None:
    pod = pod_of("base")
    usual = exceptions(pod)
    agent = pod["containers"][0]
    agent["securityContext"] = {"privileged": True, "capabilities": {"add": ["NET_ADMIN"]}}
    agent["ports"][0]["hostPort"] = 9479
    pod["securityContext"] = {}
    pod["hostNetwork"] = True
    assert exceptions(pod) - usual == {("hostNetwork", "")} | {
        (what, "agent")
        for what in ("privileged", "may escalate", "keeps capabilities", "NET_ADMIN", "no seccomp profile", "host port",
                     "writes its root")
    }  # fmt: skip


@pytest.mark.parametrize(("folder", "name"), WORKLOADS, ids=[f"{short(f)}-{n}" for f, n in WORKLOADS])
def test_no_pod_takes_a_gpu_a_token_or_memory_without_a_bound(folder: str, name: str) -> None:
    pod = pod_of(folder, name)
    assert pod["automountServiceAccountToken"] is (short(folder) in ("informer", "dra"))
    accounts = {o["metadata"]["name"]: o for o in of_kind(committed(folder), "ServiceAccount")}
    assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False
    volumes = {v["name"] for v in pod["volumes"]}
    for container in containers(pod).values():
        resources = container["resources"]
        assert "nvidia.com/gpu" not in str(resources)
        assert "memory" in resources["limits"]
        assert "cpu" not in resources["limits"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert {m["name"] for m in container["volumeMounts"]} <= volumes
        assert ":" in container["image"]
        assert not any("subPath" in m for m in container["volumeMounts"] if m["mountPath"].startswith("/etc/"))
        if "args" in container:
            words = [word.replace("$(NODE_NAME)", "n1") for word in container["args"]]
            _check(words)
            build_parser(words).parse_args(words)


@pytest.mark.parametrize("folder", [*OVERLAYS, "site", *JOBS, "preflight"])
def test_every_configuration_in_a_manifest_is_right(folder: str, tmp_path: Path) -> None:
    maps = of_kind(committed(folder), "ConfigMap")
    assert maps
    for config_map in maps:
        ((key, _),) = config_map["data"].items()
        path = file_of(folder, config_map["metadata"]["name"], key, tmp_path)
        match key:
            case "agent.yaml":
                check(path)
            case "actuator.yaml":
                assert allow_list.load(path).allow.rules
            case "site.yaml":
                load_site(path)
            case "org.yaml":
                assert main(["report", "check", str(path)]) == 0
            case _:
                pytest.fail(f"nobody checks {key}")


@pytest.mark.parametrize("folder", OVERLAYS)
def test_probes_never_ask_for_metrics(folder: str) -> None:
    agent = containers(pod_of(folder))["agent"]
    paths = {probe: agent[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    (daemonset,) = of_kind(committed(folder), "DaemonSet")
    update = daemonset["spec"]["updateStrategy"]
    assert (update["type"], "maxSurge" in update["rollingUpdate"]) == ("RollingUpdate", False), "the ledger has one writer"


def test_enforce_is_the_base_and_the_actuator_beside_it(tmp_path: Path) -> None:
    pod, base = pod_of("overlays/enforce"), pod_of("base")
    enforce_containers, usual = containers(pod), containers(base)
    assert enforce_containers.keys() == {"agent", "actuator"}
    agent, actuator = enforce_containers["agent"], enforce_containers["actuator"]
    assert agent["securityContext"] == usual["agent"]["securityContext"], "the agent gains nothing"
    assert "ports" not in actuator
    assert actuator["securityContext"]["runAsUser"] == 0
    assert actuator["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["SYS_ADMIN"]}
    parsed = build_parser(["actuator"]).parse_args(actuator["args"])
    mounts = {m["mountPath"]: m["name"] for m in actuator["volumeMounts"]}
    shared = [m for m in agent["volumeMounts"] if m["name"] == mounts[str(parsed.socket.parent)]]
    assert [m["mountPath"] for m in shared] == [str(parsed.socket.parent)]
    volumes = {v["name"]: v for v in pod["volumes"]}
    assert "emptyDir" in volumes[mounts[str(parsed.socket.parent)]], "nothing outside of the pod has the socket"
    only = {mounts[str(parsed.state)], mounts[str(parsed.config.parent)]}
    assert not only & {m["name"] for m in agent["volumeMounts"]}, "journal and allow-list are the actuator's alone"
    assert volumes[mounts[str(parsed.state)]]["hostPath"]["path"], "what has to be put back outlives the pod"
    steering = config.load(file_of("overlays/enforce", "wattlens-agent", "agent.yaml", tmp_path)).dvfs
    assert (steering.mode, steering.actuator) == ("enforce", parsed.socket)
    assert "--socket" in actuator["args"], "the path in the manifest is named on both sides, not guessed"
    rules = allow_list.load(file_of("overlays/enforce", "wattlens-actuator", "actuator.yaml", tmp_path))
    assert rules.kill_switch is not None
    assert rules.kill_switch.parent == parsed.state, "the kill switch outlives the pod as well"
    assert pod["terminationGracePeriodSeconds"] >= 45 + actuator["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert "livenessProbe" not in actuator


def test_shadow_decides_and_has_no_privilege_more(tmp_path: Path) -> None:
    assert pod_of("overlays/shadow") == pod_of("base")
    steering = config.load(file_of("overlays/shadow", "wattlens-agent", "agent.yaml", tmp_path)).dvfs
    assert (steering.mode, steering.steers, steering.actuator) == ("shadow", True, None)


@pytest.mark.parametrize(
    ("overlay", "runtime", "visible", "annotated"),
    [
        ("base", "nvidia", "all", False),
        ("overlays/cdi", "nvidia", "management.nvidia.com/gpu=all", False),
        ("overlays/nri", None, None, True),
        ("overlays/dra", None, None, False),
    ],
)
def test_the_ways_to_the_gpus(overlay: str, runtime: str | None, visible: str | None, annotated: bool) -> None:
    (daemonset,) = of_kind(committed(overlay), "DaemonSet")
    template = daemonset["spec"]["template"]
    environ = {e["name"]: e.get("value") for e in containers(template["spec"])["agent"]["env"]}
    assert (template["spec"].get("runtimeClassName"), environ.get("NVIDIA_VISIBLE_DEVICES")) == (runtime, visible)
    assert ("nvidia.cdi.k8s.io/container.agent" in template["metadata"]["annotations"]) is annotated
    assert environ["WATTLENS_DEVICE_ACCESS"] == {"base": "runtimeClass"}.get(overlay, short(overlay))


def test_the_informers_role_is_the_one_that_its_configuration_needs(tmp_path: Path) -> None:
    overlay = committed("overlays/informer")
    whole = config.load(file_of("overlays/informer", "wattlens-agent", "agent.yaml", tmp_path))
    assert whole.holders.kubernetes.informer == "auto"
    role, binding = rbac.documents(whole.holders.kubernetes)
    (cluster_role,) = of_kind(overlay, "ClusterRole")
    assert cluster_role["rules"] == role["rules"]
    (bound,) = of_kind(overlay, "ClusterRoleBinding")
    assert (bound["roleRef"], bound["subjects"]) == (binding["roleRef"], binding["subjects"])
    assert [f for f in FOLDERS if of_kind(committed(f), "ClusterRole")] == ["overlays/dra", "overlays/informer"]


def test_the_tls_overlay_gives_the_kubelet_a_port_without_credentials(tmp_path: Path) -> None:
    web = config.load(file_of("overlays/tls", "wattlens-agent", "agent.yaml", tmp_path)).web
    assert (str(web.config_file), web.probe_listen) == ("/etc/wattlens-web/web.yml", "0.0.0.0:9480")
    agent = containers(pod_of("overlays/tls"))["agent"]
    assert {agent[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {"probes"}
    assert {"name": "probes", "containerPort": 9480} in agent["ports"]
    assert web.config_file is not None
    assert str(web.config_file.parent) in {m["mountPath"] for m in agent["volumeMounts"]}


def test_the_site_is_one_pod_with_its_own_volume(tmp_path: Path) -> None:
    site = committed("site")
    (deployment,) = of_kind(site, "Deployment")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    (claim,) = committed("site/volume")
    (container,) = containers(pod_of("site", "wattlens-site")).values()
    parsed = build_parser(["site"]).parse_args(container["args"])
    (state,) = [m["name"] for m in container["volumeMounts"] if m["mountPath"] == str(parsed.state)]
    claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod_of("site", "wattlens-site")["volumes"]
              if "persistentVolumeClaim" in v}  # fmt: skip
    assert claims == {state: claim["metadata"]["name"]}
    assert container["image"].endswith("-site"), "the agent's image cannot read a meter"
    assert load_site(file_of("site", "wattlens-site", "site.yaml", tmp_path)).site.cluster == "default"


@pytest.mark.prometheus
@pytest.mark.parametrize(("name", "job", "instance"), [("agent", "wattlens", "gpu-7"), ("site", "wattlens-site", "main")])
def test_prometheus_makes_of_a_pod_what_the_dashboards_expect(name: str, job: str, instance: str, tmp_path: Path) -> None:
    """Relabelled by promtool, from the labels that the operator puts on a pod's target before."""
    promtool = promtool_with("check", "service-discovery", "--timeout=1s")
    (monitor,) = of_kind(committed("monitoring"), "PodMonitor", f"wattlens-{name}")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    words = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    rules = [{words.get(key, key): value for key, value in rule.items()} for rule in endpoint["relabelings"]]
    target_labels = {
        "__meta_kubernetes_pod_node_name": "gpu-7",
        "namespace": "wattlens",
        "pod": "p",
        "container": "c",
        "endpoint": "e",
    }
    scraped = {
        "job_name": "x",
        "static_configs": [{"targets": ["10.0.0.7:9479"], "labels": target_labels}],
        "relabel_configs": rules,
    }
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump({"scrape_configs": [scraped]}))
    targets = json.loads(subprocess.run([*promtool, path, "x"], capture_output=True, text=True, check=True).stdout)
    assert {k: v for k, v in targets[0]["labels"].items() if not k.startswith("__")} == {"job": job, "instance": instance}


def selected(policy: Object, labels: dict[str, str]) -> bool:
    """Whether a policy is about a pod with these labels."""
    selector = policy["spec"]["podSelector"]
    words = [labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", [])]
    return all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items()) and all(words)


@pytest.mark.parametrize("folder", [*OVERLAYS, "site", "report"])
def test_what_the_network_lets_through(folder: str) -> None:
    objects = committed(folder)
    (policy,) = of_kind(objects, "NetworkPolicy")
    for workload in (o for o in objects if o["kind"] in ("DaemonSet", "Deployment", "CronJob")):
        spec = workload["spec"]
        template = spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]
        assert selected(policy, template["metadata"]["labels"])
    ports = [port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]]
    assert ports == ([] if folder == "report" else ["metrics"]), "the scrape port and nothing else"
    types = policy["spec"]["policyTypes"]
    leaving = {(port["protocol"], port["port"]) for rule in policy["spec"].get("egress", []) for port in rule["ports"]}
    match folder:
        case "site":
            assert types == ["Ingress", "Egress"]
            assert leaving == {("UDP", 53), ("TCP", 53), ("TCP", 502), ("UDP", 161), ("TCP", 443), ("TCP", 9090)}
        case "report":
            assert (types, leaving) == (["Ingress", "Egress"], set())
        case _:
            assert types == ["Ingress"]


def test_monitors_select_the_pods_and_their_port_of_metrics() -> None:
    monitors = {o["metadata"]["name"]: o["spec"] for o in of_kind(committed("monitoring"), "PodMonitor")}
    assert monitors.keys() == {"wattlens-agent", "wattlens-site"}
    for name, spec in monitors.items():
        (endpoint,) = spec["podMetricsEndpoints"]
        assert endpoint["honorLabels"] is True
        folder = "base" if name == "wattlens-agent" else "site"
        (workload,) = of_kind(committed(folder), "DaemonSet") + of_kind(committed(folder), "Deployment")
        assert spec["selector"]["matchLabels"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        ports = {p["name"] for c in containers(pod_of(folder, name)).values() for p in c["ports"]}
        assert endpoint["port"] in ports


def test_what_holds_the_ledger_is_in_no_folder_that_people_delete() -> None:
    kinds = {folder: {o["kind"] for o in committed(folder)} for folder in FOLDERS}
    kept = {"Namespace", "PersistentVolumeClaim"}
    assert {folder: folder_kinds for folder, folder_kinds in kinds.items() if folder_kinds & kept} == {
        "namespace": {"Namespace"},
        "site/volume": {"PersistentVolumeClaim"},
        "report/volume": {"PersistentVolumeClaim"},
    }
    (namespace,) = committed("namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_the_charts_schema_has_the_keys_of_the_agents_configuration() -> None:
    path = manifests.CHART / "values.schema.json"
    assert path.read_text() == manifests.values_schema(), "run python deploy/manifests.py build"
    section = json.loads(path.read_text())["definitions"]["agentConfig"]["properties"]
    assert section.keys() == config.Config.model_fields.keys()
    assert section["dvfs"]["additionalProperties"] is False
    assert section["dvfs"]["properties"]["slowdown"] == {}, "the agent checks the value"


def test_the_preflight_shares_nothing_with_agents_that_run() -> None:
    keys = {folder: {(o["kind"], o["metadata"]["name"]) for o in committed(folder)} for folder in ("preflight", "base")}
    assert not keys["preflight"] & keys["base"]


@pytest.mark.parametrize("folder", JOBS)
def test_the_jobs_of_the_report(folder: str) -> None:
    objects = committed(folder)
    jobs = {d["metadata"]["name"]: d["spec"] for d in of_kind(objects, "CronJob")}
    assert jobs.keys() == {"wattlens-compact", "wattlens-report", "wattlens-report-interim"}
    (claim,) = [d["metadata"]["name"] for d in committed("report/volume")]
    for name, spec in jobs.items():
        assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("Etc/UTC", "Forbid")
        assert spec.get("suspend", False) == (name == "wattlens-report-interim"), "the interim report is an option"
        pod = pod_of(folder, name)
        assert exceptions(pod) == set()
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
    pod = pod_of(folder, "wattlens-report")
    keys = [v["secret"] for v in pod["volumes"] if "secret" in v]
    signed = [a for a in pod["containers"][0]["args"] if a.startswith("--sign-key=")]
    assert bool(keys) == bool(signed) == (folder != "report")
    for key in keys:
        assert key["defaultMode"] == 0o400
        (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "key"]
        assert mount["readOnly"]
        assert signed[0].removeprefix("--sign-key=").startswith(mount["mountPath"] + "/")


def test_what_is_shipped_is_what_is_compacted() -> None:
    pod, compact = pod_of("overlays/ship"), pod_of("report", "wattlens-compact")
    agent, ship = containers(pod)["agent"], containers(pod)["ship"]
    parsed = build_parser(["ledger"]).parse_args(ship["args"])
    assert str(parsed.source) == agent["args"][agent["args"].index("--state") + 1]
    (ledger,) = [m for m in ship["volumeMounts"] if m["name"] == "ledger"]
    assert ledger["readOnly"]
    (ship_mount,) = [m for m in ship["volumeMounts"] if parsed.url.startswith(f"file://{m['mountPath']}/")]
    (job,) = compact["containers"]
    (read,) = [m for m in job["volumeMounts"] if m["mountPath"] == job["args"][2]]
    assert (read["subPath"], read["readOnly"]) == (ship_mount["subPath"], True)
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"]
        for p in (pod, compact)
        for v in p["volumes"]
        if "persistentVolumeClaim" in v
    }
    assert claims[ship_mount["name"]] == claims[read["name"]]


def test_the_preflight_is_the_agents_pod_with_the_doctor_in_it() -> None:
    pod, agent = pod_of("preflight", "wattlens-preflight"), pod_of("base")
    (doctor,) = pod["initContainers"]
    (daemon,) = agent["containers"]
    same: tuple[Any, ...] = ("env", "resources", "securityContext", "volumeMounts", "image")
    assert {k: doctor[k] for k in same} == {k: daemon[k] for k in same}
    same = ("affinity", "hostPID", "runtimeClassName", "tolerations")
    assert {k: pod[k] for k in same} == {k: agent[k] for k in same}
    config_volume = {"configMap": {"name": "wattlens-preflight"}}
    assert pod["volumes"] == [v | config_volume if "configMap" in v else v for v in agent["volumes"]]
    assert doctor["args"] == ["doctor", "--json", *daemon["args"][1:]]
    assert build_parser(["doctor"]).parse_args(doctor["args"]).json
    (passed,) = pod["containers"]
    assert passed["image"] == doctor["image"]
    assert not passed["volumeMounts"]


def test_a_configuration_that_is_not_there_is_named_in_one_line() -> None:
    command = [sys.executable, "-m", "tools.rbac", "/nowhere/agent.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere/agent.yaml" in done.stderr
    assert done.stderr.count("\n") == 1
