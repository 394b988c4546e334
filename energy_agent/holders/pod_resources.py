"""Claims by the kubelet's PodResources API, v1: which pod was given which GPU, MIG device or share of one.

Asked once a second in a thread of its own, as a claim has to be there before the pod's first process; a kubelet answers in
milliseconds. Whatever the socket does (nobody listens, no answer, no gRPC, an answer without end) is a reason, within a
deadline and a bounded size. The claims of the last good answer stay; how long they count, `join` decides.

The API has no uid and lists, in some versions, pods that have ended (kubernetes#119423, #132020): `PodFacts` tells both where a
pod informer is allowed.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from energy_agent.core.claims import Claim, Claims
from energy_agent.core.ports import Clock
from energy_agent.core.types import SourceHealth, WorkloadFacts
from energy_agent.holders.gpu_minors import gpu_minors
from energy_agent.holders.pod_grants import AnswerError, DraDevice, Grant, Naming, grants

log = logging.getLogger("wattlens.holders")

SOURCE = "holders:pod_resources"
DEFAULT_SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
PERIOD_S = 1.0
DEADLINE_S = 10.0
BACK_OFF_MAX_S = 10.0
COST_MAX = 20.0  # of the time at most one part in as many goes into answers
MAX_ANSWER_B = 32 << 20  # 100,000 pods are half of it
NAMED_UNKNOWN = 16
_METHOD = "/v1.PodResourcesLister/List"


@dataclass(frozen=True, slots=True)
class PodPage:
    """How a pod that runs can be asked.

    Args:
        address: its own; of a pod on the host's network that of the node.
        annotations: those of ours.
        ports: None: all ports at the address are its own; else those that it declares, which no other pod of the node has.
    """

    address: str
    annotations: Mapping[str, str]
    ports: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class PodFact:
    """What the API server says of a pod.

    Args:
        uid: of this life of the pod.
        ended: it runs no more.
        labels: facts of its workload, as workload_info has them.
        page: where it runs and says that it has a metrics page, what is needed to find it.
    """

    uid: str = ""
    ended: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    page: PodPage | None = None


class PodFacts(Protocol):
    """Whoever knows more of pods than the kubelet's answer."""

    def pod(self, namespace: str, name: str) -> PodFact | None:
        """What is known of a pod, from memory; None: nothing."""
        ...

    def device(self, key: DraDevice) -> str | None:
        """UUID of a device of dynamic resource allocation, from memory; None: not known."""
        ...


class NoFacts:
    """Nobody does."""

    def pod(self, namespace: str, name: str) -> PodFact | None:
        """Nothing."""
        return None

    def device(self, key: DraDevice) -> str | None:
        """Nothing."""
        return None


class SocketLister:
    """One connection to the kubelet, made anew after each failure."""

    def __init__(self, socket: Path, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._target = "unix:" + quote(str(socket.absolute()))
        self._channel: Any = None

    def __call__(self) -> bytes:
        """The answer to `List`, as it came.

        Raises:
            OSError: none came; one line.
        """
        try:
            import grpc
        except ImportError:
            raise OSError("grpcio is not installed: pip install 'wattlens[kubernetes]'") from None
        if self._channel is None:
            options = (("grpc.max_receive_message_length", MAX_ANSWER_B), ("grpc.enable_http_proxy", 0))
            self._channel = grpc.insecure_channel(self._target, options=options)
        try:
            answer: bytes = self._channel.unary_unary(_METHOD)(b"", timeout=self._deadline_s)
        except grpc.RpcError as error:
            self.close()
            details = " ".join(str(error.details()).split())
            raise OSError(f"{error.code().name.lower().replace('_', ' ')}: {_plain(details)[:160]}") from None
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class PodResources:
    """The source. Without a socket it says that nobody was given anything: this is no Kubernetes node."""

    def __init__(
        self,
        socket: Path,
        clock: Clock,
        procfs: Path,
        *,
        resources: tuple[str, ...] = (),
        wanted: bool = False,
        facts: PodFacts | None = None,
        lister: Callable[[], bytes] | None = None,
    ) -> None:
        """`wanted`: the configuration names the socket, so that its absence is a failure; else only once it has been there."""
        self._socket, self._clock, self._procfs, self._resources = socket, clock, procfs, resources
        self._wanted = wanted
        self._facts: PodFacts = facts or NoFacts()
        self._lister = lister or SocketLister(socket)
        self._lock, self._stop, self._answered = threading.Lock(), threading.Event(), threading.Event()
        self._claims: Claims | None = None
        self._since: dict[str, int] = {}  # when each workload was first claimed
        self._up, self._reason = False, "not read yet"
        self._success_ns: int | None = None
        self._poll_s: float | None = None
        self._minors = gpu_minors(procfs)
        self._unknown: dict[str, str] = {}  # device -> who was given it

    def start(self, wait_s: float = 0.0) -> None:
        """Begin to ask, and wait for the first answer for at most `wait_s`."""
        threading.Thread(target=self._run, name="pod-resources", daemon=True).start()
        self._answered.wait(wait_s)

    def claims(self) -> Claims | None:
        """The last good answer."""
        return self._claims

    def health(self) -> tuple[SourceHealth, ...]:
        """Whether the kubelet answers, and the first devices it gave away that are not known; nothing where there is none."""
        with self._lock:
            if not self._wanted:
                return ()
            own = SourceHealth(SOURCE, self._up, "", self._reason, self._success_ns, self._poll_s)
            named = list(self._unknown.items())[:NAMED_UNKNOWN]
        return (own, *(SourceHealth(SOURCE, False, device, f"unknown device, given to {pod}") for device, pod in named))

    def stop(self) -> None:
        """End the thread with its next wait."""
        self._stop.set()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began_s = time.monotonic()
            failures = 0 if self.poll() else failures + 1
            self._answered.set()
            # An answer that takes long, for its size or a busy kubelet, is asked for less often.
            took_s = time.monotonic() - began_s
            pause_s = max(self._clock.real_seconds(PERIOD_S), min(COST_MAX * took_s, BACK_OFF_MAX_S))
            if failures:
                pause_s = min(2.0 ** min(failures - 1, 6), BACK_OFF_MAX_S)
            self._stop.wait(max(0.05, pause_s - (time.monotonic() - began_s)))
        if isinstance(self._lister, SocketLister):
            self._lister.close()

    def poll(self) -> bool:
        """Ask once; False: it failed."""
        asked_ns, began_s = self._clock.boot_ns(), time.monotonic()
        if not self._wanted and not self._there():
            self._claims = Claims(asked_ns)
            return True
        try:
            naming = Naming(self._resources, gpu_minors(self._procfs), self._facts.device)
            self._took(list(grants(self._lister(), naming)), asked_ns, time.monotonic() - began_s)
        except (OSError, AnswerError, ImportError) as error:
            with self._lock:
                self._wanted = True
                if self._up or self._reason == "not read yet":
                    log.warning("the kubelet's PodResources: %s", error)
                self._up, self._reason = False, str(error)
            return False
        return True

    def _there(self) -> bool:
        try:
            self._wanted = self._socket.is_socket()
        except OSError:
            self._wanted = True  # not for us to see: the next call says so
        return self._wanted

    def _took(self, found: list[Grant], asked_ns: int, took_s: float) -> None:
        now_ns = self._clock.utc_ns()
        claims: list[Claim] = []
        unknown: dict[str, str] = {}
        for grant in found:
            fact = self._facts.pod(grant.namespace, grant.pod) or PodFact()
            if fact.ended:
                continue
            unknown |= {_plain(device)[:160]: f"{grant.namespace}/{grant.pod}" for device in grant.unknown}
            name = f"{grant.namespace}/{grant.pod}" + (f".{fact.uid[:8]}" if fact.uid else "")
            labels = {"namespace": grant.namespace, "pod": grant.pod, **fact.labels}
            facts = WorkloadFacts(name, self._since.setdefault(name, now_ns), "pod", labels)
            claims += [Claim(device, facts, fact.uid) for device in grant.devices]
        claims.sort(key=lambda claim: (claim.device, claim.workload))
        self._since = {c.workload: self._since[c.workload] for c in claims}
        with self._lock:
            before = self._claims
            same = before is not None and before.claims == tuple(claims)
            self._claims = Claims(asked_ns, before.claims if same and before is not None else tuple(claims), len(unknown))
            if not self._up:
                log.info("the kubelet's PodResources: ok")
            for device in unknown.keys() - self._unknown.keys():
                log.warning("unknown device %s, given to %s: which GPU it is cannot be told", device, unknown[device])
            self._unknown = unknown
            self._up, self._reason, self._success_ns, self._poll_s = True, "", now_ns, took_s


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
