"""Health in the configuration: how often, and what costs extra."""

from energy_agent.config.agent import Config, parse
from energy_agent.config.metrics_page import DETAILS
from energy_agent.core.catalogue.node import CATALOGUE
from energy_agent.core.catalogue.selection import Selection
from tests.support import refusal


def test_by_default_health_is_read_slowly_and_what_costs_extra_is_off() -> None:
    config = Config()
    assert config.sampling.health_period_s == 60
    assert not config.sources.nvml.gpm
    assert not config.sources.nvml.pcie_throughput
    selection = config.web.metrics.selection
    assert {signal.name for signal in CATALOGUE if not selection.shows_family(signal.name)} == set(DETAILS)
    assert parse(b"web: {metrics: {exclude: []}}").web.metrics.selection == Selection()


def test_a_slow_period_or_none_is_taken_and_a_fast_one_refused() -> None:
    text = "sampling: {{health_period_s: {}}}"
    for seconds in (0, 10, 300):
        assert parse(text.format(seconds).encode()).sampling.health_period_s == seconds
    for seconds in (1, 9.9):
        assert "at least 10" in refusal(parse, text.format(seconds).encode())
