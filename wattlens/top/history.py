"""Pages of an agent -> what `wattlens top` shows. Pure: rates are over the pages given, by the node's own time stamps."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from energy_agent.core.text import printable
from wattlens.scrape.response import Labels, Page
from wattlens.top.facts import Facts, Gpu, Node, Workload

RATE_PAGES = 6  # five seconds at one page a second: a counter moves once a second, so two pages may show no change
EVENT_PAGES = 4

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


@dataclass(slots=True)
class History:
    """The last pages, and where each counter of energy stood when top began, or when its GPU first answered."""

    pages: deque[Page] = field(default_factory=lambda: deque(maxlen=RATE_PAGES))
    first: dict[str, float] = field(default_factory=dict)
    begun: dict[Labels, float] = field(default_factory=dict)  # the same of each workload's series
    first_s: float | None = None
    seen: dict[str, set[str]] = field(default_factory=dict)  # workload -> UUIDs on which it was seen
    costs: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=8))  # the agent's CPU, when it changed

    def add(self, page: Page) -> Facts:
        """What to show now that this page has come."""
        self.pages.append(page)
        self.first_s = page.t_s if self.first_s is None else self.first_s
        for labels, up in page.rows("gpu_up"):
            energy = page.one("gpu_energy_joules_total", uuid=labels["uuid"])
            if up and energy is not None:
                self.first.setdefault(labels["uuid"], energy)
        answered = {r["uuid"] for r, up in self.pages[-2].rows("gpu_up") if up} if len(self.pages) > 1 else set()
        for key, joules in page.samples.get("wattlens_workload_energy_joules_total", {}).items():
            labels = dict(key)
            self.seen.setdefault(labels["workload"], set()).add(labels["uuid"])
            # One that comes on a GPU that answered all the while has begun at 0.
            began = self.begun.setdefault(key, 0.0 if labels["uuid"] in answered else joules)
            if joules < began:
                self.begun[key] = 0.0
        cpu_s = page.one("process_cpu_seconds_total")
        if cpu_s is not None and (not self.costs or cpu_s != self.costs[-1][1]):
            self.costs.append((page.t_s, cpu_s))
        gpus = tuple(sorted((*self._gpus(page), *_never_read(page)), key=lambda g: _number(g.gpu)))
        return Facts(self._node(page, gpus), gpus, tuple(self._workloads(page, gpus)))

    def _gpus(self, page: Page) -> Iterable[Gpu]:
        names = {labels["uuid"]: labels.get("name", "") for labels, _ in page.rows("gpu_info")}
        absent: dict[str, dict[str, str]] = {}
        for labels, _ in page.rows("gpu_absent_info"):
            absent.setdefault(labels["uuid"], {})[labels.get("field", "")] = printable(labels.get("reason", "no reason given"))
        held = self._holders(page)
        for labels, up in page.rows("gpu_up"):
            uuid, gpu = labels["uuid"], labels.get("gpu", "?")
            name, gone = printable(names.get(uuid, "")), absent.get(uuid, {})
            if not up:
                yield Gpu(gpu, uuid, name, False, gone.get("device", "it does not answer"))
                continue
            energy = page.one("gpu_energy_joules_total", uuid=uuid)
            yield Gpu(
                gpu,
                uuid,
                name,
                True,
                "",
                power_w=page.one("gpu_power_watts", uuid=uuid, kind="instant"),
                limit_w=page.one("gpu_power_limit_watts", uuid=uuid),
                sm_hz=page.one("gpu_clock_hertz", uuid=uuid, domain="sm"),
                sm_max_hz=page.one("gpu_clock_max_hertz", uuid=uuid, domain="sm"),
                memory_hz=page.one("gpu_clock_hertz", uuid=uuid, domain="memory"),
                temperature_c=page.one("gpu_temperature_celsius", uuid=uuid, sensor="gpu"),
                memory_temperature_c=page.one("gpu_temperature_celsius", uuid=uuid, sensor="memory"),
                utilization_ratio=page.one("gpu_utilization_ratio", uuid=uuid),
                memory_used_b=page.one("gpu_memory_used_bytes", uuid=uuid),
                memory_total_b=page.one("gpu_memory_total_bytes", uuid=uuid),
                energy_j=energy,
                since_j=None if energy is None else energy - self.first.get(uuid, energy),
                rate_w=self._rate("gpu_energy_joules_total", uuid=uuid),
                why=self._why(uuid),
                holders=held.get(uuid, ()),
                xids=_xids(page, uuid),
                steering=_steering(page, uuid),
                absent=tuple(f"{name}: {reason}" for name, reason in sorted(gone.items())),
            )

    def _why(self, uuid: str) -> tuple[str, ...]:
        """Reasons that held for a good part of the last seconds; one that needs a person counts however short it was."""
        since, page = self._since(), self.pages[-1]
        seconds = self._seconds(since)
        shares: dict[str, float] = {}
        for labels, _ in page.rows("gpu_clock_event_seconds_total"):
            if labels["uuid"] == uuid:
                lasted = _growth(since, page, "gpu_clock_event_seconds_total", uuid=uuid, reason=labels["reason"])
                shares[labels["reason"]] = (lasted or 0.0) / seconds if seconds > 0 else 0.0
        named = [r for r, share in shares.items() if share > (0.0 if r in GRAVE else 0.5 if r == "idle" else 0.2)]
        order = list(WORDS)
        named.sort(key=lambda n: -order.index(n) if n in order else 1)  # the hardest first
        return tuple(WORDS.get(n, printable(n.replace("_", " "))) for n in named)

    def _since(self) -> Page:
        return self.pages[max(0, len(self.pages) - EVENT_PAGES)]

    def _seconds(self, first: Page) -> float:
        """Time between a page and the last one as the node counts it, else as we do."""
        last = self.pages[-1]
        name, source = "source_last_success_timestamp_seconds", "nvml"
        stamps = [
            next((v for r, v in page.rows(name) if r.get("source") == source and not r.get("device")), None)
            for page in (first, last)
        ]
        if stamps[0] is not None and stamps[1] is not None and stamps[1] > stamps[0]:
            return stamps[1] - stamps[0]
        return last.t_s - first.t_s

    def _rate(self, name: str, **labels: str) -> float | None:
        """Growth a second over the pages held; 0 for a counter that is there and stands still."""
        growth, seconds = _growth(self.pages[0], self.pages[-1], name, **labels), self._seconds(self.pages[0])
        return None if growth is None or seconds <= 0 else growth / seconds

    def _holders(self, page: Page) -> dict[str, tuple[str, ...]]:
        """Who holds each GPU now: whose energy on it grows. Of a single page, whoever is on it."""
        since = self._since()
        found: dict[str, list[str]] = {}
        for uuid, workload in sorted({(r["uuid"], r["workload"]) for r, _ in page.rows("workload_energy_joules_total")}):
            if since is page or _growth(since, page, "workload_energy_joules_total", uuid=uuid, workload=workload) != 0:
                found.setdefault(uuid, []).append(printable(workload))
        return {uuid: tuple(names) for uuid, names in found.items()}

    def _workloads(self, page: Page, gpus: tuple[Gpu, ...]) -> Iterable[Workload]:
        energy: dict[str, dict[str, float]] = {}
        since: dict[str, dict[str, float]] = {}
        for key, joules in page.samples.get("wattlens_workload_energy_joules_total", {}).items():
            labels = dict(key)
            state = labels.get("state", "")
            for found, value in ((energy, joules), (since, joules - self.begun[key])):
                of = found.setdefault(labels["workload"], {})
                of[state] = of.get(state, 0.0) + value
        first, last = self.pages[0], self.pages[-1]
        for name, of in energy.items():
            tokens = _growth(first, last, "tokens_total", workload=name, phase="generation")
            joules_now = _growth(first, last, "workload_energy_joules_total", workload=name)
            on = tuple(g for g in gpus if g.uuid in self.seen[name])
            yield Workload(
                name=printable(name),
                held=any(printable(name) in g.holders for g in on),
                gpus=tuple(g.gpu for g in on),
                active_j=of.get("active", 0.0),
                idle_j=of.get("idle", 0.0),
                active_since_j=since[name].get("active", 0.0),
                idle_since_j=since[name].get("idle", 0.0),
                now_w=self._rate("workload_energy_joules_total", workload=name),
                tokens_per_s=self._rate("tokens_total", workload=name, phase="generation"),
                # With a GPU of it silent the joules are not all there, the tokens are.
                j_per_token=joules_now / tokens if tokens and joules_now and all(g.up for g in on) else None,
            )

    def _node(self, page: Page, gpus: tuple[Gpu, ...]) -> Node:
        facts: dict[str, str] = next((r for r, _ in page.rows("node_info")), {})
        meters = sorted((f"{r.get('source', '?')} {r.get('domain', '')}".strip(), w) for r, w in page.rows("node_power_watts"))
        power = [g.power_w for g in gpus if g.power_w is not None]
        since = [g.since_j for g in gpus if g.since_j is not None]
        known = list(self.costs)[1:]  # the first may have stood there for long
        return Node(
            cluster=printable(facts.get("cluster", "?")),
            node=printable(facts.get("node", "?")),
            version=printable(next((r.get("version", "?") for r, _ in page.rows("build_info")), "?")),
            simulated=facts.get("simulated") == "true",
            boundary=_boundary(page),
            gpus=len(gpus),
            gpus_up=sum(g.up for g in gpus),
            power_w=sum(power) if power else None,
            since_j=sum(since) if since else None,
            since_s=page.t_s - (self.first_s or page.t_s),
            other_w=tuple((printable(name), w) for name, w in meters),
            agent_cpu_ratio=_slope(known[0], known[-1]) if len(known) > 1 else None,
            agent_b=page.one("process_resident_memory_bytes"),
            ledger=self._ledger(page),
            config_ok=page.one("config_last_reload_successful") != 0,
            reader_restarts=page.one("reader_restarts_total") or 0.0,
            down=tuple(_down(page, {g.uuid: g.gpu for g in gpus})),
        )

    def _ledger(self, page: Page) -> str:
        if page.one("ledger_writable") == 0:
            return "CANNOT BE WRITTEN: nothing new is booked"
        if _growth(self.pages[0], page, "ledger_commit_failures_total"):
            return "COMMITS FAIL"
        return "ok" if page.one("ledger_commits_total") else "no commit yet"


def _slope(first: tuple[float, float], last: tuple[float, float]) -> float | None:
    """None where it falls: a child of the agent was replaced."""
    return (last[1] - first[1]) / (last[0] - first[0]) if last[1] >= first[1] and last[0] > first[0] else None


def _boundary(page: Page) -> str:
    """What the ledger's energy of the node contains, as the agent says it; without a word of it, GPUs alone."""
    return next((printable(r.get("boundary", "?")) for r, _ in page.rows("energy_boundary_info")), "gpu")


def _growth(first: Page, last: Page, name: str, **labels: str) -> float | None:
    """Growth of the series that are in both pages: one that has come back meanwhile, higher, is no growth of these seconds."""
    want, before = labels.items(), first.samples.get(f"wattlens_{name}", {})
    after = last.samples.get(f"wattlens_{name}", {})
    grown = [v - before[k] for k, v in after.items() if k in before and want <= dict(k).items()]
    return sum(grown) if grown and min(grown) >= 0 else None


def _never_read(page: Page) -> Iterable[Gpu]:
    """GPUs that have not answered since the agent began: it knows their index alone."""
    for labels, _ in page.rows("source_down_info"):
        kind, _, index = labels.get("device", "").partition(" ")
        if kind == "index":
            yield Gpu(index, "", "", False, printable(labels.get("reason") or "it does not answer"))


def _xids(page: Page, uuid: str) -> tuple[str, ...]:
    codes = {r["xid"] for r, count in page.rows("gpu_xid_errors_total") if r["uuid"] == uuid and count}
    return tuple(sorted(codes, key=_number))


def _steering(page: Page, uuid: str) -> str:
    exempt = next((r.get("reason", "") for r, _ in page.rows("dvfs_exempt_info") if r["uuid"] == uuid), None)
    if exempt is not None:
        return f"not steered: {printable(exempt)}"
    mode = next((r["mode"] for r, v in page.rows("dvfs_mode") if r["uuid"] == uuid and v), "")
    clock = page.one("dvfs_setting", uuid=uuid, setting="sm_clock_max_hertz")
    limit = page.one("dvfs_setting", uuid=uuid, setting="power_limit_watts")
    parts = [f"<={clock / 1e6:.0f} MHz" if clock else "", f"<={limit:.0f} W" if limit else ""]
    return " ".join([mode, *filter(None, parts)]).strip()


def _down(page: Page, index: dict[str, str]) -> Iterable[str]:
    for labels, _ in page.rows("source_down_info"):
        device = labels.get("device", "")
        if (device and device in index) or device.startswith("index "):
            continue  # the GPU's own line says it
        name = f"{labels.get('source', '?')} {device}".strip()
        yield f"{printable(name)}: {printable(labels.get('reason') or 'no reason given')}"


def _number(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdecimal() else (1 << 30, text)
