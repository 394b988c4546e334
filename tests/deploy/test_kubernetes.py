"""The manifests: their schema, and exactly which exceptions to the restricted profile they take."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from energy_agent import config
from energy_agent.holders import rbac
from tests.support import need_module, need_program
from tests.test_readme import _check
from wattlens.cli import build_parser

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
OVERLAYS = ("base", "overlays/informer", "overlays/nonroot", "overlays/ship", "overlays/simulated", "overlays/tls", "preflight")
RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
HOST_PATHS = {"hostPath /var/lib/wattlens", "hostPath /var/lib/kubelet/pod-resources (read-only)"}
JOBS = ("report", "overlays/report-signed")
EXCEPTIONS = {
    "base": {"hostPID", "agent: runs as root"} | HOST_PATHS,
    "overlays/informer": {"hostPID", "agent: runs as root"} | HOST_PATHS,
    "overlays/nonroot": {"hostPID", "hostPath /var/lib/wattlens"},
    "overlays/ship": {"hostPID", "agent: runs as root", "ship: runs as root"} | HOST_PATHS,
    "overlays/simulated": set(),
    "overlays/tls": {"hostPID", "agent: runs as root"} | HOST_PATHS,
    "preflight": {"hostPID", "doctor: runs as root"} | HOST_PATHS,
}


def exceptions(pod: dict[str, Any]) -> set[str]:
    """What a pod spec takes beyond the restricted profile of the Pod Security Standards."""
    found = {flag for flag in ("hostPID", "hostNetwork", "hostIPC") if pod.get(flag)}
    containers = [*pod["containers"], *pod.get("initContainers", [])]
    for volume in pod["volumes"]:
        (kind,) = set(volume) - {"name"}
        if kind not in RESTRICTED_VOLUMES:
            mounts = [m for c in containers for m in c["volumeMounts"] if m["name"] == volume["name"]]
            mode = " (read-only)" if all(m.get("readOnly") for m in mounts) else ""
            found.add(f"{kind} {volume[kind].get('path')}{mode}")
    for container in containers:
        name, context = container["name"], {**pod["securityContext"], **container["securityContext"]}
        if context.get("privileged"):
            found.add(f"{name}: privileged")
        if context.get("allowPrivilegeEscalation") is not False:
            found.add(f"{name}: may escalate")
        if context.get("capabilities") != {"drop": ["ALL"]}:
            found.add(f"{name}: keeps capabilities")
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            found.add(f"{name}: runs as root")
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            found.add(f"{name}: has no seccomp profile")
        if any("hostPort" in port for port in container.get("ports", [])):
            found.add(f"{name}: host port")
    return found


def pod_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (daemonset,) = [d for d in documents if d["kind"] == "DaemonSet"]
    pod: dict[str, Any] = daemonset["spec"]["template"]["spec"]
    return pod


def base_pod() -> dict[str, Any]:
    return pod_of([yaml.safe_load((KUBERNETES / "base/daemonset.yaml").read_text())])


def test_the_exceptions_of_the_base_are_those_that_are_listed() -> None:
    assert exceptions(base_pod()) == EXCEPTIONS["base"]


def test_the_root_file_system_is_read_only_and_no_token_is_mounted() -> None:
    pod = base_pod()
    assert pod["automountServiceAccountToken"] is False
    assert all(c["securityContext"]["readOnlyRootFilesystem"] for c in pod["containers"])
    account = yaml.safe_load((KUBERNETES / "base/serviceaccount.yaml").read_text())
    assert account["automountServiceAccountToken"] is False


def test_config_is_mounted_as_a_directory_and_is_valid() -> None:
    mounts = {m["name"]: m for m in base_pod()["containers"][0]["volumeMounts"]}
    assert "subPath" not in mounts["config"]  # it would never see an update
    assert config.load(KUBERNETES / "base/agent.yaml").node.cluster == "default"


def test_probes_never_ask_for_metrics_and_no_gpu_is_taken() -> None:
    agent = base_pod()["containers"][0]
    paths = {probe: agent[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert "nvidia.com/gpu" not in str(agent["resources"])
    assert {"requests", "limits"} <= set(agent["resources"])


def test_the_tls_overlay_gives_the_kubelet_a_port_without_credentials() -> None:
    web = config.load(KUBERNETES / "overlays/tls/agent.yaml").web
    assert (str(web.config_file), web.probe_listen) == ("/etc/wattlens-web/web.yml", "0.0.0.0:9480")
    patch = yaml.safe_load(yaml.safe_load((KUBERNETES / "overlays/tls/kustomization.yaml").read_text())["patches"][0]["patch"])
    (agent,) = patch["spec"]["template"]["spec"]["containers"]
    assert {agent[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {"probes"}
    assert {"name": "probes", "containerPort": 9480} in agent["ports"]
    assert agent["volumeMounts"][0]["mountPath"] == str(web.config_file.parent if web.config_file else "")


def test_the_informers_role_is_the_one_that_its_configuration_needs() -> None:
    overlay = KUBERNETES / "overlays/informer"
    whole = config.load(overlay / "agent.yaml")
    kubernetes = whole.holders.kubernetes
    assert kubernetes.informer == "auto"
    assert (overlay / "rbac.yaml").read_text() == rbac.text(whole)
    steering = whole.model_copy(update={"dvfs": config.Dvfs.model_validate({"auto_groups": True})})
    assert yaml.safe_load_all(rbac.text(steering)).__next__()["rules"][2] == {
        "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"],
    }  # fmt: skip
    more = kubernetes.model_copy(update={"owner_kinds": ("Job.batch/v1", "ModelTrainingJob.ai.example/v1")})
    role, binding = rbac.documents(more)
    allowed = {
        (group, name): rule["verbs"] for rule in role["rules"] for group in rule["apiGroups"] for name in rule["resources"]
    }
    assert allowed == {
        ("", "pods"): ["list", "watch"],
        ("resource.k8s.io", "resourceslices"): ["list"],
        ("batch", "jobs"): ["get"],
        ("ai.example", "modeltrainingjobs"): ["get"],
    }
    account = yaml.safe_load((KUBERNETES / "base/serviceaccount.yaml").read_text())["metadata"]["name"]
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == (role["metadata"]["name"], account)
    patch = yaml.safe_load(yaml.safe_load((overlay / "kustomization.yaml").read_text())["patches"][0]["patch"])
    assert patch["spec"]["template"]["spec"] == {"automountServiceAccountToken": True}


@pytest.mark.peer
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlay_is_valid_and_takes_only_its_exceptions(overlay: str, tmp_path: Path) -> None:
    need_module("kubernetes_validate")
    built = subprocess.run(
        [need_program("kustomize"), "build", str(KUBERNETES / overlay)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    documents = list(yaml.safe_load_all(built))
    import kubernetes_validate

    for document in documents:
        for version in ("1.30", "1.32", "1.34"):
            kubernetes_validate.validate(document, version, strict=True)
    pod = pod_of(documents)
    assert exceptions(pod) == EXCEPTIONS[overlay]
    volumes = {v["name"] for v in pod["volumes"]}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert {m["name"] for m in container["volumeMounts"]} <= volumes
        assert "@" in container["image"] or ":" in container["image"]
    (namespace,) = [d for d in documents if d["kind"] == "Namespace"]
    enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert (enforced == "restricted") == (not EXCEPTIONS[overlay])


@pytest.mark.peer
@pytest.mark.parametrize("folder", JOBS)
def test_the_jobs_are_valid_and_take_no_exception(folder: str) -> None:
    need_module("kubernetes_validate")
    built = subprocess.run(
        [need_program("kustomize"), "build", str(KUBERNETES / folder)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    import kubernetes_validate

    documents = list(yaml.safe_load_all(built))
    for document in documents:
        assert document["metadata"]["namespace"] == "wattlens"  # where the agents' volume is
        for version in ("1.30", "1.32", "1.34"):
            kubernetes_validate.validate(document, version, strict=True)
    jobs = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "CronJob"}
    assert list(jobs) == ["wattlens-compact", "wattlens-report", "wattlens-report-interim"]
    (claim,) = [d["metadata"]["name"] for d in documents if d["kind"] == "PersistentVolumeClaim"]
    for name, spec in jobs.items():
        assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("Etc/UTC", "Forbid")
        assert spec.get("suspend", False) == (name == "wattlens-report-interim"), "the interim report is an option"
        pod = spec["jobTemplate"]["spec"]["template"]["spec"]
        (job,) = pod["containers"]
        assert exceptions(pod) == set()
        assert pod["automountServiceAccountToken"] is False
        assert job["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"requests", "limits"} <= set(job["resources"])
        assert "memory" in job["resources"]["limits"]
        assert {m["name"] for m in job["volumeMounts"]} <= {v["name"] for v in pod["volumes"]}
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
        assert ":" in job["image"]
        _check(job["args"])
        build_parser(job["args"]).parse_args(job["args"])
    pod = jobs["wattlens-report"]["jobTemplate"]["spec"]["template"]["spec"]
    keys = [v["secret"] for v in pod["volumes"] if "secret" in v]
    signed = [a for a in pod["containers"][0]["args"] if a.startswith("--sign-key=")]
    assert bool(keys) == bool(signed) == (folder != "report")
    for key in keys:
        assert key["defaultMode"] == 0o400
        (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "key"]
        assert mount["readOnly"]
        assert signed[0].removeprefix("--sign-key=").startswith(mount["mountPath"] + "/")


def test_what_is_shipped_is_what_is_compacted() -> None:
    patch = yaml.safe_load((KUBERNETES / "overlays/ship/kustomization.yaml").read_text())["patches"][0]["patch"]
    pod = yaml.safe_load(patch)["spec"]["template"]["spec"]
    (ship,) = pod["containers"]
    parsed = build_parser(["ledger"]).parse_args(ship["args"])
    agent = base_pod()["containers"][0]
    assert str(parsed.source) == agent["args"][agent["args"].index("--state") + 1]
    (ledger,) = [m for m in ship["volumeMounts"] if m["name"] == "ledger"]
    assert ledger["readOnly"]
    (there,) = [m for m in ship["volumeMounts"] if parsed.url.startswith(f"file://{m['mountPath']}/")]
    compact = yaml.safe_load((KUBERNETES / "report/compact.yaml").read_text())["spec"]["jobTemplate"]["spec"]["template"][
        "spec"
    ]
    (job,) = compact["containers"]
    (read,) = [m for m in job["volumeMounts"] if m["mountPath"] == job["args"][2]]
    assert (read["subPath"], read["readOnly"]) == (there["subPath"], True)
    claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for p in (pod, compact) for v in p["volumes"] if len(v) > 1
              and "persistentVolumeClaim" in v}  # fmt: skip
    assert claims[there["name"]] == claims[read["name"]]


@pytest.mark.peer
def test_the_preflight_is_the_agents_pod_with_the_doctor_in_it() -> None:
    built = subprocess.run(
        [need_program("kustomize"), "build", str(KUBERNETES / "preflight")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    pod, agent = pod_of(list(yaml.safe_load_all(built))), base_pod()
    (doctor,) = pod["initContainers"]
    (daemon,) = agent["containers"]
    same = ("env", "resources", "securityContext", "volumeMounts")
    assert {k: doctor[k] for k in same} == {k: daemon[k] for k in same}
    assert {k: pod[k] for k in ("affinity", "hostPID", "runtimeClassName", "tolerations", "volumes")} == {
        k: agent[k] for k in ("affinity", "hostPID", "runtimeClassName", "tolerations", "volumes")
    }
    assert doctor["args"] == ["doctor", "--json", *daemon["args"][1:]]
    parsed = build_parser(["doctor"]).parse_args(doctor["args"])
    assert parsed.json
    (passed,) = pod["containers"]
    assert passed["image"] == doctor["image"]
    assert not passed["volumeMounts"]


def test_the_validator_of_this_test_sees_each_exception() -> None:
    pod = base_pod()
    agent = pod["containers"][0]
    agent["securityContext"] = {"privileged": True, "capabilities": {"add": ["SYS_ADMIN"]}}
    agent["ports"][0]["hostPort"] = 9479
    pod["securityContext"] = {}
    pod["hostNetwork"] = True
    seen = exceptions(pod) - EXCEPTIONS["base"]
    assert seen == {
        "hostNetwork",
        "agent: privileged",
        "agent: may escalate",
        "agent: keeps capabilities",
        "agent: has no seccomp profile",
        "agent: host port",
    }


def test_a_configuration_that_is_not_there_is_named_in_one_line() -> None:
    command = [sys.executable, "-m", "energy_agent.holders.rbac", "/nowhere/agent.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere/agent.yaml" in done.stderr
    assert done.stderr.count("\n") == 1
