"""The API server of a simulated node, as far as a pod informer needs one: pods by list and watch, owners, ResourceSlices.

It accepts one token, which can be changed, forgets old versions (410 Gone), and can simulate faults: the file `kube-api/fault`
in the node's folder holds a fault: forbidden, error, garbage, gone or hang. The file `kube-api/annotations` sets annotations: a
JSON object of annotations by "node" or "NAMESPACE/POD", which are added to those of the scenario.
"""

import hmac
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from energy_agent.runtime.threads import start_thread
from energy_agent.sim.cluster.pods import PodNow

FOLDER: Final = "kube-api"
_KEPT: Final = 200  # events
_HANG_S: Final = 30.0


class ApiServer:
    """Serves in its own threads until `stop`. The driver of the node sets the pods with `show`."""

    def __init__(self, directory: Path, node: str = "", tls: tuple[Path, Path, Path] | None = None) -> None:
        """`tls`: certificate, its key and the authority's certificate; None: plain HTTP on loopback."""
        self.folder, self.node = directory / FOLDER, node
        self.folder.mkdir(exist_ok=True)
        self.changed = threading.Condition()
        self.version = 1
        self.pods: dict[str, dict[str, Any]] = {}  # by uid
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.objects: dict[str, dict[str, Any]] = {}  # by path: owners and lists of ResourceSlices
        self.asked: list[str] = []
        self.stopping = False
        self.rotate()
        server = self

        class ApiServerHandler(_Handler):
            owner = server

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), ApiServerHandler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls[0], tls[1])
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            (self.folder / "ca.crt").write_bytes(tls[2].read_bytes())
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_port}"
        (self.folder / "address").write_text(self.url + "\n")
        start_thread(threading.Thread(target=self._server.serve_forever, name="kube-api", daemon=True))

    def rotate(self) -> None:
        """Another token, as the kubelet writes one into the pod once an hour; the old one is worth nothing."""
        self.token = secrets.token_urlsafe(24)
        new = self.folder / ".token"
        new.touch(mode=0o600)
        new.write_text(self.token + "\n")
        new.replace(self.folder / "token")

    def show(self, pods: list[PodNow]) -> None:
        """From now on these are the node's pods; what changed becomes events."""
        more = self.annotations()
        now = {
            pod.uid: _object(pod, self.node, more.get(f"{pod.pod.namespace}/{pod.pod.name}", {}))
            for pod in pods
            if pod.listed or pod.phase not in ("Succeeded", "Failed")
        }
        with self.changed:
            for uid in self.pods.keys() - now.keys():  # a name is free for the next pod only then
                self._tell("DELETED", uid, _without_version(self.pods[uid]))
                del self.pods[uid]
            for uid, pod in now.items():
                if uid not in self.pods or _without_version(self.pods[uid]) != pod:
                    self._tell("MODIFIED" if uid in self.pods else "ADDED", uid, pod)
            self.changed.notify_all()

    def stop(self) -> None:
        """Answer no more."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def fault(self) -> str:
        """The fault that is set, "" for none."""
        try:
            return (self.folder / "fault").read_text().strip()
        except OSError:
            return ""

    def annotations(self) -> dict[str, dict[str, str]]:
        """What was annotated since the node began."""
        try:
            saved = json.loads((self.folder / "annotations").read_text())
        except (OSError, ValueError):
            return {}
        return saved if isinstance(saved, dict) else {}

    def _tell(self, kind: str, uid: str, pod: dict[str, Any]) -> None:
        self.version += 1
        versioned = pod | {"metadata": pod["metadata"] | {"resourceVersion": str(self.version)}}
        self.pods[uid] = versioned
        self.events.append((self.version, {"type": kind, "object": versioned}))
        del self.events[:-_KEPT]


class _Handler(BaseHTTPRequestHandler):
    owner: ApiServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """A list, a watch or an object."""
        server, fault = self.owner, self.owner.fault()
        path, query = urlsplit(self.path).path, {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
        server.asked.append(self.path)
        del server.asked[:-1000]
        if not hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {server.token}"):
            self._send(401, b"{}")
        elif fault in ("forbidden", "error"):
            self._send(403 if fault == "forbidden" else 500, b"{}")
        elif fault == "garbage":
            self._send(200, b'{"items": [{"metadata": 5}, "x"], "metadata": {}}')
        elif fault == "hang":
            time.sleep(_HANG_S)
            self.close_connection = True
        elif path == "/api/v1/pods" and "watch" in query:
            self._watch(query)
        elif path == "/api/v1/pods":
            self._list(query)
        elif path.startswith("/api/v1/nodes/"):
            metadata = {"name": path.rpartition("/")[2], "annotations": server.annotations().get("node", {})}
            self._send(200, json.dumps({"kind": "Node", "metadata": metadata}).encode())
        else:
            item = server.objects.get(path)
            self._send(404 if item is None else 200, json.dumps(item or {}).encode())

    def _mine(self, query: Mapping[str, str]) -> Callable[[dict[str, Any]], bool]:
        wanted = query.get("fieldSelector", "").partition("spec.nodeName=")[2]
        return lambda pod: not wanted or pod["spec"]["nodeName"] in ("", wanted)

    def _list(self, query: Mapping[str, str]) -> None:
        with self.owner.changed:
            mine = [pod for _, pod in sorted(self.owner.pods.items()) if self._mine(query)(pod)]
            version = self.owner.version
        begin, limit = int(query.get("continue", "0")), int(query.get("limit", "0")) or len(mine) or 1
        more = {"continue": str(begin + limit)} if begin + limit < len(mine) else {}
        body = {"kind": "PodList", "metadata": {"resourceVersion": str(version)} | more, "items": mine[begin : begin + limit]}
        self._send(200, json.dumps(body).encode())

    def _watch(self, query: Mapping[str, str]) -> None:
        server, since = self.owner, int(query.get("resourceVersion", "0"))
        oldest = server.events[0][0] if server.events else server.version
        if server.fault() == "gone" or since < oldest - 1:
            self._send(410, b"{}")
            return
        end_s = time.monotonic() + min(float(query.get("timeoutSeconds", "30")), 300.0)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        mine = self._mine(query)
        while not server.stopping and time.monotonic() < end_s and not server.fault():
            with server.changed:
                server.changed.wait(0.5)
                events = [(version, event) for version, event in server.events if version > since]
            for version, event in events:
                since = version
                if mine(event["object"]) and not self._line(event):
                    return
            if not events and not self._line({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(since)}}}):
                return

    def _line(self, event: Mapping[str, Any]) -> bool:
        try:
            self.wfile.write(json.dumps(event).encode() + b"\n")
            self.wfile.flush()
        except OSError:
            return False
        return True

    def _send(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_args: Any) -> None:
        """Say nothing: the daemon's log is for faults."""


def _object(now: PodNow, node: str, more: Mapping[str, str]) -> dict[str, Any]:
    pod = now.pod
    metadata: dict[str, Any] = {"name": pod.name, "namespace": pod.namespace, "uid": now.uid, "labels": dict(pod.labels)}
    metadata["annotations"] = {**pod.annotations, **more}
    if pod.owner is not None:
        reference = {"apiVersion": pod.owner.api_version, "kind": pod.owner.kind, "name": pod.owner.name, "controller": True}
        metadata["ownerReferences"] = [reference | {"uid": f"{pod.owner.kind}-{pod.owner.name}"}]
    ports = [{"containerPort": port, "protocol": "TCP"} for port in pod.ports]
    spec = {"nodeName": node, "containers": [{"name": "main", "ports": ports}]} | (
        {"hostNetwork": True} if pod.host_network else {}
    )
    status = {"phase": now.phase} | ({"podIP": pod.address} if now.phase == "Running" else {})
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _without_version(pod: dict[str, Any]) -> dict[str, Any]:
    return pod | {"metadata": {key: value for key, value in pod["metadata"].items() if key != "resourceVersion"}}
