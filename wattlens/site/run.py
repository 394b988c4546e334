"""The composition root of `wattlens site`: configuration -> objects -> one process."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from zlib import crc32

import wattlens
from energy_agent.core.energy import Identity
from energy_agent.core.errors import UsageError
from energy_agent.core.meters.facility import MeterFacts
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.exposition.site import families, render
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.signing import available, open_signer
from energy_agent.metering.gpu import gap_threshold_ns
from energy_agent.otlp.sender import OtlpSender
from energy_agent.runtime.clock import clock_for
from energy_agent.runtime.files.last_good import LastGood
from energy_agent.runtime.files.yaml_file import read
from energy_agent.runtime.meter_poller import MeterPoller, MeterSchedule
from energy_agent.runtime.network.listeners import Listeners
from energy_agent.site.account import SiteAccount
from energy_agent.site.config.site import SiteBase, SiteWeb, source_specs
from energy_agent.site.grid.poller import GridPoller
from energy_agent.site.grid.store import GridStore
from energy_agent.site.process import SiteProcess
from energy_agent.site.windows import PueValue
from energy_agent.web.access import AccessControl
from energy_agent.web.server import WebServer
from wattlens.agent.reload import FileWatch
from wattlens.agent.run import StateFolderOwner, simulated_environ, split_listen
from wattlens.agent.systemd import EndSignals, Service
from wattlens.site.file import parse_site
from wattlens.site.pue.carbon import GRID_FOLDER

log = logging.getLogger("wattlens")


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """What the command line says; it wins over the file."""

    config: Path
    state: Path
    listen: str | None = None
    simulate: Path | None = None


def run_site(options: SiteOptions) -> int:
    """Run the site process until SIGTERM or SIGINT."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    service, watch = Service(), FileWatch(options.config)
    last_good = LastGood(options.config, options.state, log)
    read_file = partial(_read, options)
    try:
        config, raw, wrong = last_good.load(read_file, partial(_parse, options))
    except UsageError:
        if not last_good.exists():
            raise
        config, raw, wrong = last_good.load(read_file, partial(_parse, options, without_web=True))
    with ExitStack() as stack:
        stack.enter_context(StateFolderOwner(options.state, "site process", simulated=options.simulate is not None))
        site = build_site(config, options)
        address, port = split_listen(options.listen or config.web.listen)
        access = AccessControl(_web(config, options), may_wait=last_good.exists())
        server = WebServer(address, port, lambda: site.snapshot, site.clock, access=access, render=render)
        site.web_ok = lambda: access.ok
        site.on_turn = _every_turn(service, watch)
        site.on_reload = lambda running: _reload(running, options, watch, access, last_good)
        site.reload.ok = not wrong

        signals = EndSignals(service, site.stop)
        signal.signal(signal.SIGHUP, lambda *_: site.reload_soon())

        def announce() -> None:
            scheme = "http" if access.terms().context is None else "https"
            where = f"{scheme}://{address}:{server.port}/metrics"
            log.info("wattlens %s: site %s on %s, state in %s", wattlens.__version__, config.site.name, where, options.state)

        listeners = Listeners(log)
        sender = OtlpSender(config.otlp, lambda: site.snapshot, families) if config.otlp.endpoint is not None else None
        site.listener_health = lambda: (*listeners.health(), *(sender.health() if sender is not None else ()))
        listeners.add("web.listen", server, announce)
        if config.web.probe_listen is not None:
            at = split_listen(config.web.probe_listen)
            probes = WebServer(*at, lambda: site.snapshot, site.clock, connections=16, probes_only=True, render=render)
            listeners.add("web.probe_listen", probes)
        stack.callback(listeners.stop)
        listeners.start()
        last_good.keep(raw)
        if sender is not None:
            sender.start()
            stack.callback(sender.stop)
        site.run()
        signals.report(log)
    return 0


def build_site(config: SiteBase, options: SiteOptions) -> SiteProcess:
    """All objects of the site process, not yet running."""
    clock = clock_for(simulated_environ(options.simulate))
    simulated = options.simulate is not None
    identity = Identity(config.site.cluster, config.site.name, clock.boot_id(), wattlens.__version__, simulated)
    signer, notice = open_signer(options.state)
    if notice:
        log.warning("%s", notice)
    journal = Journal.open(
        options.state / "journal.db",
        identity,
        disk_budget_b=config.ledger.disk_budget_mib << 20,
        keep_ns=config.ledger.keep_hours * 3600 * NS_PER_S,
        utc_ns=clock.utc_ns,
        signer=signer,
        signing_error=notice if signer is None and available() else "",
    )
    if journal.notice:
        log.error("%s", journal.notice)
    grid = GridPoller(clock, config.the_grid, GridStore(options.state / GRID_FOLDER))
    return SiteProcess(config, identity, clock, journal, *_meters(config, clock, journal), grid)


def _meters(
    config: SiteBase, clock: Clock, journal: Journal
) -> tuple[MeterPoller, SiteAccount, list[MeterFacts], PueValue | None]:
    """Create the poller and the account of the meters in the file; the account resumes from the journal."""
    declared = [meter.meter_facts for meter in config.all_meters]
    gaps = [gap_threshold_ns(round(meter.period_s * NS_PER_S)) for meter in config.all_meters]
    account = SiteAccount(config.site.name, clock.boot_id(), list(zip(declared, gaps, strict=True)))
    for meter_id in account.restore(journal.states(), journal.facts()):
        log.warning("state of meter %s in the journal is not readable: its counter restarts from the next reading", meter_id)
    poller = MeterPoller(clock, "facility", _polled(config, clock))
    return poller, account, declared, config.pue.as_value


def _read(options: SiteOptions) -> bytes:
    return read(options.config, "site configuration", safe=True, folders_above=options.simulate is None)


def _parse(options: SiteOptions, raw: bytes, without_web: bool = False) -> SiteBase:
    """A configuration that the site process can start with, or read meters with (`without_web`); raises UsageError."""
    config = parse_site(raw, str(options.config))
    if not without_web:
        AccessControl(_web(config, options))
    return config


def _reload(site: SiteProcess, options: SiteOptions, watch: FileWatch, access: AccessControl, last_good: LastGood) -> None:
    """Apply a changed file: meters are opened again and resume from the recorded totals.

    Raises:
        UsageError: the file is invalid, or changes a key that needs a restart; nothing is applied then.
    """
    watch.mark_read()
    raw = _read(options)
    fresh = parse_site(raw, str(options.config))
    for key in ("site.name", "site.cluster", "web.listen", "web.probe_listen", "otlp"):
        if attrgetter(key)(fresh) != attrgetter(key)(site.config):
            raise UsageError(f"{options.config}: {key} needs a restart to take effect")
    web = _web(fresh, options)
    access.configure(web)
    poller, account, declared, stated = _meters(fresh, site.clock, site.journal)
    site.journal.configure(fresh.ledger.disk_budget_mib << 20, fresh.ledger.keep_hours * 3600 * NS_PER_S)
    grid = (
        None
        if fresh.the_grid == site.config.the_grid
        else GridPoller(site.clock, fresh.the_grid, GridStore(options.state / GRID_FOLDER))
    )
    site.take(fresh, poller, account, declared, stated, grid)
    last_good.keep(raw)


def _polled(config: SiteBase, clock: Clock) -> Iterator[MeterSchedule]:
    for meter in config.all_meters:
        spec, section = source_specs()[meter.source], getattr(meter, meter.source)
        # Not all of them at one instant: many stand behind one gateway.
        spread_s = min(max(1.0, len(config.all_meters) / 100), meter.period_s / 10)
        phase_s = crc32(meter.id.encode()) % 1000 / 1000 * spread_s
        yield MeterSchedule(meter.id, meter.period_s, partial(spec.open, section, meter, clock), phase_s=phase_s)


def _every_turn(service: Service, watch: FileWatch) -> Callable[[SiteProcess], None]:
    """What each turn of the loop is for besides: systemd's watchdog, and a look at the configuration file."""

    def turn(site: SiteProcess) -> None:
        if site.snapshot is not None:
            service.progressed(site.snapshot.sequence, site.snapshot.summary)
        if watch.changed():
            site.reload_soon()

    return turn


def _web(config: SiteBase, options: SiteOptions) -> SiteWeb:
    return config.web if options.listen is None else config.web.model_copy(update={"listen": options.listen})
