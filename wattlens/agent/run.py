"""The composition root: configuration -> objects -> processes. The only module that knows every package."""

import fcntl
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import wattlens
from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.accounting.node import NodeAccount, NodePlan
from energy_agent.accounting.training_intake import TrainingReports
from energy_agent.config import agent as configuration
from energy_agent.config.agent import Config, Web
from energy_agent.config.formats import NAME
from energy_agent.config.node_meters import IN_THE_CLEAR
from energy_agent.core.boundary import CounterScope
from energy_agent.core.energy import Identity
from energy_agent.core.errors import UsageError
from energy_agent.core.health import GPM, PCIE_THROUGHPUT
from energy_agent.core.ports import Clock
from energy_agent.core.saved_state import Component
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.signing import available, open_signer
from energy_agent.local_api.history import EnergyHistory
from energy_agent.local_api.peers import Peers
from energy_agent.local_api.routes import Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.metering.gpu import gap_threshold_ns
from energy_agent.node.loop import Agent
from energy_agent.node.meter_list import node_poller
from energy_agent.node.sensor_file import tick_ns_by_board
from energy_agent.otlp.sender import OtlpSender
from energy_agent.owners.cgroup_tree import CgroupTree
from energy_agent.owners.processes import ProcessOwners
from energy_agent.owners.sources import open_node_note, open_owners
from energy_agent.reader.child import ReaderOptions
from energy_agent.reader.supervisor import ReaderSupervisor
from energy_agent.runtime.clock import clock_for
from energy_agent.runtime.files import yaml_file
from energy_agent.runtime.files.last_good import LastGood
from energy_agent.runtime.files.permissions import hide_from_others, require_safe
from energy_agent.runtime.meter_poller import MeterPoller
from energy_agent.runtime.network.listeners import Listeners
from energy_agent.tokens.poller import TokenPoller
from energy_agent.web.access import AccessControl
from energy_agent.web.server import WebServer
from wattlens.agent.config_check import check_parts
from wattlens.agent.reload import FileWatch, Reloader, nothing_to_reload
from wattlens.agent.systemd import EndSignals, Service
from wattlens.state_folder import default_state_dir

log = logging.getLogger("wattlens")
_OTHERS = 0o027
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def proc_roots(config: Config, simulate: Path | None) -> list[Path]:
    """Where processes are looked up: those that run on a simulated node without being of it are of the machine."""
    return [config.node.procfs] if simulate is None else [simulate / "proc", Path("/proc")]


def training_intake(journal: Journal, clock: Clock, roots: Sequence[Path]) -> TrainingReports:
    """Counts of training, from where the journal left them."""
    intake = TrainingReports(clock, Peers(roots, clock).alive)
    if not intake.restore(journal.states(), journal.totals().tokens):
        log.warning("training counts in the journal are not readable: running processes are counted from their next report")
    return intake


def serve(path: Path, agent: Agent, roots: Sequence[Path]) -> ClientApi:
    """The server on the socket `path`, not yet started, which answers from what the agent publishes."""
    history = EnergyHistory()
    routes = Routes(history, agent.training, lambda: agent.steer)
    holders = agent.owners
    peers = Peers(roots, agent.clock) if holders is None else Peers(roots, agent.clock, holders.owner_of, holders.trust)
    agent.on_publish = history.add
    return ClientApi(path, routes, peers, simulated=agent.identity.simulated)


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What the command line says; it wins over the file."""

    config: Path | None = None
    state: Path | None = None
    listen: str | None = None
    simulate: Path | None = None
    web_config: Path | None = None


def run_agent(options: AgentOptions) -> int:
    """Run the node agent until SIGTERM or SIGINT."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    service = Service()
    watch = FileWatch(options.config) if options.config is not None else None
    state = options.state or default_state_dir()
    config, raw, wrong, last_good = Config(), b"", "", None
    if options.config is not None:
        last_good = LastGood(options.config, state, log)
        real = options.simulate is None
        read = partial(yaml_file.read, options.config, "configuration", safe=True, folders_above=real)
        try:
            config, raw, wrong = last_good.load(read, partial(_parse, options))
        except UsageError:
            if not last_good.exists():
                raise
            config, raw, wrong = last_good.load(read, partial(_parse, options, without_web=True))
    with ExitStack() as stack:
        stack.enter_context(StateFolderOwner(state, simulated=options.simulate is not None))
        address, port = split_listen(options.listen or config.web.listen)
        access = AccessControl(_web(config, options), may_wait=last_good is not None and last_good.exists())
        agent = build_agent(config, options, state)  # opens the journal: what can be refused before that is
        server = WebServer(address, port, lambda: agent.snapshot, agent.clock, access=access)
        listeners = Listeners(log)
        sender = OtlpSender(config.otlp, lambda: agent.snapshot) if config.otlp.endpoint is not None else None
        agent.listener_health = lambda: (*listeners.health(), *(sender.health() if sender is not None else ()))
        if config.client.socket is not None:
            listeners.add("client.socket", serve(config.client.socket, agent, proc_roots(config, options.simulate)))
        agent.on_reload = nothing_to_reload
        agent.reload.ok = not wrong
        if watch is not None and last_good is not None:
            agent.on_reload = Reloader(
                watch,
                lambda fresh: _reader_options(fresh, agent.sampler.options.environ),
                _sensors,
                lambda fresh: access.configure(_web(fresh, options)),
                lambda: open_node_note(config.holders.kubernetes, agent.clock, agent.identity.node, options.simulate),
                last_good.keep,
            )
        elif options.web_config is not None:
            agent.on_reload = lambda a: access.configure(_web(a.config, options))
        agent.on_turn = _every_turn(service, watch, server)
        agent.web_ok = lambda: access.ok

        signals = EndSignals(service, agent.stop)
        signal.signal(signal.SIGHUP, lambda *_: agent.reload_soon())

        def announce() -> None:
            scheme = "http" if access.terms().context is None else "https"
            log.info("wattlens %s: %s://%s:%d/metrics, state in %s", wattlens.__version__, scheme, address, server.port, state)

        listeners.add("web.listen", server, announce)
        if config.web.probe_listen is not None:
            at = split_listen(config.web.probe_listen)
            probes = WebServer(*at, lambda: agent.snapshot, agent.clock, connections=16, probes_only=True)
            listeners.add("web.probe_listen", probes)
        stack.callback(listeners.stop)
        listeners.start()
        if sender is not None:
            stack.callback(sender.stop)
            sender.start()
        if last_good is not None:
            last_good.keep(raw)
        agent.run()
        signals.report(log)
    return 0


def _parse(options: AgentOptions, raw: bytes, without_web: bool = False) -> Config:
    """A configuration that an agent can start with, or that can meter at least (`without_web`); raises UsageError."""
    config = configuration.parse(raw, str(options.config))
    check_parts(config)
    _sensors(config)
    if not without_web:
        AccessControl(_web(config, options))
    return config


def _every_turn(service: Service, watch: FileWatch | None, server: WebServer) -> Callable[[Agent], None]:
    """What each turn of the loop is for besides: systemd's watchdog, a look at the configuration file, the next scrape."""

    def turn(agent: Agent) -> None:
        if agent.snapshot is not None:
            service.progressed(agent.snapshot.sequence, agent.snapshot.summary)
        if watch is not None and watch.changed():
            agent.reload_soon()
        server.prepare()

    return turn


def build_agent(config: Config, options: AgentOptions, state: Path) -> Agent:
    """All objects of the agent, not yet running."""
    environ = simulated_environ(options.simulate)
    clock = clock_for(environ)
    simulated = options.simulate is not None
    identity = Identity(
        cluster=config.node.cluster,
        node=node_name(config),
        boot_id=clock.boot_id(),
        version=wattlens.__version__,
        simulated=simulated,
    )
    ledger = config.ledger
    signer, notice = open_signer(state)
    if notice:
        log.warning("%s", notice)
    journal = Journal.open(
        state / "journal.db",
        identity,
        disk_budget_b=ledger.disk_budget_mib << 20,
        keep_ns=ledger.keep_hours * 3600 * NS_PER_S,
        utc_ns=clock.utc_ns,
        signer=signer,
        signing_error=notice if signer is None and available() else "",
    )
    if journal.notice:
        log.error("%s", journal.notice)
    procfs = options.simulate / "proc" if options.simulate is not None else config.node.procfs
    nvml = config.sources.nvml
    node = config.sources.node
    if options.simulate is not None and "sysfs" not in node.model_fields_set:
        node = node.model_copy(update={"sysfs": options.simulate / "sys"})
    if node.redfish is not None and node.redfish.in_the_clear:
        log.warning("sources.node.redfish: %s", IN_THE_CLEAR)
    meters = node_poller(clock, node)
    cgroups = CgroupTree.of_process()
    if cgroups.reason:
        log.info("cgroup ownership is not checked: %s; only cgroups at known paths name workloads", cgroups.reason)
    holders = ProcessOwners(procfs, cgroups.trust)
    accountant = Accountant(
        identity,
        holders,
        _sensors(config),
        nvml.calibration,
        nvml.gain_uncertainty_ratio,
        NodeAccount(identity, _node_plan(config, meters)) if meters.periods_s else None,
        open_owners(
            config.holders.kubernetes, config.holders.slurm, clock, procfs, identity.node, options.simulate, cgroups.trust
        ),
        config.holders.retention_s * NS_PER_S,
    )
    for uuid in accountant.restore(journal.states(), journal.totals(), journal.facts(), clock.utc_ns()):
        log.warning("state of %s in the journal is not readable: its counter restarts from the next reading", uuid)
    tokens = TokenPoller(clock)
    tokens.restore(journal.states().get(Component.TOKENS, {}))
    tokens.configure(config.tokens)
    sampler = ReaderSupervisor(_reader_options(config, environ), max(1.0, config.sampling.period_s))
    agent = Agent(config, identity, clock, journal, sampler, accountant, tokens, state)
    if config.client.socket is not None:
        agent.owners = holders
        agent.training = training_intake(journal, clock, proc_roots(config, options.simulate))
    if meters.periods_s:
        agent.meters = meters
        meters.start()
    if config.dvfs.steers:
        if config.dvfs.annotations:
            agent.node_note = open_node_note(config.holders.kubernetes, clock, identity.node, options.simulate)
        from wattlens.steering.loop import Steering

        agent.steer = Steering(config.dvfs, clock, tokens, agent.training, agent.node_note, accountant.steering_states())
    return agent


def node_name(config: Config) -> str:
    """The node's name: of the file, else $NODE_NAME, else the host name; raises UsageError."""
    name = config.node.name or os.environ.get("NODE_NAME") or socket.gethostname()
    if not re.fullmatch(NAME, name):
        origin = "$NODE_NAME" if os.environ.get("NODE_NAME") else "the host name"
        raise UsageError(f"{origin} {name[:80]!r}: expected at most 63 letters, digits, '.', '_' and '-'; set node.name")
    return name


def _node_plan(config: Config, meters: MeterPoller) -> NodePlan:
    node, nvml = config.sources.node, config.sources.nvml
    sources = {
        name: (gap_threshold_ns(round(period_s * NS_PER_S)), getattr(node, name).gain_uncertainty_ratio)
        for name, period_s in meters.periods_s.items()
    }
    gpu_gain = max([nvml.gain_uncertainty_ratio, *nvml.calibration.values()])
    most_w = getattr(node, node.record).max_power_w if node.record is not None else None
    return NodePlan(node.record, sources, gpu_gain, None if most_w is None else round(most_w * 1000))


def simulated_environ(directory: Path | None) -> dict[str, str]:
    """The environment of processes that read NVML: the driver's library, or that of a simulated node.

    Raises:
        UsageError: no simulated node runs in `directory`.
    """
    environ = dict(os.environ)
    if directory is None:
        environ.pop("WATTLENS_SIM", None)
        return environ
    from energy_agent.sim.node import SimulatedNode

    return environ | SimulatedNode.attach(directory).environ()


def _sensors(config: Config) -> SensorFor:
    nvml = config.sources.nvml
    period_ns = round(config.sampling.period_s * NS_PER_S)
    scope = CounterScope.UNKNOWN if nvml.counter_scope is None else CounterScope(f"{nvml.counter_scope}:stated")
    ticks_ns = tick_ns_by_board(nvml.sensor_profile) if nvml.sensor_profile else {}
    return SensorFor(gap_threshold_ns(period_ns), ticks_ns, scope)


def _reader_options(config: Config, environ: Mapping[str, str]) -> ReaderOptions:
    period_ns = round(config.sampling.period_s * NS_PER_S)
    holders_ns = round(config.holders.period_s * NS_PER_S)
    nvml = config.sources.nvml
    return ReaderOptions(
        period_ns,
        max(period_ns, NS_PER_S),
        holders_ns,
        environ,
        round(config.sampling.health_period_s * NS_PER_S),
        tuple(group for group, wanted in ((GPM, nvml.gpm), (PCIE_THROUGHPUT, nvml.pcie_throughput)) if wanted),
    )


def _web(config: Config, options: AgentOptions) -> Web:
    """The section as the command line has it."""
    web, overrides = config.web, {"listen": options.listen, "config_file": options.web_config}
    return web.model_copy(update={key: value for key, value in overrides.items() if value is not None})


class StateFolderOwner:
    """A state folder locked for one process; `who` names its kind. Raises UsageError.

    What the process writes from then on is for its user and group alone.
    """

    def __init__(self, state: Path, who: str = "agent", *, simulated: bool = False) -> None:
        self._state, self._who, self._simulated = state, who, simulated
        self._fd = -1

    def __enter__(self) -> None:
        os.umask(os.umask(_OTHERS) | _OTHERS)
        try:
            self._state.mkdir(parents=True, exist_ok=True, mode=0o750)
            require_safe(self._state, "state folder", folders_above=not self._simulated)
            if (self._state / "journal.db").exists() or not any(self._state.iterdir()):
                hide_from_others(self._state)
            self._fd = os.open(self._state / f"{self._who}.lock", _LOCK_FLAGS, 0o640)
        except FileExistsError:
            raise UsageError(f"state folder {self._state} is not a folder; choose another with --state") from None
        except OSError as error:
            raise UsageError(f"state folder {self._state}: {error.strerror}; choose a writable one with --state") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            used = f"state folder {self._state} is in use by another {self._who}"
            raise UsageError(f"{used}; choose another with --state") from None

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def split_listen(listen: str) -> tuple[str, int]:
    """Address and port of `--listen`; raises UsageError."""
    address, _, port = listen.rpartition(":")
    if not address or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen: expected ADDRESS:PORT such as 0.0.0.0:9479, got {listen!r}")
    return address.strip("[]"), int(port)
