"""Labels of this node's pods from the API server: list and watch of pods whose spec.nodeName is this node, nothing else.

It runs in a background thread, only where the configuration and the service account's role allow it. It never uses
`nodes/proxy`, a permission to run commands in every pod. If the server does not respond, known pods stay and new ones are
unknown.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from energy_agent.core.ports import Clock
from energy_agent.core.text import printable
from energy_agent.owners.kubernetes.api_client import RETRY_MAX_S, Api, ApiError
from energy_agent.owners.kubernetes.controllers import controller, facts_of_owner, plural, text_map
from energy_agent.owners.kubernetes.grants import ClaimName, DraDevice, PodFact
from energy_agent.owners.kubernetes.node_annotation import ANNOTATION
from energy_agent.runtime.poller import Poller
from energy_agent.tokens import discovery as pages
from energy_agent.tokens.pod_layouts import layout_annotations

log = logging.getLogger("wattlens.holders")

SOURCE = "holders:pod_informer"
PAGE = 100
MAX_PODS = 5_000
MAX_VALUE = 253
MAX_WALKED = 1_000
SLICES_EVERY_S = 30.0
_CLAIMS_KEPT_S = 600.0
_CLAIMS_RETRY_S = 30.0
PERIOD_S = 0.5  # between two watches
_OURS_MAX = 512  # characters of an annotation of ours
_CONTAINERS_MAX, _PORTS_MAX = 64, 64
_WATCH_S, _SILENCE_S, _HANG_S = 240, 270.0, 300.0
_DEPTH = 4
_CLAIM_VERSIONS = ("v1", "v1beta2", "v1beta1")
_RESULTS_MAX = 256
_SLICES = ("/apis/resource.k8s.io/v1/resourceslices", "/apis/resource.k8s.io/v1beta1/resourceslices")


class PodInformer(Poller[None]):
    """Keeps the metadata of each pod. The informer also reads the owners of `owner_kinds` (Kind.group/version)."""

    def __init__(self, api: Api, node: str, clock: Clock, labels: Mapping[str, str], owner_kinds: tuple[str, ...] = ()) -> None:
        self._api, self._labels = api, labels
        self._where = urlencode({"fieldSelector": f"spec.nodeName={node}"})
        self._kinds = dict(_kind(text) for text in owner_kinds)
        self._pods: dict[tuple[str, str], PodFact] = {}
        self._keys: dict[str, tuple[str, str]] = {}  # by uid
        self._serving: dict[tuple[str, str], PodFact] | None = None
        self._devices: dict[DraDevice, str] = {}
        self._slices_at_s = -SLICES_EVERY_S
        self._admin: dict[ClaimName, tuple[float, frozenset[DraDevice]]] = {}  # when read, and its devices with admin access
        self._claims_from_s = 0.0  # earliest time of the next request for claims
        self._walked: dict[tuple[str, str, str], Mapping[str, Any] | None] = {}
        self._version = ""  # of the pods that are known; "": they have to be listed
        title = "pods of the API server"
        super().__init__(clock, SOURCE, self._follow, PERIOD_S, log, title, retry_max_s=RETRY_MAX_S, hang_s=_HANG_S)

    def pod(self, namespace: str, name: str) -> PodFact | None:
        """What is known of a pod."""
        return self._pods.get((namespace, name))

    def pod_of(self, uid: str) -> tuple[tuple[str, str], PodFact] | None:
        """Namespace and name of a pod, and what is known of it; None: no such pod is known."""
        key = self._keys.get(uid)
        fact = self._pods.get(key) if key is not None else None
        return (key, fact) if key is not None and fact is not None and fact.uid == uid else None

    def serving(self) -> Mapping[tuple[str, str], PodFact] | None:
        """Pods that run and say that they have a metrics page, by namespace and name; None: not listed yet."""
        return self._serving

    def answers(self) -> bool:
        """Whether the API server does."""
        return self.health().up

    def device(self, key: DraDevice) -> str | None:
        """UUID of a device, as the node's ResourceSlices have it; asked for where it is not known, every now and then."""
        if key not in self._devices and time.monotonic() - self._slices_at_s >= SLICES_EVERY_S:
            self._slices_at_s = time.monotonic()
            self._read_slices()
        return self._devices.get(key)

    def is_admin(self, claim: ClaimName, device: DraDevice) -> bool:
        """Whether a claim has only administrative access to a device, as its ResourceClaim says; where it is not known, no."""
        now_s = time.monotonic()
        read_s, devices = self._admin.get(claim, (-_CLAIMS_KEPT_S, frozenset[DraDevice]()))
        if now_s - read_s >= _CLAIMS_KEPT_S and now_s >= self._claims_from_s:
            try:
                devices = self._read_claim(claim)
            except ApiError as error:
                log.warning("ResourceClaim %s: %s; GPUs claimed with adminAccess count as allocated", "/".join(claim), error)
                self._claims_from_s = now_s + _CLAIMS_RETRY_S
            else:
                kept = {name: entry for name, entry in self._admin.items() if now_s - entry[0] < 2 * _CLAIMS_KEPT_S}
                self._admin = kept | {claim: (now_s, devices)}
        return device in devices

    def _read_claim(self, claim: ClaimName) -> frozenset[DraDevice]:
        namespace, name = (quote(part, safe="") for part in claim)
        for version in _CLAIM_VERSIONS:
            try:
                reply = self._api.get(f"/apis/resource.k8s.io/{version}/namespaces/{namespace}/resourceclaims/{name}")
            except ApiError as error:
                if error.status == 404:
                    continue
                raise
            try:
                results = reply["status"]["allocation"]["devices"]["results"]
                admin = [each for each in results[:_RESULTS_MAX] if each.get("adminAccess") is True]
                return frozenset((str(each["driver"]), str(each["pool"]), str(each["device"])) for each in admin)
            except (TypeError, KeyError, AttributeError):
                break  # it is not allocated, or the server says anything
        return frozenset()

    def _follow(self) -> None:
        version, self._version = self._version, ""
        try:
            self._version = self._watch(version or self._list())
        except ApiError as error:
            if error.status == 410:  # the requested version has expired: list again
                return
            hint = " (the required role is in deploy/kubernetes/overlays/informer)" if error.status in (401, 403) else ""
            raise ApiError(f"{error}{hint}") from None
        except Exception as error:  # noqa: BLE001 - a server may answer anything
            raise ApiError(f"expected a list of pods in the response: {type(error).__name__}") from None

    def _list(self) -> str:
        pods: dict[tuple[str, str], PodFact] = {}
        following = ""
        while True:
            page = self._api.get(
                f"/api/v1/pods?{self._where}&limit={PAGE}" + (f"&continue={quote(following)}" if following else "")
            )
            for pod in page["items"]:
                key, fact = self._fact(pod)
                if len(pods) < MAX_PODS:
                    pods[key] = fact
            following = page["metadata"].get("continue", "")
            if not following or self.is_stopping:
                break
        gone = {key: PodFact(fact.uid, True, fact.labels) for key, fact in self._pods.items() if key not in pods}
        self._take(pods | dict(list(gone.items())[-MAX_PODS:]))
        return str(page["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> str:
        query = f"{self._where}&watch=1&allowWatchBookmarks=true&timeoutSeconds={_WATCH_S}&resourceVersion={quote(version)}"
        for event in self._api.events(f"/api/v1/pods?{query}", _SILENCE_S):
            if self.is_stopping:
                break
            kind, pod = event["type"], event["object"]
            if kind == "ERROR":
                raise ApiError(f"watch: {str(pod.get('message', ''))[:80]!r}", int(pod.get("code", 0)))
            version = str(pod["metadata"]["resourceVersion"])
            if kind in ("ADDED", "MODIFIED", "DELETED"):
                key, fact = self._fact(pod)
                # The kubelet may list a pod that is no more for a while: that it has ended is worth knowing.
                self._take(self._pods | {key: PodFact(fact.uid, True, fact.labels) if kind == "DELETED" else fact})
            self.succeeded()
        return version

    def _fact(self, pod: Mapping[str, Any]) -> tuple[tuple[str, str], PodFact]:
        metadata = pod["metadata"]
        labels, annotations = text_map(metadata.get("labels")), text_map(metadata.get("annotations"))
        mapped = {fact: labels.get(key) or annotations.get(key, "") for fact, key in self._labels.items()}
        ours = layout_annotations(labels, annotations, pod.get("spec", {}))
        ours = {key: _cut(text) for key, text in (ours | annotations).items() if key in pages.KEYS}
        group = pages.group(pages.PodFacts("", "", ours))
        facts = self._owner(metadata) | ({"group": group} if group is not None else {})
        facts |= {fact: printable(value)[:MAX_VALUE] for fact, value in mapped.items() if value}
        if ANNOTATION in annotations:  # what its owner says of steering, for wattlens/steering/terms.py
            facts["dvfs"] = "".join(c for c in _cut(annotations[ANNOTATION]) if c.isprintable() or c == "\n")
        phase = str(pod.get("status", {}).get("phase", ""))
        is_read = phase == "Running" and ours.get(pages.PORT, pages.NOT_READ) != pages.NOT_READ
        page = _page(pod, ours) if is_read else None
        fact = PodFact(str(metadata["uid"])[:64], phase in ("Succeeded", "Failed"), facts, page)
        return (str(metadata["namespace"]), str(metadata["name"])), fact

    def _owner(self, metadata: Mapping[str, Any]) -> dict[str, str]:
        """The owner by the pod's own metadata, or further up as far as the readable kinds reach."""
        namespace, facts = str(metadata["namespace"]), facts_of_owner(metadata)
        above = controller(metadata)
        for _ in range(_DEPTH):
            group = "" if above is None else str(above.get("apiVersion", "")).rpartition("/")[0]
            version = None if above is None else self._kinds.get((str(above["kind"]), group))
            if above is None or version is None:
                break
            facts = facts | dict.fromkeys(("owner", "group"), f"{above['kind']}/{above['name']}")
            owner = self._object(namespace, str(above["kind"]), f"/apis/{group}/{version}", str(above["name"]))
            above = None if owner is None else controller(owner)
            if above is not None:
                facts |= dict.fromkeys(("owner", "group"), f"{above['kind']}/{above['name']}")
        return facts

    def _object(self, namespace: str, kind: str, api: str, name: str) -> Mapping[str, Any] | None:
        key = (namespace, kind, name)
        if key not in self._walked:
            try:
                path = f"{api}/namespaces/{quote(namespace, safe='')}/{plural(kind)}/{quote(name, safe='')}"
                metadata = self._api.get(path)["metadata"]
            except (ApiError, KeyError):
                metadata = None
            if len(self._walked) >= MAX_WALKED:
                self._walked.clear()
            self._walked[key] = metadata if isinstance(metadata, Mapping) else None
        return self._walked[key]

    def _read_slices(self) -> None:
        for path in _SLICES:
            try:
                items = self._api.get(f"{path}?{self._where}")["items"]
            except ApiError as error:
                if error.status == 404:
                    continue
                log.warning("ResourceSlices: %s", error)
                return
            try:
                self._devices = dict(device for item in items for device in _devices(item["spec"]))
            except (ValueError, TypeError, KeyError, AttributeError):
                log.warning("expected a list of ResourceSlices in the response")
            return

    def _take(self, pods: Mapping[tuple[str, str], PodFact]) -> None:
        kept = dict(pods)
        while len(kept) > 2 * MAX_PODS:
            del kept[next(iter(kept))]
        self._pods = kept
        self._keys = {fact.uid: key for key, fact in kept.items()}
        self._serving = {key: fact for key, fact in kept.items() if fact.endpoint is not None}
        self.succeeded()


def _kind(text: str) -> tuple[tuple[str, str], str]:
    kind, _, rest = text.partition(".")
    group, _, version = rest.rpartition("/")
    return (kind, group), version


def _devices(spec: Mapping[str, Any]) -> list[tuple[DraDevice, str]]:
    devices = []
    for device in spec.get("devices", ())[:256]:
        attributes = device.get("attributes") or device.get("basic", {}).get("attributes", {})
        uuid = attributes.get("uuid", {}).get("string", "")
        if isinstance(uuid, str) and uuid.startswith(("GPU-", "MIG-")) and len(uuid) <= 64:
            devices.append(((str(spec["driver"]), str(spec["pool"]["name"]), str(device["name"])), uuid))
    return devices


def _page(pod: Mapping[str, Any], annotations: Mapping[str, str]) -> pages.PodFacts | None:
    """None: the pod has no address yet."""
    address, spec = pod["status"].get("podIP"), pod.get("spec", {})
    if not isinstance(address, str) or not 0 < len(address) <= 64:
        return None
    if spec.get("hostNetwork") is not True:
        return pages.PodFacts("", address, annotations)
    containers = [*spec.get("containers", ())[:_CONTAINERS_MAX], *spec.get("initContainers", ())[:_CONTAINERS_MAX]]
    declared = [port for container in containers for port in container.get("ports", ())[:_PORTS_MAX]]
    ports = frozenset(p for port in declared if isinstance(p := port.get("containerPort"), int) and _is_tcp(port))
    return pages.PodFacts("", address, annotations, ports)


def _is_tcp(port: Mapping[str, Any]) -> bool:
    return bool(port.get("protocol", "TCP") == "TCP")


def _cut(text: str) -> str:
    """What is too long is marked, so that its beginning is not taken for the whole."""
    return text if len(text) <= _OURS_MAX else text[:_OURS_MAX] + "…"
