"""Inference servers from the annotations of pods. Pure. Every user who may create a pod writes them, so they are bounded.

    wattlens.io/metrics-port: "8000"      one port, or several with commas: an engine each; nothing is scraped without it
    wattlens.io/metrics-path: /metrics
    wattlens.io/metrics-scheme: https
    wattlens.io/token-server: vllm        a file of this folder; mapping is for the configuration alone
    wattlens.io/group: llama-70b          where the engine's devices are in several pods: the pod that serves has the port
    wattlens.io/model: llama-70b          in place of the page's
    wattlens.io/precision: fp8            of its weights
    wattlens.io/role: prefill             or decode: of a service whose prefill and decode run in separate pods

The agent only scrapes the pod's own address. Pods sign their certificates themselves, so none is verified: HTTPS is for servers
that do not speak HTTP, and trusted as much. On the host's network a pod has no address of its own: there the agent scrapes the
ports that the pod declares, which the scheduler gives to one pod of a node alone.
"""

import ipaddress
import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from energy_agent.config.tokens import TokenSource
from energy_agent.core.text import is_printable

KEYS = PORT, PATH, SCHEME, SERVER, GROUP, MODEL, PRECISION, ROLE = (
    "wattlens.io/metrics-port",
    "wattlens.io/metrics-path",
    "wattlens.io/metrics-scheme",
    "wattlens.io/token-server",
    "wattlens.io/group",
    "wattlens.io/model",
    "wattlens.io/precision",
    "wattlens.io/role",
)
NOT_READ = "off"
"""Value of the port's annotation that keeps a pod from being read."""
ENDPOINTS_LIMIT = 256  # on a node
PORTS_LIMIT = 16  # of a pod
FACT_LIMIT = 256
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9._/-]")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,255}")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What discovery needs of a pod.

    Args:
        workload: that it is.
        address: its own, or of a pod on the host's network the node's.
        annotations: as it has them.
        ports: None: all at its address are its own; else those that are.
        facts: of the workload: its group, model and precision, used without an annotation of the same meaning.
    """

    workload: str
    address: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    ports: Collection[int] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def sources(
    pods: Iterable[PodFacts], servers: Collection[str], nameless: Collection[str] = (), *, simulated: bool = False
) -> tuple[list[TokenSource], dict[str, str]]:
    """The pages of these pods, and by workload why an annotation was not followed.

    Args:
        pods: those on this node.
        servers: names of the servers that are known.
        nameless: of them, those whose pages name no model.
        simulated: pods of a simulated node are at this host's loopback.
    """
    candidates: dict[str, list[TokenSource]] = {}  # by namespace
    refused: dict[str, str] = {}
    for pod in sorted(pods, key=lambda pod: pod.workload):
        if PORT not in pod.annotations:
            continue
        try:
            source = _source(pod, servers, nameless, simulated)
        except ValueError as error:
            refused[pod.workload] = str(error)
        else:
            candidates.setdefault(pod.workload.partition("/")[0], []).append(source)
    followed = _share(candidates)
    for source in (source for sources in candidates.values() for source in sources if source not in followed):
        refused[source.workload] = (
            f"more than {ENDPOINTS_LIMIT} metrics endpoints on this node; they are shared equally among namespaces"
        )
    return sorted(followed, key=lambda source: source.workload), refused


def _share(candidates: Mapping[str, list[TokenSource]]) -> list[TokenSource]:
    """The sources that are followed: the next one is always of the namespace with the fewest pages so far (max-min)."""
    queues = {namespace: deque(sources) for namespace, sources in candidates.items()}
    endpoints = dict.fromkeys(queues, 0)
    followed: list[TokenSource] = []
    while queues:
        namespace = min(queues, key=lambda each: (endpoints[each] + len(queues[each][0].endpoints), each))
        source = queues[namespace].popleft()
        if sum(endpoints.values()) + len(source.endpoints) <= ENDPOINTS_LIMIT:
            endpoints[namespace] += len(source.endpoints)
            followed.append(source)
        if not queues[namespace]:
            del queues[namespace]
    return followed


def group(pod: PodFacts) -> str | None:
    """The group that a pod says it is of; of the members without a port too. None: none, or none that can be one."""
    text = pod.annotations.get(GROUP, "")
    return text if _GROUP.fullmatch(text) else None


def _source(pod: PodFacts, servers: Collection[str], nameless: Collection[str], simulated: bool) -> TokenSource:
    annotations = pod.annotations
    first, *more = ports = _ports(annotations[PORT])
    if pod.ports is not None and not set(ports) <= set(pod.ports):
        raise ValueError(f"annotation {PORT}: a container on the host network must declare each of these ports")
    path, server = annotations.get(PATH, "/metrics"), annotations.get(SERVER, "vllm")
    if not _PATH.fullmatch(path):
        raise ValueError(f"annotation {PATH}: expected a path such as /metrics")
    if server not in servers or server == "mapping":
        raise ValueError(f"annotation {SERVER}: unknown server; known: {', '.join(sorted(set(servers) - {'mapping'}))}")
    if GROUP in annotations and group(pod) is None:
        raise ValueError(f"annotation {GROUP}: expected a name of at most 63 letters, digits, '.', '_' and '-'")
    return TokenSource(
        workload=pod.workload,
        url=f"{_scheme(annotations.get(SCHEME, 'http'))}://{_host(pod.address, simulated)}:{first}{path}",
        ports=tuple(more),
        verify=False,
        server=server,
        model=_fact(pod, MODEL, "model" if server in nameless else ""),
        precision=_fact(pod, PRECISION, "precision"),
        role=_role(annotations.get(ROLE, "")),
        group=group(pod) or _UNNAMEABLE.sub("_", pod.facts.get("group", "")).lstrip("._/-")[:253] or None,
    )


def _scheme(text: str) -> str:
    if text.lower() not in ("http", "https"):
        raise ValueError(f"annotation {SCHEME}: expected http or https")
    return text.lower()


def _role(text: str) -> Literal["", "prefill", "decode"]:
    match text:
        case "" | "prefill" | "decode":
            return text
    raise ValueError(f"annotation {ROLE}: expected prefill or decode")


def _fact(pod: PodFacts, key: str, fact: str) -> str:
    text = pod.annotations.get(key, pod.facts.get(fact, ""))
    if len(text) > FACT_LIMIT or not is_printable(text):
        raise ValueError(f"annotation {key}: expected printable text of at most {FACT_LIMIT} characters")
    return text


def _ports(text: str) -> list[int]:
    parts = text.split(",", PORTS_LIMIT)
    ports = [int(part) for part in map(str.strip, parts) if part.isascii() and part.isdigit() and len(part) < 6]
    if len(ports) != len(parts) or len(set(ports)) < len(ports) or len(ports) > PORTS_LIMIT:
        raise ValueError(
            f"annotation {PORT}: expected a port, or a comma-separated list of at most {PORTS_LIMIT} different ports"
        )
    if not all(0 < port < 65536 for port in ports):
        raise ValueError(f"annotation {PORT}: expected a port from 1 to 65535")
    return ports


def _host(text: str, simulated: bool) -> str:
    """The pod's address as a URL has it. One that leads to this host or beyond a network is no pod's."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("the pod has no address yet") from None
    if address.version == 6 and (address.ipv4_mapped is not None or address.scope_id is not None):
        raise ValueError(f"{text!r} is not the address of a pod")
    if address.is_loopback and simulated:
        return text
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise ValueError(f"{text!r} is not the address of a pod")
    return f"[{address.compressed}]" if address.version == 6 else address.compressed
