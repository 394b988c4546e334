"""Inference engines: which GPUs each uses, its own count of tokens, and J per token of the agent against both."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import energy_agent.tokens.servers
from energy_agent.config.tokens import TokenSource
from energy_agent.core import plugin
from energy_agent.core.energy import ProcessUse
from energy_agent.core.errors import UsageError
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.owners.cgroup_tree import CgroupTree
from energy_agent.owners.processes import ProcessOwners
from energy_agent.runtime.network.tls import SYSTEM_TLS, TlsFiles
from energy_agent.tokens.endpoint import fetch
from energy_agent.tokens.poller import server_of
from energy_agent.tokens.reading import EndpointError
from energy_agent.tokens.response_parser import names_of, read
from energy_agent.tokens.server_spec import TokenServer
from wattlens.doctor.acceptance.comparison import Bounds, CounterReadings
from wattlens.doctor.acceptance.result import EngineResult, Estimate, reason_text, word
from wattlens.doctor.finding import NvmlAnswers
from wattlens.gpus.listener import ListenerError, descendants, server_processes
from wattlens.top.metrics import MetricsResponse

AGENT_AGE_S: Final = 2.5
"""The agent reads an engine once per second and publishes once per second: its count in a response is at most this old."""
_LATE_S: Final = 0.25
"""In addition, by the machine's clock: the time of its own work."""


@dataclass(slots=True)
class EngineReader:
    """The metrics endpoint of one engine: `counts` are its tokens, by the machine's monotonic clock.

    `age_s`: maximum age of its count in a response of the agent, by the machine's clock. `source`: its entry under `tokens` in
    the configuration of a private agent. `tls` is for https.
    """

    url: str
    name: str
    server: TokenServer
    age_s: float
    source: dict[str, Any] = field(default_factory=dict)
    tls: TlsFiles = SYSTEM_TLS
    counts: CounterReadings = field(default_factory=CounterReadings)

    def read_once(self) -> None:
        """Read the number of generated tokens. Raises EndpointError."""
        before_ns = time.monotonic_ns()
        count = _generated(self.server, fetch(self.url, names_of(self.server), tls=self.tls))
        if count is None:
            raise EndpointError(f"{self.url}: no count of generated tokens")
        self.counts.add(before_ns, time.monotonic_ns(), count)

    def run(self, ended: threading.Event, interval_s: float) -> None:
        """Read until `ended`; a failed reading widens the bounds."""
        while not ended.wait(interval_s):
            try:
                self.read_once()
            except (EndpointError, UsageError):
                continue

    def at(self, t_s: float) -> Bounds | None:
        """Bounds of the count that the agent shows in a response at `t_s`; None outside of the readings."""
        return self.counts.at(round((t_s - self.age_s) * NS_PER_S), round(t_s * NS_PER_S))


@dataclass(frozen=True, slots=True)
class EngineOwner:
    """The workload of an engine and the UUIDs of its GPUs; or `reason`."""

    workload: str = ""
    uuids: frozenset[str] = frozenset()
    reason: str = ""


def open_engine(url: str, clock: Clock) -> EngineReader:
    """Find out which inference server responds at `url`; `clock` is the node's.

    Raises:
        UsageError: the URL is not http:// or https://, or none that Wattlens knows responds there.
    """
    servers: dict[str, TokenServer] = {n: s for n, s in plugin.discover(energy_agent.tokens.servers).items() if n != "mapping"}
    names = tuple({name: None for server in servers.values() for name in names_of(server)})
    try:
        text = fetch(url, names)
    except EndpointError as error:
        raise UsageError(f"--engine: {error}") from None
    for name, server in servers.items():
        if _generated(server, text) is not None:
            return EngineReader(url, name, server, _age_s(clock, 1.0), {"url": url, "server": name})
    raise UsageError(f"--engine {url}: expected the metrics endpoint of one of {', '.join(servers)}")


def configured_engines(sources: Iterable[TokenSource], clock: Clock) -> list[EngineReader]:
    """The engines that a configuration of the agent names, whether they respond or not."""
    return [
        EngineReader(
            url,
            source.server,
            server_of(source),
            _age_s(clock, source.period_s),
            _entry(source) | {"url": url},
            TlsFiles(source.ca_file, verify=source.verify),
        )
        for source in sources
        for url in source.endpoints
    ]


def _entry(source: TokenSource) -> dict[str, Any]:
    return source.model_dump(mode="json", exclude_none=True, exclude={"ports"})


def _age_s(clock: Clock, period_s: float) -> float:
    return clock.real_seconds(AGENT_AGE_S - 1.0 + period_s) + _LATE_S


def _generated(server: TokenServer, text: str) -> int | None:
    try:
        models = read(server, text, time.time_ns())
    except EndpointError:
        return None
    counts = [engine.counts.get("generation") for model in models for engine in model.engines]
    values = [count for count in counts if count is not None]
    return sum(values) if values and len(values) == len(counts) else None


def find_owner(url: str, answers: NvmlAnswers, roots: Sequence[Path]) -> EngineOwner:
    """The workload and the GPUs of the process that listens at `url` and of its descendants.

    `roots` are `/proc` folders in which processes are looked up, in this order.
    """
    try:
        listeners = server_processes(url)
    except ListenerError as error:
        return EngineOwner(reason=reason_text(str(error).replace(urlsplit(url).hostname or "\0", "the host")))
    family = descendants(listeners)
    owners = [ProcessOwners(root, CgroupTree.of_process().trust) for root in roots]
    workloads = {_workload(pid, owners) for pid in family} - {""}
    uuids: set[str] = set()
    names: set[str] = set()
    for device in answers.devices.values():
        for process in device.sample.processes or ():
            name = _workload(process.pid, owners)
            if process.pid in family or (name and name in workloads):
                uuids.add(device.info.uuid)
                names.add(name)
    if len(names) != 1:
        return EngineOwner(reason="its server uses no visible GPU" if not uuids else "its GPUs have more than one workload")
    return EngineOwner(names.pop(), frozenset(uuids))


def _workload(pid: int, owners: Sequence[ProcessOwners]) -> str:
    for each in owners:
        device_owners, _ = each.resolve([ProcessUse(pid)], 0)
        owner = each.owner_of(device_owners.processes[0]) if device_owners.processes else None
        if owner is not None:
            return owner.workload
    return ""


def compare_engine(
    engine: EngineReader,
    owner: EngineOwner,
    responses: Sequence[MetricsResponse],
    counter_j: Callable[[MetricsResponse, MetricsResponse, str], Bounds | None],
    indices: Mapping[str, int],
) -> EngineResult:
    """J per generated token of the agent, and of the raw counters over the engine's own count.

    Args:
        engine: its readings.
        owner: its GPUs.
        responses: of the agent.
        counter_j: difference of a GPU's raw counter in J between the readings that two responses are from.
        indices: of GPUs by UUID.
    """
    name = word(engine.name)
    gpus = tuple(sorted(indices[uuid] for uuid in owner.uuids if uuid in indices))

    def absent(reason: str, agent: str = "") -> EngineResult:
        return EngineResult(name, gpus, Estimate(reason=agent), Estimate(reason=reason))

    if owner.reason or engine.counts.resets:
        return absent(owner.reason or "its counters fell: it was restarted")
    usable = [(response, bounds) for response in responses if (bounds := engine.at(response.t_s)) is not None]
    if len(usable) < 2:
        return absent("fewer than two readings of its tokens")
    counted = [each for each in usable if _agent_totals(each[0], owner) is not None]
    agent_reason = "" if len(counted) > 1 else "the agent has no energy or no tokens of the engine's workload"
    ends = usable if agent_reason else counted
    (first, first_at), (last, last_at) = ends[0], ends[-1]
    differences = [counter_j(first, last, uuid) for uuid in owner.uuids]
    bounds_j = [each for each in differences if each is not None]
    if len(bounds_j) < len(differences):
        return absent("some of its GPUs could not be compared")
    if _is_shared(first, last, owner):
        return absent("other workloads used its GPUs as well")
    lower, upper = last_at[0] - first_at[1], last_at[1] - first_at[0]
    if lower <= 0:
        return absent("it generated too few tokens")
    low_j, high_j = sum(low for low, _ in bounds_j), sum(high for _, high in bounds_j)
    estimate = Estimate(round((low_j + high_j) / (lower + upper), 6), round(low_j / upper, 6), round(high_j / lower, 6))
    agent = Estimate(reason=agent_reason) if agent_reason else _agent_estimate(first, last, owner)
    return EngineResult(name, gpus, agent, estimate, round((lower + upper) / 2))


def _agent_totals(response: MetricsResponse, owner: EngineOwner) -> tuple[float, float] | None:
    """Energy and generated tokens of the engine's workload."""
    energy_j = response.total("workload_energy_joules_total", workload=owner.workload)
    tokens = response.total("tokens_total", workload=owner.workload, phase="generation")
    return None if energy_j is None or tokens is None else (energy_j, tokens)


def _agent_estimate(first: MetricsResponse, last: MetricsResponse, owner: EngineOwner) -> Estimate:
    (first_j, first_tokens), (last_j, last_tokens) = (_agent_totals(each, owner) or (0.0, 0.0) for each in (first, last))
    if last_tokens <= first_tokens:
        return Estimate(reason="the agent counted no tokens of the engine")
    return Estimate(round((last_j - first_j) / (last_tokens - first_tokens), 6))


def _is_shared(first: MetricsResponse, last: MetricsResponse, owner: EngineOwner) -> bool:
    """Whether energy of its GPUs went to other workloads."""
    others = [
        sum(
            value
            for labels, value in response.rows("workload_energy_joules_total")
            if labels.get("uuid") in owner.uuids and labels.get("workload") != owner.workload
        )
        for response in (first, last)
    ]
    return others[1] > others[0]
