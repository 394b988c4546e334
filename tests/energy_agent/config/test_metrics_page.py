"""Health in the configuration: how often, and what costs extra."""

import re
from pathlib import Path

from energy_agent.config.agent import Config, parse
from energy_agent.core.catalogue.node import CATALOGUE
from energy_agent.core.selection import Selection
from tests.support import refusal

ROOT = Path(__file__).parents[3]


def test_by_default_health_is_read_slowly_and_what_costs_extra_is_off() -> None:
    config = Config()
    assert config.sampling.health_period_s == 60
    assert not config.sources.nvml.gpm
    assert not config.sources.nvml.pcie_throughput
    assert parse(b"web: {metrics: {exclude: []}}").web.metrics.selection == Selection()


def test_what_dashboards_rules_and_alerts_read_is_shown_by_default() -> None:
    shows_family = Config().web.metrics.selection.shows_family
    files = [*ROOT.glob("dashboards/grafana/*.json"), *ROOT.glob("dashboards/prometheus/*.yml")]
    read = set(re.findall(r"wattlens_(\w+)", "".join(path.read_text() for path in files)))
    hidden = {signal.name for signal in CATALOGUE if not shows_family(signal.name)}
    assert hidden
    assert not hidden & read
    assert {"gpu_power_watts", "gpu_ecc_errors_total"} <= read


def test_a_slow_period_or_none_is_taken_and_a_fast_one_refused() -> None:
    text = "sampling: {{health_period_s: {}}}"
    for seconds in (0, 10, 300):
        assert parse(text.format(seconds).encode()).sampling.health_period_s == seconds
    for seconds in (1, 9.9):
        assert "at least 10" in refusal(parse, text.format(seconds).encode())
