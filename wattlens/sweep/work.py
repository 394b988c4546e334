"""Work counters for a sweep: the agent's metrics, its exact step ends, any metrics endpoint, an inference server's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from dvfs.sweep.reading import Sample
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.ports import Clock
from energy_agent.runtime.network.tls import TlsFiles
from wattlens.sweep.gpu import committed_ns
from wattlens.top.metrics import MetricsResponse

_BROKEN = (WattlensError, OSError, ValueError, ArithmeticError, LookupError)  # whatever a hostile page does is a reason
TRAINING, GENERATION = "training", "generation"


class Work(Protocol):
    """A counter of work."""

    @property
    def what(self) -> str:
        """What is counted, in the plural."""
        ...

    def sample(self, page: MetricsResponse) -> Sample | None:
        """The count now; None where it cannot be read. `page` is the agent's, read just now."""
        ...


@dataclass(frozen=True, slots=True)
class AgentPage:
    """Steps or tokens as the agent's page has them, at the instant of its commit; what they lag behind by is much the same.

    `what` is steps or tokens; the first of `workloads` that counts any is gone by.
    """

    workloads: Sequence[str]
    what: str

    def sample(self, page: MetricsResponse) -> Sample | None:
        """See `Work`."""
        t_ns = committed_ns(page)
        if t_ns is None:
            return None
        for workload in self.workloads:
            if self.what == "steps":
                count = page.total("training_steps_total", workload=workload, phase=TRAINING)
            else:
                count = page.total("tokens_total", workload=workload, phase=GENERATION)
                count = page.total("tokens_total", workload=workload, phase=TRAINING) if count is None else count
            if count is not None:
                return Sample(t_ns, count)
        return None


class StepEnds:
    """Steps with the instants at which they ended, as the workload's hook reports them through the agent's own socket.

    For root on the host and the agent's own user. Unlike the metrics endpoint, the socket reports whole steps, even if they
    take seconds, and waits that began and ended between two readings.
    """

    what = "steps"

    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._waited: Mapping[str, float] | None = None

    def sample(self, page: MetricsResponse) -> Sample | None:
        """See `Work`."""
        status = _query_agent(self._workload)
        try:
            lead = status["ranks"][0] if status is not None else {}
            t_ns, count = int(lead["step_ended_ns"]), float(lead["steps"][TRAINING])
            waited = {str(name): float(seconds) for name, seconds in lead["waits"].items()}
        except (LookupError, TypeError, ValueError, AttributeError):
            return None
        before, self._waited = self._waited, waited
        ended = [] if before is None else [name for name, seconds in waited.items() if seconds > before.get(name, 0.0)]
        doing = str(lead.get("doing", TRAINING))
        return Sample(t_ns, count, ", ".join(ended) if doing == TRAINING else doing)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A counter on a metrics endpoint that we read ourselves, so its instants are exact; `count` may raise."""

    what: str
    count: Callable[[], float | None]
    clock: Clock

    def sample(self, page: MetricsResponse) -> Sample | None:
        """See `Work`."""
        asked_ns = self.clock.utc_ns()
        try:
            count = self.count()
        except _BROKEN:
            return None
        return None if count is None else Sample((asked_ns + self.clock.utc_ns()) // 2, count)


def metric_page(url: str, metric: str, clock: Clock, what: str = "", ca_file: Path | None = None) -> Endpoint:
    """A counter in Prometheus text format: the sum of its series.

    `ca_file`: CA certificates for https, instead of the system's.

    Raises:
        UsageError: the address is not http:// or https:// without a password.
    """
    from energy_agent.tokens.endpoint import check_url, fetch
    from energy_agent.tokens.series import series

    def count() -> float | None:
        values = [each.value for each in series(fetch(url, (metric,), tls=TlsFiles(ca_file)), (metric,))]
        return sum(values) if values else None

    check_url(url, "--work-from")
    return Endpoint(what or metric, count, clock)


def server_page(url: str, server: str, clock: Clock, ca_file: Path | None = None) -> Endpoint:
    """Return the endpoint of an LLM server's generated tokens, under the server's own metric names (docs/tokens.md).

    `ca_file` is as of `metric_page`.

    Raises:
        UsageError: the address is not valid, or the server is unknown.
    """
    import energy_agent.tokens.servers as package
    from energy_agent.core import plugin
    from energy_agent.tokens.endpoint import check_url, fetch
    from energy_agent.tokens.response_parser import names_of, read

    server_names = [each for each in plugin.names(package) if each != "mapping"]
    if server not in server_names:
        raise UsageError(f"--token-server: expected one of {', '.join(server_names)}, got {server!r}")
    spec = plugin.load(package, server)
    check_url(url, "--tokens-from")

    def count() -> float | None:
        readings = read(spec, fetch(url, names_of(spec), tls=TlsFiles(ca_file)), clock.utc_ns())
        counts = [e.counts["generation"] for reading in readings for e in reading.engines if "generation" in e.counts]
        return float(sum(counts)) if counts else None

    return Endpoint("tokens", count, clock)


def spread_over_nodes(workloads: Sequence[str]) -> str:
    """Return why a training job cannot be swept here, according to its ranks in the agent; "" if it can."""
    ranks: list[dict[str, Any]] = []
    for workload in workloads:
        status = _query_agent(workload)
        ranks += status.get("ranks", []) if status is not None else []
    world = max((int(rank.get("world", 1)) for rank in ranks), default=0)
    if not ranks or world <= len(ranks):
        return ""
    return (
        f"only {len(ranks)} of the job's {world} ranks are in {', '.join(workloads)} on this node: a sweep would also "
        "slow the others, whose power is not measured; add the other workloads of this node with --workload, or sweep a "
        "job that runs on one node"
    )


def _query_agent(workload: str) -> dict[str, Any] | None:
    """Query the agent's socket for a workload's status; None if it has no status."""
    from energy_agent.runtime.network.agent_socket import ask

    try:
        status, reply = ask("GET", f"/v1/workload/{quote(workload, safe='')}")
    except _BROKEN:
        return None
    return reply if status == 200 and isinstance(reply.get("ranks", []), list) else None


def of_agent(workloads: Sequence[str], expected: str | None, page: MetricsResponse) -> Work | None:
    """What the agent counts of these workloads: steps where it does, else tokens; None while it counts nothing of them."""
    for what in (expected,) if expected else ("steps", "tokens"):
        counter = AgentPage(workloads, what)
        if counter.sample(page) is not None:
            exact = StepEnds(workloads[0])
            return exact if what == "steps" and exact.sample(page) is not None else counter
    return None
