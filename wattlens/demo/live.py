"""Live view of the demo, from the agent's `/metrics`; in colour with `rich`, otherwise plain lines.

Meaning never hangs on colour: states are words.
"""

import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from energy_agent.core.text import printable
from wattlens.scrape.response import ScrapeResponse, celsius, grown, joules, megahertz, percent, watts

NARROW = 76  # inside the frame of a terminal of 80 columns
NAME, LONGEST_NAME = 12, 36


@dataclass(slots=True)
class LiveText:
    """Formats responses as lines of at most `width` columns. Rates are over the last responses."""

    workload_of_tokens: str
    names: Mapping[str, str]
    width: int = NARROW
    site: str = ""  # the building's PUE in a few words
    pages: deque[ScrapeResponse] = field(default_factory=lambda: deque(maxlen=6))

    @property
    def _name(self) -> int:
        return min(LONGEST_NAME, NAME + max(0, self.width - NARROW))

    def header(self) -> str:
        """What is shown, in one line."""
        columns = f"{'GPU':>3} {'power':>6} {'limit':>6} {'SM clock':>8} {'util':>5} {'temp':>5} {'energy':>10}"
        return f"{columns}  {'workload':{self._name}} steering"

    def lines(self, page: ScrapeResponse) -> list[str]:
        """A line a GPU."""
        owners: dict[str, list[str]] = {}
        for labels, _ in page.rows("workload_energy_joules_total"):
            names = owners.setdefault(labels["uuid"], [])
            if labels["workload"] not in names:
                names.append(labels["workload"])
        rows, power_w = [], page.gpu_power_w()
        for labels, up in sorted(page.rows("gpu_up"), key=lambda r: int(r[0].get("gpu", 0))):
            uuid = labels["uuid"]
            if not up:
                rows.append(f"{labels['gpu']:>3} no response; its series are absent")
                continue
            clock = page.one("dvfs_clock_limit_hertz", uuid=uuid)
            steering = "not steered" if page.one("dvfs_mode", uuid=uuid) is None else "released"
            if clock is not None:
                steering = f"<={clock / 1e6:.0f} MHz"
            rows.append(
                f"{labels['gpu']:>3} {watts(power_w.get(uuid))} "
                f"{watts(page.one('gpu_power_limit_watts', uuid=uuid))} "
                f"{megahertz(page.one('gpu_sm_clock_hertz', uuid=uuid))} "
                f"{percent(page.one('gpu_utilization_ratio', uuid=uuid))} "
                f"{celsius(page.one('gpu_temperature_celsius', uuid=uuid))} "
                f"{joules(page.one('gpu_energy_joules_total', uuid=uuid))}  {self._owners(owners.get(uuid, []))} {steering}"
            )
        return rows

    def _owners(self, workloads: list[str]) -> str:
        shown = printable(", ".join(self.names.get(w, w) for w in workloads) or "none")
        return (shown if len(shown) <= self._name else shown[: self._name - 1] + "~").ljust(self._name)

    def footer(self, page: ScrapeResponse) -> list[str]:
        """Node and tokens."""
        self.pages.append(page)
        first, name = self.pages[0], self.names.get(self.workload_of_tokens, self.workload_of_tokens)
        power_w = page.gpu_power_w()
        parts = [f"all GPUs {sum(power_w.values()):,.0f} W" if power_w else "all GPUs: no reading"]
        tokens = grown(first, page, "tokens_total", workload=self.workload_of_tokens, phase="generation")
        joules = grown(first, page, "workload_energy_joules_total", workload=self.workload_of_tokens)
        if tokens and joules and page.t_s > first.t_s:
            parts.append(f"{name}: {tokens / (page.t_s - first.t_s):,.0f} tokens/s, {joules / tokens:.3f} J/token")
        else:
            parts.append(f"{name}: no tokens measured now")
        return ["   ".join(parts), *([self.site] if self.site else [])]


class LiveDisplay:
    """Shows frames: redrawn in place on a terminal with `rich`, else one line every few frames."""

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

    def show(self, title: str, view: LiveText, page: ScrapeResponse) -> None:
        """Draw one frame."""
        if self._live is not None:
            view.width = self._live.console.width - 4
        footer = view.footer(page)
        self._frames += 1
        if self._live is None:
            if self._frames % 5 == 1:
                print(f"{title}   {'   '.join(footer)}", flush=True)
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
