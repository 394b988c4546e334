"""The demo's building: `wattlens site` as a process on simulated meters, its live PUE and its result."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Final

import yaml

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.runtime.network.http import HttpError
from energy_agent.sim.building.site import site_config
from energy_agent.sim.node import SimulatedNode
from wattlens.agent_access import AgentAccess
from wattlens.companion_process import companion, metrics_url
from wattlens.top.metrics import parse

FILES: Final = {"site/": "the ledger of the building, for wattlens pue --ledger; site.yaml is its configuration"}
PRICE_GBP: Final = 0.25
"""Of a kWh."""
_PERIOD_S: Final = 2.0
_CATEGORIES: Final = ("3", "2", "1")


@dataclass(frozen=True, slots=True)
class DemoSite:
    """Address of the site process; if it has none, `reason` explains why."""

    url: str = ""
    reason: str = ""

    def now(self) -> str:
        """Return its PUE in a few words, or why it has no value."""
        if not self.url:
            return f"PUE: {self.reason}"
        try:
            page = parse(AgentAccess(self.url).opener()(10.0).decode(), time.monotonic())
        except (HttpError, ValueError):
            return "PUE: no response from the site process"
        for category in _CATEGORIES:
            key = {"category": category, "window": "15m"}
            ratio, low, high = (page.total(f"pue_ratio{end}", **key) for end in ("", "_lower", "_upper"))
            if ratio is not None:
                bounds = f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else ""
                return f"PUE {ratio:.2f}{bounds}, category {category}"
        return "PUE: not available yet"


def organisation(out: Path) -> Path:
    """Write the organisation file of the report: one site, and a price of electricity that is made up."""
    tariff = {
        "id": "demo",
        "currency": "GBP",
        "default_per_kwh": PRICE_GBP,
        "valid_from": "2020-01-01",
        "source": "sample price",
    }
    organisation = {"organisation": {"name": "Demo"}, "sites": [{"file": "site.yaml", "tariffs": [tariff]}]}
    path = out / "org.yaml"
    path.write_text(yaml.safe_dump(organisation, sort_keys=False))
    return path


@contextmanager
def running(node: SimulatedNode, out: Path, country: str) -> Iterator[DemoSite]:
    """The site process, where the simulated node has a building."""
    try:
        config = site_config(node, name="demo", period_s=_PERIOD_S)
    except UsageError as error:
        yield DemoSite(reason=str(error))
        return
    config["web"] = {"listen": "127.0.0.1:0"}
    config["grid"] = {"country": country}
    (out / "site.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    log = out / "site.log"

    command = ["site", "--config", out / "site.yaml", "--state", out / "site", "--simulate", node.directory]
    with companion(command, log, lambda: metrics_url(log), "the site did not start"):
        yield DemoSite(metrics_url(log))


def concluded(site: DemoSite, out: Path) -> str:
    """What the ledger of the building comes to, in lines; or why there is nothing."""
    if not site.url:
        return f"no PUE: {site.reason}"
    from wattlens.site.pue.inputs import read_inputs
    from wattlens.site.pue.statement import statement
    from wattlens.site.pue.text import format_statement

    try:
        given = read_inputs(out / "site", None, None, None)
        span, first, until = given.book.span_ns, given.book.first_ns, given.book.until_ns
        if span is None or first is None or until is None:
            return "no PUE: no readings were recorded"
        meters = given.book.window(*span, since_ns=first, until_ns=until)
        result = statement(given.site, (first, until), meters, given.around(*span), simulated=given.simulated)
    except WattlensError as error:
        return f"no PUE: {error}"
    return "\n".join(format_statement(result, UTC))
