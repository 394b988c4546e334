"""Responses of an agent -> frames. Pure: rates are over the responses given, by the node's own time stamps."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from energy_agent.core.text import printable
from wattlens.top.frame import GpuStatus, MigInstance, NodeStatus, TopFrame, WorkloadStatus
from wattlens.top.metrics import Labels, MetricsResponse

RATE_RESPONSES = 6  # five seconds at one per second: a counter moves once a second, so two responses may show no change
EVENT_RESPONSES = 4
WORK_RESPONSES = 31  # for energy per step: a step of a large model takes many seconds
SERIES_MAX = 10_000
HISTORY_LENGTH = 600  # readings of power that graphs show
WORKLOAD_LABELS = ("namespace", "pod", "user", "job", "owner", "team", "model", "precision", "kind")

WORDS = {
    "idle": "idle",
    "applications_clocks": "clock setting",
    "sw_power_cap": "power limit",
    "hw_slowdown": "hw slowdown",
    "sync_boost": "sync boost",
    "sw_thermal_slowdown": "too hot (sw)",
    "hw_thermal_slowdown": "TOO HOT (hw)",
    "hw_power_brake": "POWER BRAKE",
    "display_clock": "display clock",
}
"""The driver's reasons for clocks below the maximum, short; capitals where the node needs a person."""

GRAVE = ("hw_slowdown", "hw_thermal_slowdown", "hw_power_brake")
SeriesKey = tuple[str, str, str, str]
"""Workload, UUID, state and method of a workload's energy."""


@dataclass(frozen=True, slots=True)
class WorkTotals:
    """What a workload has used and done by one response."""

    energy_j: float | None
    tokens: float | None
    steps: float | None


@dataclass(slots=True)
class MetricsHistory:
    """The last responses, and each energy counter as it was when top began, or when its GPU first answered."""

    responses: deque[MetricsResponse] = field(default_factory=lambda: deque(maxlen=RATE_RESPONSES))
    first_j: dict[str, float] = field(default_factory=dict)  # by UUID
    first_workload_j: dict[SeriesKey, float] = field(default_factory=dict)
    first_s: float | None = None
    devices: dict[str, set[str]] = field(default_factory=dict)  # UUIDs by workload
    agent_cpu: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=8))  # when it changed
    work: deque[dict[str, WorkTotals]] = field(default_factory=lambda: deque(maxlen=WORK_RESPONSES))
    energies: deque[dict[SeriesKey, float]] = field(default_factory=lambda: deque(maxlen=RATE_RESPONSES))
    power_w: dict[str, deque[float | None]] = field(default_factory=dict)  # by UUID
    node_power_w: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY_LENGTH))
    utilization: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY_LENGTH))

    def add(self, response: MetricsResponse) -> TopFrame:
        """The frame to show after this response."""
        previous = self.responses[-1] if self.responses else None
        self.responses.append(response)
        self.first_s = response.t_s if self.first_s is None else self.first_s
        for labels, up in response.rows("gpu_up"):
            energy = response.of_gpu("gpu_energy_joules_total", labels["uuid"])
            if up and energy is not None:
                self.first_j.setdefault(labels["uuid"], energy)
        answered = {labels["uuid"] for labels, up in previous.rows("gpu_up") if up} if previous else set()
        self._add_workloads(response, answered)
        cpu_s = response.total("process_cpu_seconds_total")
        if cpu_s is not None and (not self.agent_cpu or cpu_s != self.agent_cpu[-1][1]):
            self.agent_cpu.append((response.t_s, cpu_s))
        gpus = tuple(sorted((*self._gpus(response), *_list_unread_gpus(response)), key=lambda g: _number(g.gpu)))
        power, used = [g.power_w for g in gpus if g.power_w is not None], [g.utilization_ratio for g in gpus]
        ratios = [ratio for ratio in used if ratio is not None]
        self.node_power_w.append(sum(power) if power else None)
        self.utilization.append(sum(ratios) / len(ratios) if ratios else None)
        return TopFrame(self._node(response, gpus), gpus, tuple(self._workloads(response, gpus)))

    def _add_workloads(self, response: MetricsResponse, answered: set[str]) -> None:
        energies: dict[SeriesKey, float] = {}
        for labels, joules in response.rows("workload_energy_joules_total"):
            key = (labels["workload"], labels["uuid"], labels.get("state", ""), labels.get("method", ""))
            energies[key] = energies.get(key, 0.0) + joules
        for key, joules in energies.items():
            self.devices.setdefault(key[0], set()).add(key[1])
            # One that comes on a GPU that answered all the while has begun at 0.
            began = self.first_workload_j.setdefault(key, 0.0 if key[1] in answered else joules)
            if joules < began:
                self.first_workload_j[key] = 0.0
        if len(self.first_workload_j) > SERIES_MAX:  # workloads come and go for as long as top runs
            self.first_workload_j = {key: self.first_workload_j[key] for key in energies}
            self.devices = {key[0]: self.devices[key[0]] for key in energies}
        self.energies.append(energies)
        totals: dict[str, list[float | None]] = {}
        for key, joules in energies.items():
            row = totals.setdefault(key[0], [None, None, None])
            row[0] = (row[0] or 0.0) + joules
        for place, name, phase in ((1, "tokens_total", "generation"), (2, "training_steps_total", "training")):
            for labels, count in response.rows(name):
                if labels.get("phase", phase) == phase and labels.get("workload") in totals:
                    row = totals[labels["workload"]]
                    row[place] = (row[place] or 0.0) + count
        self.work.append({name: WorkTotals(*row) for name, row in totals.items()})

    def _gpus(self, response: MetricsResponse) -> Iterator[GpuStatus]:
        info = {labels["uuid"]: labels for labels, _ in response.rows("gpu_info")}
        absent: dict[str, dict[str, str]] = {}
        for labels, _ in response.rows("gpu_absent_info"):
            absent.setdefault(labels["uuid"], {})[labels.get("field", "")] = labels.get("reason", "no reason given")
        users, why = self._list_users(), self._explain_clocks()
        mig: dict[str, list[MigInstance]] = {}
        for labels, _ in response.rows("gpu_mig_info"):
            names = ("mig_uuid", "profile", "gpu_instance", "compute_instance")
            mig.setdefault(labels["uuid"], []).append(MigInstance(*(labels.get(name, "?") for name in names)))
        rates = self._energy_rates()
        for labels, up in response.rows("gpu_up"):
            uuid, fields = labels["uuid"], info.get(labels["uuid"], {})
            reasons = absent.get(uuid, {})
            facts = (fields.get("pci_bus_id", ""), fields.get("architecture", ""), fields.get("driver", ""))
            base = (labels.get("gpu", "?"), uuid, fields.get("name", ""))
            past = self.power_w.setdefault(uuid, deque(maxlen=HISTORY_LENGTH))
            if not up:
                past.append(None)
                yield GpuStatus(*base, False, reasons.get("device", "it does not respond"), *facts, power_history_w=tuple(past))
                continue
            energy = response.of_gpu("gpu_energy_joules_total", uuid)
            power = response.of_gpu("gpu_power_instant_watts", uuid)
            power = response.of_gpu("gpu_power_watts", uuid) if power is None else power
            past.append(power)
            ecc = {fields["severity"]: n for fields, n in response.rows("gpu_ecc_errors_total") if fields["uuid"] == uuid}
            yield GpuStatus(
                *base,
                True,
                "",
                *facts,
                power_w=power,
                limit_w=response.of_gpu("gpu_power_limit_watts", uuid),
                limit_max_w=response.of_gpu("gpu_power_limit_max_watts", uuid),
                sm_hz=response.of_gpu("gpu_sm_clock_hertz", uuid),
                sm_max_hz=response.of_gpu("gpu_sm_clock_max_hertz", uuid),
                memory_hz=response.of_gpu("gpu_memory_clock_hertz", uuid),
                temperature_c=response.of_gpu("gpu_temperature_celsius", uuid),
                memory_temperature_c=response.of_gpu("gpu_memory_temperature_celsius", uuid),
                utilization_ratio=response.of_gpu("gpu_utilization_ratio", uuid),
                memory_used_b=response.of_gpu("gpu_memory_used_bytes", uuid),
                memory_total_b=response.of_gpu("gpu_memory_total_bytes", uuid),
                ecc_uncorrected=ecc.get("uncorrected"),
                ecc_corrected=ecc.get("corrected"),
                pcie_generation=response.of_gpu("gpu_pcie_link_generation", uuid),
                pcie_lanes=response.of_gpu("gpu_pcie_link_lanes", uuid),
                energy_j=energy,
                since_j=None if energy is None else energy - self.first_j.get(uuid, energy),
                rate_w=rates.get(uuid),
                why=why.get(uuid, ()),
                workloads=users.get(uuid, ()),
                mig=tuple(sorted(mig.get(uuid, []), key=lambda m: (_number(m.gpu_instance), _number(m.compute_instance)))),
                xids=_list_xids(response, uuid),
                steering=_describe_steering(response, uuid),
                absent=tuple(f"{name}: {reason}" for name, reason in sorted(reasons.items())),
                power_history_w=tuple(past),
            )

    def _explain_clocks(self) -> dict[str, tuple[str, ...]]:
        """Reasons that held for a good part of the last seconds; one that needs a person counts however short it was."""
        since, response = self._since(), self.responses[-1]
        seconds = self._seconds(since)
        name = "gpu_clock_event_seconds_total"
        before = {(series_labels["uuid"], series_labels["reason"]): value for series_labels, value in since.rows(name)}
        grown: dict[str, list[str]] = {}
        for labels, value in response.rows(name):
            reason = labels["reason"]
            lasted = value - before.get((labels["uuid"], reason), value)
            share = lasted / seconds if seconds > 0 else 0.0
            if share > (0.0 if reason in GRAVE else 0.5 if reason == "idle" else 0.2):
                grown.setdefault(labels["uuid"], []).append(reason)
        order = list(WORDS)
        for reasons in grown.values():
            reasons.sort(key=lambda n: -order.index(n) if n in order else 1)  # the hardest first
        return {uuid: tuple(WORDS.get(n, n.replace("_", " ")) for n in reasons) for uuid, reasons in grown.items()}

    def _since(self) -> MetricsResponse:
        return self.responses[max(0, len(self.responses) - EVENT_RESPONSES)]

    def _seconds(self, first: MetricsResponse) -> float:
        """Time between a response and the last one by the node's clock, else by ours."""
        last = self.responses[-1]
        stamps = [_read_at(response) for response in (first, last)]
        if stamps[0] is not None and stamps[1] is not None and stamps[1] > stamps[0]:
            return stamps[1] - stamps[0]
        return last.t_s - first.t_s

    def _energy_rates(self) -> dict[str, float]:
        """Watts by UUID from the growth of the energy counters; 0 for a counter that stands still."""
        first, seconds = self.responses[0], self._seconds(self.responses[0])
        if seconds <= 0:
            return {}
        name = "gpu_energy_joules_total"
        before = {(series_labels["uuid"], series_labels.get("method")): value for series_labels, value in first.rows(name)}
        growth: dict[str, list[float]] = {}
        for labels, value in self.responses[-1].rows(name):
            key = (labels["uuid"], labels.get("method"))
            if key in before:
                growth.setdefault(labels["uuid"], []).append(value - before[key])
        return {uuid: sum(parts) / seconds for uuid, parts in growth.items() if min(parts) >= 0}

    def _list_users(self) -> dict[str, tuple[str, ...]]:
        """The workloads of each GPU now: those whose energy on it grows. With a single response, all of them."""
        before = self.energies[max(0, len(self.energies) - EVENT_RESPONSES)]
        now = self.energies[-1]
        users: dict[str, dict[str, None]] = {}
        for key in sorted(now, key=lambda k: (k[1], k[0])):
            growth = now[key] - before[key] if key in before else None
            if before is now or growth != 0:
                users.setdefault(key[1], {})[key[0]] = None
        return {uuid: tuple(names) for uuid, names in users.items()}

    def _workloads(self, response: MetricsResponse, gpus: tuple[GpuStatus, ...]) -> Iterator[WorkloadStatus]:
        energy: dict[str, dict[str, float]] = {}
        since: dict[str, dict[str, float]] = {}
        growth: dict[str, list[float]] = {}
        before = self.energies[0]
        for key, joules in self.energies[-1].items():
            name, _, state, _ = key
            for sums, value in ((energy, joules), (since, joules - self.first_workload_j[key])):
                state_sums = sums.setdefault(name, {})
                state_sums[state] = state_sums.get(state, 0.0) + value
            if key in before:
                growth.setdefault(name, []).append(joules - before[key])
        info = {labels["workload"]: labels for labels, _ in response.rows("workload_info")}
        seconds = self._seconds(self.responses[0])
        for name, by_state in energy.items():
            parts = growth.get(name, [])
            joules_now = sum(parts) if parts and min(parts) >= 0 else None
            own_gpus = tuple(g for g in gpus if g.uuid in self.devices[name])
            # While a GPU of the workload is unresponsive its joules are incomplete, its tokens are not.
            complete = all(g.up for g in own_gpus)
            tokens, steps = (self._growth_of(name, kind) for kind in ("tokens", "steps"))
            labels = info.get(name, {})
            yield WorkloadStatus(
                name=name,
                has_gpu=any(name in g.workloads for g in own_gpus),
                gpus=tuple(g.gpu for g in own_gpus),
                active_j=by_state.get("active", 0.0),
                idle_j=by_state.get("idle", 0.0),
                active_since_j=since[name].get("active", 0.0),
                idle_since_j=since[name].get("idle", 0.0),
                now_w=joules_now / seconds if joules_now is not None and seconds > 0 else None,
                tokens_per_s=tokens / seconds if tokens is not None and seconds > 0 else None,
                j_per_token=joules_now / tokens if tokens and joules_now and complete else None,
                steps_per_s=steps / seconds if steps is not None and seconds > 0 else None,
                j_per_step=self._joules_per_step(name) if complete else None,
                labels=tuple((key, labels[key]) for key in WORKLOAD_LABELS if labels.get(key)),
            )

    def _growth_of(self, name: str, kind: str) -> float | None:
        window = list(self.work)[-len(self.responses) :]
        first, last = (getattr(totals[name], kind) if name in totals else None for totals in (window[0], window[-1]))
        return last - first if first is not None and last is not None and last >= first else None

    def _joules_per_step(self, name: str) -> float | None:
        """Energy per training step between the first and the last change of the count, so that whole steps are compared."""
        totals = [row[name] for row in self.work if name in row]
        changes = [now for before, now in pairwise(totals) if before.steps is not None and now.steps != before.steps]
        if len(changes) < 2:
            return None
        first, last = changes[0], changes[-1]
        if first.steps is None or last.steps is None or first.energy_j is None or last.energy_j is None:
            return None
        steps, joules = last.steps - first.steps, last.energy_j - first.energy_j
        return joules / steps if steps > 0 and joules > 0 else None

    def _node(self, response: MetricsResponse, gpus: tuple[GpuStatus, ...]) -> NodeStatus:
        info: Labels = next((labels for labels, _ in response.rows("node_info")), {})
        meters = sorted(
            (f"{r.get('source', '?')} {r.get('domain', '')}".strip(), w) for r, w in response.rows("node_power_watts")
        )
        power = [g.power_w for g in gpus if g.power_w is not None]
        limits = [g.limit_w for g in gpus if g.limit_w is not None]
        since = [g.since_j for g in gpus if g.since_j is not None]
        costs = list(self.agent_cpu)[1:]  # the first may be old
        return NodeStatus(
            cluster=info.get("cluster", "?"),
            node=info.get("node", "?"),
            version=next((r.get("version", "?") for r, _ in response.rows("build_info")), "?"),
            simulated=info.get("simulated") == "true",
            # An agent without this series counts GPUs alone.
            boundary=next((r.get("boundary", "?") for r, _ in response.rows("energy_boundary_info")), "gpu"),
            gpus=len(gpus),
            gpus_up=sum(g.up for g in gpus),
            power_w=sum(power) if power else None,
            limit_w=sum(limits) if limits else None,
            since_j=sum(since) if since else None,
            since_s=response.t_s - (response.t_s if self.first_s is None else self.first_s),
            other_w=tuple(meters),
            agent_cpu_ratio=_slope(costs[0], costs[-1]) if len(costs) > 1 else None,
            agent_b=response.total("process_resident_memory_bytes"),
            ledger=self._describe_ledger(response),
            config_ok=response.total("config_last_reload_successful") != 0,
            reader_restarts=response.total("reader_restarts_total") or 0.0,
            down=tuple(_list_down(response, {g.uuid for g in gpus})),
            power_history_w=tuple(self.node_power_w),
            utilization_history=tuple(self.utilization),
        )

    def _describe_ledger(self, response: MetricsResponse) -> str:
        if response.total("ledger_writable") == 0:
            return "NOT WRITABLE: no energy is recorded"
        name = "ledger_commit_failures_total"
        before, now = (each.total(name) for each in (self.responses[0], response))
        if before is not None and now is not None and now > before:
            return "COMMITS FAIL"
        return "ok" if response.total("ledger_commits_total") else "no commit yet"


def _read_at(response: MetricsResponse) -> float | None:
    """When the agent last read its GPUs, by its own clock."""
    for labels, value in response.rows("source_last_success_timestamp_seconds"):
        if labels.get("source") == "nvml" and not labels.get("device"):
            return value
    return None


def is_later(response: MetricsResponse, than: MetricsResponse) -> bool:
    """Whether a response has readings that another has not."""
    return _read_at(response) != _read_at(than)


def _slope(first: tuple[float, float], last: tuple[float, float]) -> float | None:
    """None where it falls: a child of the agent was replaced."""
    return (last[1] - first[1]) / (last[0] - first[0]) if last[1] >= first[1] and last[0] > first[0] else None


def _list_unread_gpus(response: MetricsResponse) -> Iterator[GpuStatus]:
    """GPUs that have not answered since the agent began: only their index is known."""
    for labels, _ in response.rows("source_down_info"):
        kind, _, index = labels.get("device", "").partition(" ")
        if kind == "index":
            yield GpuStatus(index, "", "", False, labels.get("reason") or "it does not respond")


def _list_xids(response: MetricsResponse, uuid: str) -> tuple[str, ...]:
    codes = {r["xid"] for r, count in response.rows("gpu_xid_errors_total") if r["uuid"] == uuid and count}
    return tuple(sorted(codes, key=_number))


def _describe_steering(response: MetricsResponse, uuid: str) -> str:
    exempt = next((r.get("reason", "") for r, _ in response.rows("dvfs_exempt_info") if r["uuid"] == uuid), None)
    if exempt is not None:
        return f"not steered: {exempt}"
    mode = next((r["mode"] for r, v in response.rows("dvfs_mode") if r["uuid"] == uuid and v), "")
    clock = response.of_gpu("dvfs_clock_limit_hertz", uuid)
    limit = response.of_gpu("dvfs_power_limit_watts", uuid)
    parts = [f"<={clock / 1e6:.0f} MHz" if clock else "", f"<={limit:.0f} W" if limit else ""]
    return " ".join([mode, *filter(None, parts)]).strip()


def _list_down(response: MetricsResponse, uuids: set[str]) -> Iterator[str]:
    for labels, _ in response.rows("source_down_info"):
        device = labels.get("device", "")
        if (device and device in uuids) or device.startswith("index "):
            continue  # the GPU's own line says it
        name = f"{labels.get('source', '?')} {device}".strip()
        yield printable(f"{name}: {labels.get('reason') or 'no reason given'}")


def _number(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() and text.isascii() and len(text) < 10 else (1 << 30, text)
