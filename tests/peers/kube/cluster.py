"""A Kubernetes cluster of one GPU node for as long as a test needs it, from real programs, in namespaces of its own.

etcd, API server with RBAC, Node authorisation and Pod Security admission, controllers, scheduler, containerd and kubelet; GPUs
are simulated (gpus.py), and reach containers as NVIDIA's runtime brings them. There is no kube-proxy, DNS or network policy.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import manifests
from energy_agent.sim.gpu.build import FLAGS
from energy_agent.sim.gpu.plant import Plant
from tests.certificates import Authority
from tests.peers.kube import nvidia_container_runtime
from tests.peers.kube.images import PAUSE
from tests.peers.kube.init import API_IP, NODE_IP, cgroup, controllers
from tests.support import eventually, need_peer, need_program

ROOT = Path(__file__).parents[3]
NODE = "gpu-node-1"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
_SOCKET = "/run/containerd/containerd.sock"
_READY_S = 90


class CommandError(Exception):
    """A command in the cluster failed; its code and output."""


class Cluster:
    """A running cluster."""

    def __init__(self, folder: Path, pid: int, environ: dict[str, str]) -> None:
        self.folder = folder
        self._enter = ["nsenter", "--target", str(pid), "--mount", "--net", "--pid", f"--wdns={ROOT}", "--"]
        self._environ = environ

    def run(self, *words: str | Path, stdin: str = "", timeout: float = 120) -> str:
        """Output of a command in the cluster's namespaces.

        Raises:
            CommandError: it failed.
        """
        done = subprocess.run(
            self.command(*words),
            env=self._environ, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CommandError(
                f"{' '.join(map(str, words))[:300]}: {done.returncode}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
            )
        return done.stdout

    def command(self, *words: str | Path) -> list[str]:
        """A command that runs in the cluster's namespaces."""
        return [*self._enter, *map(str, words)]

    def shell(self, script: str, timeout: float = 180) -> str:
        """Output of a shell script, as a person would paste it."""
        ends = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"  # what it left in the background holds the output open
        return self.run("bash", "-euo", "pipefail", "-c", ends + script, timeout=timeout)

    def kubectl(self, *words: str | Path, stdin: str = "", timeout: float = 120) -> str:
        return self.run("kubectl", *words, stdin=stdin, timeout=timeout)

    def objects(self, *words: str) -> list[Any]:
        """Items of `kubectl get WORDS`."""
        items: list[Any] = json.loads(self.kubectl("get", *words, "--output", "json"))["items"]
        return items

    def apply(self, *documents: object) -> None:
        self.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(documents))

    def metrics(self, pod: str, namespace: str = "wattlens") -> str:
        """The agent's metrics endpoint, through the API server."""
        return self.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:9479/proxy/metrics")

    def plant(self) -> Plant:
        """The truth about the GPUs."""
        return Plant.attach(self.folder / "gpus/plant")

    def logs(self) -> str:
        """The last lines of every component."""
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in self.folder.glob("*.log"))


def need_cluster() -> list[Path]:
    """Programs of Kubernetes; skips, or fails in CI, where something is missing."""
    peers = [need_peer(name) for name in PROGRAMS]
    for name in ("containerd", "etcd", "runc", "nsenter", "unshare", "ip", "openssl", "cc"):
        need_program(name)
    if os.geteuid() != 0:
        pytest.skip("namespaces of a node need root")
    if not controllers():
        pytest.skip("this node is made for cgroup v1")
    return peers


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A node that is ready, without any image but what `load` brings."""
    peers = need_cluster()
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    for path in (*peers, manifests.tools()[0]):
        (bin_folder / path.name).symlink_to(path)
    _write_keys(folder)
    _write_driver(folder)
    _write_configuration(folder)
    environ = os.environ | {
        "PATH": f"{bin_folder}:/usr/sbin:{os.environ['PATH']}",
        "KUBECONFIG": str(folder / "admin.kubeconfig"),
    }
    with (folder / "init.log").open("wb") as log:
        command = [sys.executable, "-m", "tests.peers.kube.init", str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        kube_cluster = Cluster(folder, eventually(lambda: _child(process.pid), 20), environ)
        eventually(lambda: _is_ready(kube_cluster), _READY_S, 0.5)
        yield kube_cluster
    finally:
        process.kill()  # its child, the init of the pid namespace, dies with it, and with that every process
        process.wait(30)
        _remove_cgroups(cgroup(process.pid))


def load(kube_cluster: Cluster, archive: Path) -> None:
    """Import images."""
    kube_cluster.run(
        "ctr", "--address", _SOCKET, "--namespace", "k8s.io", "images", "import", "--no-unpack", archive, timeout=300
    )


def _child(pid: int) -> int:
    """The process in the new namespaces; 0 while it does not exist."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def _is_ready(kube_cluster: Cluster) -> bool:
    try:
        (node,) = kube_cluster.objects("nodes")
    except (CommandError, ValueError):
        return False
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
    return ready and node["status"]["allocatable"].get("nvidia.com/gpu", "0") != "0"


def _remove_cgroups(name: str) -> None:
    for root in (hierarchy / name for hierarchy in controllers()):
        for path in sorted(root.rglob("*/"), reverse=True):
            if path.is_dir():
                _remove_cgroup(path)
        _remove_cgroup(root)


def _remove_cgroup(path: Path) -> None:
    """Its processes may still be ending."""
    for _ in range(100):
        try:
            path.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            return


def _write_keys(folder: Path) -> None:
    """Certificates, and a kubeconfig for each client."""
    authority = Authority(folder / "keys", "kubernetes", key_usage=False)  # Go accepts such an authority, and people have them
    authority.issue("kube-apiserver", f"IP:{API_IP},IP:{NODE_IP},IP:127.0.0.1,DNS:kubernetes.default.svc")
    authority.issue("admin", "DNS:admin", organisation="system:masters")
    authority.issue(f"system:node:{NODE}", f"IP:{NODE_IP},DNS:{NODE}", organisation="system:nodes")
    subprocess.run(["openssl", "genrsa", "-out", folder / "keys/accounts.key", "2048"], check=True, capture_output=True)
    for file, name in (("admin", "admin"), ("kubelet", f"system:node:{NODE}")):
        user = {"client-certificate": f"{folder}/keys/{name}.pem", "client-key": f"{folder}/keys/{name}.key"}
        server = {"server": f"https://{NODE_IP}", "certificate-authority": str(authority.ca)}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        (folder / f"{file}.kubeconfig").write_text(yaml.safe_dump(kubeconfig))


def _write_driver(folder: Path) -> None:
    """The simulated library with a fixed place of its plant, a loaded module, and the runtime that brings both in."""
    source = folder / "library"
    shutil.copytree(str(files("energy_agent.sim.gpu") / "native"), source)
    core = source / "nvml_core.c"
    text = core.read_text()
    place = f'"{nvidia_container_runtime.PLANT}"'
    assert text.count('getenv("WATTLENS_SIM")') == 1
    core.write_text(text.replace('getenv("WATTLENS_SIM")', place))
    command = ["cc", *FLAGS, *map(str, source.glob("*.c")), "-o", str(folder / "libnvidia-ml.so.1"), "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "modules/nvidia").mkdir(parents=True)
    runtime = folder / "nvidia-container-runtime"
    script = Path(nvidia_container_runtime.__file__).read_text().replace("@FOLDER@", str(folder))
    runtime.write_text(f"#!{sys.executable}\n{script}")
    runtime.chmod(0o755)


def _write_configuration(folder: Path) -> None:
    network = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": True, "isDefaultGateway": True, "hairpinMode": True,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]]},
            }
        ],
    }  # fmt: skip
    (folder / "cni").mkdir()
    (folder / "cni/10-bridge.conflist").write_text(json.dumps(network))
    (folder / "containerd.toml").write_text(_CONTAINERD.format(pause=PAUSE, folder=folder))
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": f"{folder}/keys/ca.pem"}},
        "authorization": {"mode": "Webhook"},
        "address": NODE_IP,
        "tlsCertFile": f"{folder}/keys/system:node:{NODE}.pem",
        "tlsPrivateKeyFile": f"{folder}/keys/system:node:{NODE}.key",
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": f"unix://{_SOCKET}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": str(folder / "resolv.conf"),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(kubelet))
    (folder / "components.json").write_text(json.dumps(_components(folder)))


def _components(folder: Path) -> dict[str, list[str]]:
    """Command of each component."""
    keys, admin = folder / "keys", f"--kubeconfig={folder}/admin.kubeconfig"
    return {
        "etcd": [
            "etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--log-level=warn",
            "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ],
        "kube-apiserver": [
            "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--secure-port=443", f"--advertise-address={NODE_IP}",
            "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC", "--allow-privileged=true",
            "--enable-admission-plugins=NodeRestriction,PodSecurity", f"--client-ca-file={keys}/ca.pem",
            f"--tls-cert-file={keys}/kube-apiserver.pem", f"--tls-private-key-file={keys}/kube-apiserver.key",
            f"--service-account-key-file={keys}/accounts.key", f"--service-account-signing-key-file={keys}/accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc", "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={keys}/admin.pem", f"--kubelet-client-key={keys}/admin.key",
        ],
        "kube-controller-manager": [
            "kube-controller-manager", admin, f"--service-account-private-key-file={keys}/accounts.key",
            f"--root-ca-file={keys}/ca.pem", "--leader-elect=false",
        ],
        "kube-scheduler": ["kube-scheduler", admin, "--leader-elect=false"],
        "containerd": ["containerd", f"--config={folder}/containerd.toml"],
        "kubelet": [
            "kubelet", f"--kubeconfig={folder}/kubelet.kubeconfig", f"--config={folder}/kubelet.yaml",
            f"--hostname-override={NODE}", f"--node-ip={NODE_IP}",
        ],
        "gpus": [sys.executable, "-m", "tests.peers.kube.gpus", str(folder)],
    }  # fmt: skip


_CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
      BinaryName = "{folder}/nvidia-container-runtime"
"""
