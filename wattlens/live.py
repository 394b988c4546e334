"""The live view of the demo: reads the agent's own /metrics page and draws it; colour with `rich`, plain lines without.

Meaning never hangs on colour: states are words.
"""

import sys
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

NAME = 20
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
    """Turns pages into rows of text. Rates are over the last `window` pages."""

    workload_of_tokens: str
    names: Mapping[str, str]
    pages: deque[Page] = field(default_factory=lambda: deque(maxlen=6))

    def header(self) -> str:
        """What is shown, in one line."""
        columns = f"{'GPU':>3} {'power':>7} {'limit':>6} {'SM clock':>9} {'util':>5} {'temp':>5} {'energy':>11}"
        return f"{columns}  {'held by':{NAME}} steering"

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
                steering = f"at most {clock / 1e6:.0f} MHz"
            found.append(
                f"{labels['gpu']:>3} {_w(page.one('gpu_power_watts', uuid=uuid, kind='instant'))} "
                f"{_w(page.one('gpu_power_limit_watts', uuid=uuid, kind='current'), 6)} "
                f"{_mhz(page.one('gpu_clock_hertz', uuid=uuid, domain='sm'))} "
                f"{_percent(page.one('gpu_utilization_ratio', uuid=uuid, engine='gpu'))} "
                f"{_c(page.one('gpu_temperature_celsius', uuid=uuid, sensor='gpu'))} "
                f"{_j(page.one('gpu_energy_joules_total', uuid=uuid))}  {self._held(holders.get(uuid, [])):{NAME}} {steering}"
            )
        return found

    def _held(self, workloads: list[str]) -> str:
        return " ".join(self.names.get(w, w) for w in workloads)[:NAME] or "nobody"

    def footer(self, page: Page) -> list[str]:
        """Node and tokens."""
        self.pages.append(page)
        first, name = self.pages[0], self.names.get(self.workload_of_tokens, self.workload_of_tokens)
        power = page.one("gpu_power_watts", kind="instant")
        parts = [f"node GPUs {power:,.0f} W" if power is not None else "node GPUs: no reading"]
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


def _fmt(width: int, form: str) -> Callable[..., str]:
    def show(value: float | None, wide: int = width) -> str:
        return ("-" if value is None else form.format(value)).rjust(wide)

    return show


_w = _fmt(7, "{:.0f} W")
_c = _fmt(5, "{:.0f} C")
_j = _fmt(11, "{:,.0f} J")


def _mhz(value: float | None) -> str:
    return ("-" if value is None else f"{value / 1e6:.0f} MHz").rjust(9)


def _percent(value: float | None) -> str:
    return ("-" if value is None else f"{value * 100:.0f} %").rjust(5)


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
