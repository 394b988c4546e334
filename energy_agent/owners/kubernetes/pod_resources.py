"""Claims from the kubelet's PodResources API, v1: the GPUs, MIG devices or shares of each pod.

It is polled once per second in a background thread, because a claim must be known before the pod's first process; a kubelet
responds in milliseconds. Any failure (no listener, no response, no gRPC, an endless response) is a reason, within a deadline
and a size limit. The claims of the last good response stay; `join` decides how long they are used.

The API has no uid and lists, in some versions, ended pods (kubernetes#119423, #132020): the pod informer corrects both where it
is allowed. Otherwise uids come from the kubelet's log folders (`pod_logs.py`).
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.extras import install_hint
from energy_agent.core.ports import Clock
from energy_agent.core.text import printable
from energy_agent.owners.claims import Claim
from energy_agent.owners.gpu_minors import gpu_minors
from energy_agent.owners.kubernetes.grants import Naming, PodFact, grants
from energy_agent.owners.kubernetes.pod_logs import PodLogs
from energy_agent.owners.polled_source import PolledClaimSource

if TYPE_CHECKING:
    from energy_agent.owners.kubernetes.informer import PodInformer


SOURCE = "holders:pod_resources"
DEFAULT_SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
PERIOD_S = 1.0
DEADLINE_S = 10.0
BACK_OFF_MAX_S = 10.0
COST_MAX = 20.0  # of the time at most one part in as many goes into answers
MAX_ANSWER_B = 4 << 20  # a kubelet runs 110 to 500 pods, of at most some kilobytes each
_METHOD = "/v1.PodResourcesLister/List"


class SocketLister:
    """One connection to the kubelet, rebuilt after each failure."""

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
            raise OSError(f"grpcio is not installed: {install_hint('kubernetes')}") from None
        if self._channel is None:
            options = (("grpc.max_receive_message_length", MAX_ANSWER_B), ("grpc.enable_http_proxy", 0))
            self._channel = grpc.insecure_channel(self._target, options=options)
        try:
            answer: bytes = self._channel.unary_unary(_METHOD)(b"", timeout=self._deadline_s)
        except grpc.RpcError as error:
            self.close()
            details = " ".join(str(error.details()).split())
            raise OSError(f"{error.code().name.lower().replace('_', ' ')}: {printable(details)[:160]}") from None
        return answer

    def close(self) -> None:
        """Release the connection."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class PodResources(PolledClaimSource):
    """The source. Without a socket it says that nobody was given anything: this is no Kubernetes node."""

    source = SOURCE
    called = "the kubelet's PodResources"

    def __init__(
        self,
        socket: Path,
        clock: Clock,
        procfs: Path,
        *,
        resources: tuple[str, ...] = (),
        wanted: bool = False,
        informer: "PodInformer | None" = None,
        logs: PodLogs | None = None,
        lister: Callable[[], bytes] | None = None,
    ) -> None:
        """`wanted`: the configuration names the socket, so that its absence is a failure; else only once it has been there."""
        socket_lister = SocketLister(socket)
        super().__init__(clock, PERIOD_S, wanted=wanted, retry_max_s=BACK_OFF_MAX_S, rest=COST_MAX, close=socket_lister.close)
        self._socket, self._procfs, self._resources = socket, procfs, resources
        self._informer, self._logs = informer, logs or PodLogs()
        self._lister = lister or socket_lister

    def is_present(self) -> bool:
        """There is a socket, or that is not for us to see: then the next call says so."""
        try:
            return self._socket.is_socket()
        except OSError:
            return True

    def ask(self, now_ns: int) -> tuple[Iterable[Claim], Mapping[str, str]]:
        """The pods that have not ended, with their devices."""
        informer = self._informer
        of_claims = () if informer is None else (informer.device, informer.is_admin)
        naming = Naming(self._resources, gpu_minors(self._procfs), *of_claims)
        claims: list[Claim] = []
        unknown: dict[str, str] = {}
        granted = list(grants(self._lister(), naming))
        if granted:
            self._logs.read()
        for grant in granted:
            fact = None if informer is None else informer.pod(grant.namespace, grant.pod)
            fact = fact or PodFact(self._logs.uid(grant.namespace, grant.pod))
            if fact.ended:
                continue
            unknown |= {printable(device)[:160]: f"{grant.namespace}/{grant.pod}" for device in grant.unknown}
            name = f"{grant.namespace}/{grant.pod}" + (f".{fact.uid[:8]}" if fact.uid else "")
            labels = {"namespace": grant.namespace, "pod": grant.pod, **fact.labels}
            facts = WorkloadFacts(name, self.since(name, now_ns), "pod", labels)
            claims += [Claim(device, facts, fact.uid) for device in grant.devices]
        return claims, unknown
