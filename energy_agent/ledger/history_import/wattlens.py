"""Pages of a Wattlens agent that somebody else scraped -> entries, gaps, tokens and steps. Pure.

The counters come from the agent's journal: they begin at 0, go on over its restarts and never fall, so the difference of two
pages is exactly what was recorded in between, by workload, state and method.

Laws (tests/energy_agent/ledger/history_import/test_wattlens.py):

- Conservation: the entries of a device between two pages sum to the difference of `gpu_energy_joules_total` (of a host, of
  `node_nongpu_energy_joules_total`) by method, exactly. What its parts do not explain is unattributed, `gap`; what they claim
  beyond it is cut down in proportion.
- A counter that falls is that of a new journal: what it shows was drawn since the page before, and the rest is a gap.
- A series that is new on a page counts from 0 only where that fits into what its device drew; else it was there before we look.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from energy_agent.core.boundary import host, is_gpu, part
from energy_agent.core.energy import Entry, Gap, Method, State, Steps, Tokens
from energy_agent.core.meters.difference import energy_uj, gap_of, mean_mw
from energy_agent.core.plausible import gpu_max_mw
from energy_agent.core.units import NS_PER_S, split_integer
from energy_agent.ledger.history_import.dcgm import exporter_label, uuid
from energy_agent.ledger.history_import.samples import RESET, TICK_NS

PREFIX: Final = "wattlens_"
TOTALS: Final = {
    "gpu_energy_joules_total": ("total", "gpu"),
    "gpu_unallocated_energy_joules_total": ("idle", "gpu"),
    "gpu_unattributed_energy_joules_total": ("unattributed", "gpu"),
    "gpu_energy_gap_bound_joules_total": ("gap", "gpu"),
    "gpu_energy_edge_uncertainty_joules": ("edge", "gpu"),
    "workload_energy_joules_total": ("workload", "gpu"),
    "node_nongpu_energy_joules_total": ("total", "host"),
    "node_nongpu_unallocated_energy_joules_total": ("idle", "host"),
    "node_nongpu_unattributed_energy_joules_total": ("unattributed", "host"),
    "node_nongpu_energy_gap_bound_joules_total": ("gap", "host"),
    "workload_nongpu_energy_joules_total": ("workload", "host"),
    "workload_gpu_seconds_total": ("held", ""),
    "tokens_total": ("tokens", ""),
    "training_steps_total": ("steps", ""),
}
"""Families that are read, without the prefix: what each says and of what kind of device."""
SCALE: Final = {"held": NS_PER_S, "tokens": 1, "steps": 1}
"""From a family's unit to ns or a count; the others are joules, which become uJ."""
_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "method": lambda text: text in {"", *Method},
    "state": lambda text: text in (State.ACTIVE, State.IDLE),
    "reason": lambda text: f"unattributed:{text}" in set(State),
}
GAP_TOLD: Final = "reported by the agent as a gap"

Key = tuple[str, ...]
"""(kind, device, ...): what a number of a page is of."""
Holding = tuple[str, State]


@dataclass(frozen=True, slots=True)
class AgentScrape:
    """The numbers of one scrape of one agent: uJ, ns or counts by what they are of."""

    t_ns: int
    values: Mapping[Key, int]
    source: str = ""


def key_of(family: str, labels: Mapping[str, str], cluster: str, node: str) -> Key | None:
    """The key of a series: its kind, device and labels; None for a series that the import does not read."""
    kind, of = TOTALS.get(family.removeprefix(PREFIX), ("", ""))
    if not kind:
        return None
    if of == "host":
        device, domain = host(cluster, node), exporter_label(labels, "domain")
        device = device if domain == "host" else part(device, domain)
    else:
        device = uuid(exporter_label(labels, "uuid")) if of else ""
    names = {
        "total": ("method",),
        "unattributed": ("reason",),
        "workload": ("workload", "state", "method"),
        "held": ("workload", "state"),
        "tokens": ("workload", "model", "phase"),
        "steps": ("workload", "phase"),
    }.get(kind, ())
    values = [exporter_label(labels, name) for name in names]
    good = all(_CHECKS[name](value) for name, value in zip(names, values, strict=True) if name in _CHECKS)
    return (kind, device, *values) if good and bool(device) == bool(of) else None


@dataclass
class AgentScrapeAccount:
    """One node, page by page.

    Args:
        age_ns: how old a page's numbers can be when it is scraped.
        power_max_mw: by device, what it can draw at most; may be added to.
    """

    age_ns: int
    power_max_mw: dict[str, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    tokens: list[Tokens] = field(default_factory=list)
    steps: list[Steps] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    unexplained_uj: int = 0
    _last: dict[Key, int] = field(default_factory=dict)
    _device_ns: dict[str, int] = field(default_factory=dict)  # when each device was last on a page
    _page_ns: int | None = None
    _source: str = ""
    _fresh: set[str] = field(default_factory=set)  # workloads whose counters began while we look
    _new: set[str] = field(default_factory=set)  # of this page: those with a counter that may have begun at 0
    _old: set[str] = field(default_factory=set)  # and those with one that did not

    def take(self, page: AgentScrape) -> None:
        """Record what a page adds to the one before."""
        if self._page_ns is not None and (page.t_ns <= self._page_ns or self._older(page)):
            return
        self._old, self._new = set(), set()
        devices = sorted({key[1] for key in page.values if key[0] == "total"})
        shares = self._sharing(page)
        known = {device: self._device_ns[device] for device in devices if device in self._device_ns}
        for device, before_ns in known.items():
            self._device(device, before_ns, page, shares)
        for device in devices:
            self._device_ns[device] = page.t_ns
        self._fresh |= self._new - self._old
        if self._page_ns is not None:
            self._counts(self._page_ns, page)
            for key, value in page.values.items():
                if key[0] == "gap" and key[1] not in known:  # a device without a sensor has a bound alone
                    self._gap(key[1], self._page_ns, page, {key: value}, None)
        for key, value in page.values.items():
            if key[0] in ("tokens", "steps", "held", "gap") or key[1] in devices:
                self._last[key] = value
        self._page_ns, self._source = page.t_ns, page.source

    def _older(self, page: AgentScrape) -> bool:
        """Whether another one's page shows a little less: its clock is ahead, or it showed what it had read before."""
        if page.source == self._source:
            return False
        falls = [self._last.get(key, 0) - value for key, value in page.values.items() if key[0] == "total"]
        older = 0 < max(falls, default=0) <= energy_uj(gpu_max_mw(), self.age_ns)
        self.seen["older scrapes of another series ignored"] += older
        return older

    def _device(self, device: str, start_ns: int, page: AgentScrape, sharing: Mapping[Key, int]) -> None:
        mine = {key: value for key, value in page.values.items() if key[1] == device and key[0] not in ("edge", "held")}
        restarted = any(value < self._last.get(key, 0) for key, value in mine.items() if key[0] == "total")
        if restarted:
            self.seen["restarts of an agent's journal"] += 1
            self._last |= {key: 0 for key in self._last if key[1] == device or key[0] == "held"}
        totals = {Method(key[2]): value - self._last.get(key, 0) for key, value in mine.items() if key[0] == "total"}
        drawn_uj = sum(totals.values())
        self._gap(device, start_ns, page, mine, drawn_uj if restarted else None)
        if drawn_uj <= 0:
            return
        parts = self._parts(mine, totals)
        self._book(device, start_ns, page, parts, sharing)

    def _gap(self, device: str, start_ns: int, page: AgentScrape, mine: Mapping[Key, int], since_new_uj: int | None) -> None:
        if since_new_uj is not None:
            most_mw = self.power_max_mw.get(device)
            self.gaps.append(gap_of(device, start_ns, page.t_ns, most_mw, RESET, age_ns=TICK_NS, seen_uj=since_new_uj))
        bound = ("gap", device)
        told_uj = mine.get(bound, 0) - self._last.get(bound, mine.get(bound, 0))
        if told_uj > 0:
            self.gaps.append(Gap(device, start_ns, page.t_ns, told_uj, GAP_TOLD))

    def _parts(self, mine: Mapping[Key, int], totals: Mapping[Method, int]) -> dict[tuple[Holding, Method], int]:
        """Who used what of each method: what is known by method first, then the rest."""
        left = dict(totals)
        parts: dict[tuple[Holding, Method], int] = {}
        by_method: dict[Method, dict[Holding, int]] = {}
        loose: dict[Holding, int] = {}
        for key, value in sorted(mine.items(), key=lambda item: (item[0] not in self._last, item[0])):
            holding = _holding(key)
            if holding is None:
                continue
            method = Method(key[4]) if key[0] == "workload" and key[4] else None
            room = left[method] if method in left else sum(left.values())
            taken = sum(by_method.get(method, {}).values()) if method is not None else sum(loose.values())
            delta = self._delta(key, value, room - taken)
            if method is not None and delta:
                by_method.setdefault(method, {})[holding] = delta
            elif delta:
                loose[holding] = loose.get(holding, 0) + delta
        for method, claims in by_method.items():
            for holding, uj in self._within(claims, left.get(method, 0)).items():
                parts[holding, method] = uj
                left[method] -= uj
        for holding, uj in self._within(loose, sum(left.values())).items():
            for method in left:
                some = min(uj, left[method])
                if some:
                    parts[holding, method] = parts.get((holding, method), 0) + some
                left[method], uj = left[method] - some, uj - some
        for method, uj in left.items():
            if uj:
                self.unexplained_uj += uj
                parts[("", State.GAP), method] = parts.get((("", State.GAP), method), 0) + uj
        return parts

    def _within(self, claims: Mapping[Holding, int], most_uj: int) -> Mapping[Holding, int]:
        """Claims as they are where they fit, else cut down in proportion."""
        over_uj = sum(claims.values()) - most_uj
        if over_uj <= 0:
            return claims
        self.unexplained_uj += over_uj
        return dict(zip(claims, split_integer(most_uj, list(claims.values())), strict=True))

    def _delta(self, key: Key, value: int, room_uj: int) -> int:
        before = self._last.get(key)
        if before is not None:
            return max(0, value - before)
        fits = value <= room_uj  # else it counted before we looked
        if key[0] == "workload" and is_gpu(key[1]):
            (self._new if fits else self._old).add(key[2])
        return value if fits else 0

    def _book(
        self,
        device: str,
        start_ns: int,
        page: AgentScrape,
        parts: Mapping[tuple[Holding, Method], int],
        sharing: Mapping[Key, int],
    ) -> None:
        duration_ns = page.t_ns - start_ns
        drawn_uj = sum(parts.values())
        told_uj = page.values.get(("edge", device), 0)
        power_mw = self.power_max_mw.get(device) or mean_mw(drawn_uj, duration_ns)
        edge_uj = told_uj + energy_uj(power_mw, self.age_ns)
        ordered = sorted(parts.items())
        edges = split_integer(edge_uj, [uj for _, uj in ordered])
        times = self._times(ordered, duration_ns, page, sharing) if is_gpu(device) else [0] * len(ordered)
        for ((holding, method), uj), edge, held_ns in zip(ordered, edges, times, strict=True):
            if method in (Method.INTEGRATED, Method.MODELLED):  # the agent reports the edge of one of its own intervals
                edge = edge * max(1, duration_ns // NS_PER_S)
            self.entries.append(Entry(start_ns, page.t_ns, device, *holding, method, uj, edge, held_ns))

    def _sharing(self, page: AgentScrape) -> dict[Key, int]:
        """For each held counter, over how many devices its workload is spread."""
        spread: dict[Key, set[str]] = {}
        for key, value in page.values.items():
            if key[0] == "workload" and is_gpu(key[1]) and value > self._last.get(key, 0):
                spread.setdefault(("held", "", key[2], key[3]), set()).add(key[1])
        return {key: len(devices) for key, devices in spread.items()}

    def _times(
        self, ordered: list[tuple[tuple[Holding, Method], int]], duration_ns: int, page: AgentScrape, sharing: Mapping[Key, int]
    ) -> list[int]:
        """Device time of each share: its workload's, over the devices that used energy for it, by method as energy."""
        answer = [0] * len(ordered)
        for holding in {h for (h, _), _ in ordered if h[0]}:
            key: Key = ("held", "", *holding)
            places = [i for i, ((h, _), _) in enumerate(ordered) if h == holding]
            new = holding[0] in self._fresh | (self._new - self._old)
            held_ns = page.values.get(key, 0) - self._last.get(key, 0 if new else page.values.get(key, 0))
            mine_ns = min(duration_ns, max(0, held_ns) // sharing.get(key, 1))
            for place, ns in zip(places, split_integer(mine_ns, [ordered[i][1] for i in places]), strict=True):
                answer[place] = ns
        return answer

    def _counts(self, start_ns: int, page: AgentScrape) -> None:
        for key, value in sorted(page.values.items()):
            if key[0] not in ("tokens", "steps"):
                continue
            before = self._last.get(key, 0 if key[2] in self._fresh else value)
            count = value if value < before else value - before  # a count that fell began again, at 0
            if count and key[0] == "tokens":
                self.tokens.append(Tokens(start_ns, page.t_ns, key[2], key[3], key[4], count))
            elif count:
                self.steps.append(Steps(start_ns, page.t_ns, key[2], key[3], count))


def _holding(key: Key) -> Holding | None:
    match key[0]:
        case "workload":
            return key[2], State(key[3])
        case "idle":
            return "", State.UNALLOCATED
        case "unattributed":
            return "", State(f"unattributed:{key[2]}")
    return None
