"""The live view of the demo: reads the agent's own /metrics page and draws it; colour with `rich`, plain lines without.

Meaning never hangs on colour: states are words.
"""

import sys
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

NARROW = 76  # inside the frame of a terminal of 80 columns
NAME, LONGEST_NAME = 12, 36
Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Page:
    """One reading of /metrics: samples by name."""

    t_s: float
    samples: dict[str, dict[Labels, float]] = field(default_factory=dict)

    def one(self, name: str, **labels: str) -> float | None:
        """The sum of all samples that carry these labels; None where there is none."""
        want = labels.items()
        found = [v for k, v in self.samples.get(f"wattlens_{name}", {}).items() if want <= dict(k).items()]
        return sum(found) if found else None

    def rows(self, name: str) -> Iterable[tuple[dict[str, str], float]]:
        """Labels and value of each sample."""
        return ((dict(k), v) for k, v in self.samples.get(f"wattlens_{name}", {}).items())


def read_page(url: str, t_s: float) -> Page:
    """Read the page.

    Raises:
        OSError: nobody answers, or not with a page.
    """
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - the address of our own agent
        text = answer.read(4 << 20).decode()
    page = Page(t_s)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            page.samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return page


@dataclass(slots=True)
class View:
    """Turns pages into rows of text, `width` columns wide at most. Rates are over the last pages."""

    workload_of_tokens: str
    names: Mapping[str, str]
    width: int = NARROW
    pages: deque[Page] = field(default_factory=lambda: deque(maxlen=6))

    @property
    def _name(self) -> int:
        return min(LONGEST_NAME, NAME + max(0, self.width - NARROW))

    def header(self) -> str:
        """What is shown, in one line."""
        columns = f"{'GPU':>3} {'power':>6} {'limit':>6} {'SM clock':>8} {'util':>5} {'temp':>5} {'energy':>10}"
        return f"{columns}  {'held by':{self._name}} steering"

    def lines(self, page: Page) -> list[str]:
        """A line a GPU."""
        holders: dict[str, list[str]] = {}
        for labels, _ in page.rows("workload_energy_joules_total"):
            names = holders.setdefault(labels["uuid"], [])
            if labels["workload"] not in names:
                names.append(labels["workload"])
        found = []
        for labels, up in sorted(page.rows("gpu_up"), key=lambda r: int(r[0].get("gpu", 0))):
            uuid = labels["uuid"]
            if not up:
                found.append(f"{labels['gpu']:>3} does not answer; its series are absent")
                continue
            clock = page.one("dvfs_setting", uuid=uuid, setting="sm_clock_max_hertz")
            steering = "not steered" if page.one("dvfs_mode", uuid=uuid) is None else "released"
            if clock is not None:
                steering = f"<={clock / 1e6:.0f} MHz"
            found.append(
                f"{labels['gpu']:>3} {_w(page.one('gpu_power_watts', uuid=uuid, kind='instant'))} "
                f"{_w(page.one('gpu_power_limit_watts', uuid=uuid, kind='current'))} "
                f"{_mhz(page.one('gpu_clock_hertz', uuid=uuid, domain='sm'))} "
                f"{_percent(page.one('gpu_utilization_ratio', uuid=uuid, engine='gpu'))} "
                f"{_c(page.one('gpu_temperature_celsius', uuid=uuid, sensor='gpu'))} "
                f"{_j(page.one('gpu_energy_joules_total', uuid=uuid))}  {self._held(holders.get(uuid, []))} {steering}"
            )
        return found

    def _held(self, workloads: list[str]) -> str:
        # Names come from other people's processes: nothing in them may reach the terminal as a command.
        text = ", ".join(self.names.get(w, w) for w in workloads) or "nobody"
        shown = "".join(c if c.isprintable() else "?" for c in text)
        return (shown if len(shown) <= self._name else shown[: self._name - 1] + "~").ljust(self._name)

    def footer(self, page: Page) -> list[str]:
        """Node and tokens."""
        self.pages.append(page)
        first, name = self.pages[0], self.names.get(self.workload_of_tokens, self.workload_of_tokens)
        power = page.one("gpu_power_watts", kind="instant")
        parts = [f"all GPUs {power:,.0f} W" if power is not None else "all GPUs: no reading"]
        tokens = _grown(first, page, "tokens_total", workload=self.workload_of_tokens, phase="generation")
        joules = _grown(first, page, "workload_energy_joules_total", workload=self.workload_of_tokens)
        if tokens and joules and page.t_s > first.t_s:
            parts.append(f"{name}: {tokens / (page.t_s - first.t_s):,.0f} tokens/s, {joules / tokens:.3f} J/token")
        else:
            parts.append(f"{name}: no tokens measurable now")
        return ["   ".join(parts)]


def _grown(first: Page, last: Page, name: str, **labels: str) -> float | None:
    before, after = first.one(name, **labels), last.one(name, **labels)
    return None if before is None or after is None or after <= before else after - before


def _fmt(width: int, form: str, per_unit: float = 1.0) -> Callable[[float | None], str]:
    def show(value: float | None) -> str:
        return ("-" if value is None else form.format(value / per_unit)).rjust(width)

    return show


_w = _fmt(6, "{:.0f} W")
_c = _fmt(5, "{:.0f} C")
_mhz = _fmt(8, "{:.0f} MHz", 1e6)
_percent = _fmt(5, "{:.0f} %", 0.01)
_joules = _fmt(10, "{:,.0f} J")
_kilojoules = _fmt(10, "{:,.0f} kJ", 1e3)
_megajoules = _fmt(10, "{:,.0f} MJ", 1e6)


def _j(value: float | None) -> str:
    if value is None or value < 999_999.5:
        return _joules(value)
    return _kilojoules(value) if value < 1e9 else _megajoules(value)


class Screen:
    """Where frames go: redrawn in place on a terminal with `rich`, else a line every few frames."""

    def __init__(self, live: bool) -> None:
        self._live: Any = None
        self._frames = 0
        if live and sys.stdout.isatty():
            try:
                from rich.live import Live
            except ImportError:
                return
            self._live = Live(auto_refresh=False, transient=True)
            self._live.start()

    def show(self, title: str, view: View, page: Page) -> None:
        """Draw one frame."""
        if self._live is not None:
            view.width = self._live.console.width - 4
        footer = view.footer(page)
        self._frames += 1
        if self._live is None:
            if self._frames % 5 == 1:
                print(f"{title}   {footer[0]}", flush=True)
            return
        from rich.panel import Panel
        from rich.text import Text

        body = Text("\n".join([view.header(), *view.lines(page), "", *footer]), no_wrap=True, overflow="ellipsis")
        body.stylize("bold", 0, len(view.header()))
        self._live.update(Panel(body, title=title, title_align="left"), refresh=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()
