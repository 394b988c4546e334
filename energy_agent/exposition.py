"""Snapshot -> the body of /metrics, in the Prometheus text format 0.0.4 or OpenMetrics 1.0. Pure.

An own writer, because the one of prometheus-client takes several times the time that a scrape may take (docs/decisions/0002).
What it promises: joules are exact decimals of the ledger's integers; a value that is not there has no series; no NaN, no
infinity, no time stamps; label values from anywhere (file names, pod labels) cannot break the page.
"""

import math
import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import lru_cache

from energy_agent.core.signals import CATALOGUE, FACTS, Signal
from energy_agent.core.snapshot import DeviceView, DvfsDevice, Snapshot
from energy_agent.core.types import DeviceInfo, DeviceSample, Method
from energy_agent.core.units import HZ_PER_MHZ, NS_PER_S, UJ_PER_J, decimal

Sample = tuple[tuple[str, ...], str]
"""Label values in the order of the signal's labels, and the value as text."""

PREFIXES_MAX = 16_384  # per family; some 3 MB
_MILLI = 1_000
_REASONS = ("unknown_holder", "gap", "starting")
_MODES = ("observe", "shadow", "enforce")
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")
_WEIGHT = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)")


class Format(Enum):
    """The formats of the page; the value is the Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def negotiate(accept: str) -> Format:
    """The format for an Accept header: OpenMetrics where the client wants it at least as much as plain text."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.lower().split(","):
        kind = part.partition(";")[0].strip()
        if kind in weights and not (kind != "text/plain" and "version=0" in part):
            found = _WEIGHT.search(part)
            weights[kind] = max(weights[kind], float(found[1]) if found else 1.0)
    wanted = weights["application/openmetrics-text"]
    return Format.OPENMETRICS if wanted > 0 and wanted >= weights["text/plain"] else Format.TEXT


def render(snapshot: Snapshot, fmt: Format) -> bytes:
    """The page: families in the catalogue's order, series in the snapshot's; a family without series is absent."""
    found = families(snapshot)
    lines: list[str] = []
    for signal in CATALOGUE:
        samples = found.get(signal.name)
        if samples:
            lines.append(_header(signal, fmt))
            prefixes = _prefixes(signal)
            lines.extend([f"{prefixes[values]} {value}\n" for values, value in samples])
    if fmt is Format.OPENMETRICS:
        lines.append("# EOF\n")
    return "".join(lines).encode()


@lru_cache(maxsize=512)
def _header(signal: Signal, fmt: Format) -> str:
    family, kind, text = signal.metric, signal.kind, signal.help.replace("\\", r"\\").replace("\n", r"\n")
    unit = ""
    if fmt is Format.OPENMETRICS:
        text = text.replace('"', r"\"")
        family = family.removesuffix("_total" if kind == "counter" else "_info" if kind == "info" else "")
        if signal.unit and family.endswith(f"_{signal.unit}"):
            unit = f"# UNIT {family} {signal.unit}\n"
    elif kind == "info":
        kind = "gauge"  # the plain format knows no info
    return f"# HELP {family} {text}\n# TYPE {family} {kind}\n{unit}"


class _Prefixes(dict[tuple[str, ...], str]):
    """The part of a line before its value, by label values. A series keeps it for life, so it is written once."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal

    def __missing__(self, values: tuple[str, ...]) -> str:
        if len(self) >= PREFIXES_MAX:
            self.clear()  # workloads come and go: those that are there are written again
        labelled = zip(self._signal.labels, values, strict=True)
        pairs = ",".join(f'{label}="{_escape(value)}"' for label, value in labelled if value)
        prefix = self[values] = f"{self._signal.metric}{{{pairs}}}" if pairs else self._signal.metric
        return prefix


@lru_cache(maxsize=512)
def _prefixes(signal: Signal) -> _Prefixes:
    return _Prefixes(signal)


def _escape(value: str) -> str:
    """A label value as both formats write it. Controls and lone surrogates, which a peer may choke on, become visible text."""
    value = _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def families(snapshot: Snapshot) -> dict[str, list[Sample]]:
    """Samples of each family by the name of its signal, in no format yet."""
    found: dict[str, list[Sample]] = {}

    def put(name: str, value: str | None, *labels: str) -> None:
        if value is not None:
            found.setdefault(name, []).append((labels, value))

    identity = snapshot.identity
    put("build_info", "1", identity.version)
    put("node_info", "1", identity.cluster, identity.node, _word(identity.simulated))
    index = {view.info.uuid: str(view.info.index) for view in snapshot.devices}
    present = {view.info.uuid for view in snapshot.devices if view.up and view.sample is not None}
    for view in snapshot.devices:
        ids = (index[view.info.uuid], view.info.uuid)
        for name, labels, value in _device(view, identity.simulated):
            if value is not None:
                found.setdefault(name, []).append((ids + labels, value))
    for governed in snapshot.dvfs:
        if governed.device in present:
            for name, labels, value in _dvfs(governed):
                put(name, value, index[governed.device], governed.device, *labels)
    _workloads(snapshot, present, found)
    for health in snapshot.health:
        key = (health.source, health.device)
        put("source_up", _flag(health.up), *key)
        put("source_down_info", None if health.up else "1", *key, health.reason)
        put("source_last_success_timestamp_seconds", _seconds(health.last_success_ns), *key)
        put("source_poll_seconds", _float(health.poll_s), *key)
    ledger = snapshot.ledger
    put("ledger_journal_bytes", str(ledger.journal_bytes))
    put("ledger_entries_total", str(ledger.entries_total))
    put("ledger_commits_total", str(ledger.commits_total))
    put("ledger_commit_failures_total", str(ledger.commit_failures_total))
    put("ledger_segments_total", str(ledger.segments_total))
    put("ledger_writable", _flag(ledger.writable))
    put("ledger_last_commit_timestamp_seconds", _seconds(ledger.last_commit_ns))
    put("config_last_reload_successful", _flag(snapshot.config_reload_ok))
    put("config_last_reload_success_timestamp_seconds", _seconds(snapshot.config_reload_success_ns))
    put("reader_restarts_total", str(snapshot.reader_restarts_total))
    for cost in snapshot.processes:
        put("process_cpu_seconds_total", _seconds(cost.cpu_ns), cost.process)
        put("process_resident_memory_bytes", str(cost.resident_b), cost.process)
    return found


def _device(view: DeviceView, simulated: bool) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    info, sample = view.info, view.sample
    facts = (info.name, info.architecture, info.pci_bus_id, info.driver, _word(info.mig_enabled), _word(simulated))
    yield "gpu_info", facts, "1"
    yield "gpu_up", (), _flag(view.up)
    if not view.up or sample is None:
        yield "gpu_absent_info", ("device", view.reason), "1"
        return
    for name, reason in sample.absent.items():
        yield "gpu_absent_info", (name, reason), "1"
    for method in Method:
        yield "gpu_energy_joules_total", (method,), decimal(view.energy_uj.get(method, 0), UJ_PER_J)
    yield "gpu_energy_gain_uncertainty_ratio", (), _float(view.gain_uncertainty_ratio)
    yield "gpu_energy_edge_uncertainty_joules", (), decimal(view.edge_uj, UJ_PER_J)
    yield "gpu_energy_gap_bound_joules_total", (), decimal(view.gap_bound_uj, UJ_PER_J)
    yield "gpu_idle_energy_joules_total", (), decimal(view.unheld_uj, UJ_PER_J)
    for reason in dict.fromkeys((*_REASONS, *view.unattributed_uj)):
        yield "gpu_unattributed_energy_joules_total", (reason,), decimal(view.unattributed_uj.get(reason, 0), UJ_PER_J)
    yield from _readings(view, sample)


@lru_cache(maxsize=4_096)
def _scaled(value: int | None, scale: int) -> str | None:
    """Of readings, which repeat: limits, clocks, temperatures, sizes."""
    return None if value is None else decimal(value, scale)


@lru_cache(maxsize=4_096)
def _held(lasted_ns: int) -> str:
    """Of event times, most of which stand still."""
    return decimal(lasted_ns, NS_PER_S)


def _hertz(value_mhz: int | None) -> str | None:
    return None if value_mhz is None else str(value_mhz * HZ_PER_MHZ)


Value = Callable[[DeviceInfo, DeviceSample], str | None]
_READINGS: tuple[tuple[str, tuple[str, ...], Value], ...] = (
    ("gpu_power_watts", ("instant",), lambda _, s: _scaled(s.power_mw, _MILLI)),
    ("gpu_power_watts", ("average",), lambda _, s: _scaled(s.power_average_mw, _MILLI)),
    ("gpu_power_limit_watts", ("current",), lambda _, s: _scaled(s.power_limit_mw, _MILLI)),
    ("gpu_power_limit_watts", ("requested",), lambda _, s: _scaled(s.power_limit_requested_mw, _MILLI)),
    ("gpu_power_limit_watts", ("default",), lambda i, _: _scaled(i.power_limit_default_mw, _MILLI)),
    ("gpu_power_limit_watts", ("min",), lambda i, _: _scaled(i.power_limit_min_mw, _MILLI)),
    ("gpu_power_limit_watts", ("max",), lambda i, _: _scaled(i.power_limit_max_mw, _MILLI)),
    ("gpu_clock_hertz", ("sm",), lambda _, s: _hertz(s.sm_clock_mhz)),
    ("gpu_clock_hertz", ("memory",), lambda _, s: _hertz(s.memory_clock_mhz)),
    ("gpu_clock_max_hertz", ("sm",), lambda i, _: _hertz(i.sm_clock_max_mhz)),
    ("gpu_utilization_ratio", ("gpu",), lambda _, s: _scaled(s.gpu_percent, 100)),
    ("gpu_utilization_ratio", ("memory",), lambda _, s: _scaled(s.memory_percent, 100)),
    ("gpu_temperature_celsius", ("gpu",), lambda _, s: _scaled(s.temperature_c, 1)),
    ("gpu_temperature_celsius", ("memory",), lambda _, s: _scaled(s.memory_temperature_c, 1)),
    ("gpu_memory_used_bytes", (), lambda _, s: _scaled(s.memory_used_b, 1)),
    ("gpu_memory_total_bytes", (), lambda _, s: _scaled(s.memory_total_b, 1)),
)


def _readings(view: DeviceView, sample: DeviceSample) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    info = view.info
    for name, labels, value in _READINGS:
        yield name, labels, value(info, sample)
    for reason, lasted_ns in view.event_ns.items():
        yield "gpu_clock_event_seconds_total", (reason,), _held(lasted_ns)
    for xid, events in (sample.xid_counts or {}).items():
        yield "gpu_xid_errors_total", (str(xid),), str(events)


def _dvfs(view: DvfsDevice) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    for mode in _MODES:
        yield "dvfs_mode", (mode,), _flag(mode == view.mode)
    yield "dvfs_lease_active", (), _flag(view.lease_active)
    for setting, value in view.setting.items():
        if setting.endswith("_milliwatts"):  # base units on the page
            yield "dvfs_setting", (setting.removesuffix("_milliwatts") + "_watts",), decimal(value, _MILLI)
        else:
            yield "dvfs_setting", (setting,), str(value)
    for (policy, action, reason), count in view.decisions.items():
        yield "dvfs_decisions_total", (policy, action, reason), str(count)
    for reason, count in view.ineffective.items():
        yield "dvfs_ineffective_total", (reason,), str(count)
    yield "dvfs_saved_joules_total", (), _scaled(view.saved_uj, UJ_PER_J)
    yield "dvfs_extra_joules_total", (), _scaled(view.extra_uj, UJ_PER_J)


def _workloads(snapshot: Snapshot, present: set[str], families: dict[str, list[Sample]]) -> None:
    latest = {facts.workload: facts for facts in sorted(snapshot.facts, key=lambda facts: facts.since_ns)}
    families["workload_info"] = [
        ((name, facts.kind, *(facts.labels.get(label, "") for label in FACTS[1:])), "1") for name, facts in latest.items()
    ]
    families["workload_energy_joules_total"] = [
        ((entry.workload, entry.device, entry.state, entry.method), decimal(entry.energy_uj, UJ_PER_J))
        for entry in snapshot.workloads
        if entry.device in present
    ]
    families["workload_gpu_seconds_total"] = [
        ((name, state), decimal(held_ns, NS_PER_S)) for (name, state), held_ns in snapshot.workload_gpu_ns.items()
    ]
    families["namespace_energy_joules_total"] = [
        ((name,), decimal(energy_uj, UJ_PER_J)) for name, energy_uj in snapshot.namespace_uj.items()
    ]
    families["tokens_total"] = [((t.workload, t.model, t.phase), str(t.tokens)) for t in snapshot.tokens]


def _seconds(value_ns: int | None) -> str | None:
    return None if value_ns is None else decimal(value_ns, NS_PER_S)


def _float(value: float | None) -> str | None:
    return None if value is None or not math.isfinite(value) else repr(float(value))


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _word(value: bool) -> str:
    return "true" if value else "false"
