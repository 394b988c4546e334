"""Health in the configuration: how often, and what costs extra."""

import pytest

from energy_agent.config.agent import Config, parse
from energy_agent.config.metrics_page import DETAILS
from energy_agent.core.catalogue.node import CATALOGUE
from energy_agent.core.catalogue.selection import Selection
from energy_agent.core.errors import UsageError


def test_by_default_health_is_read_slowly_and_what_costs_extra_is_off() -> None:
    config = Config()
    assert config.sampling.health_period_s == 60
    assert not config.sources.nvml.gpm
    assert not config.sources.nvml.pcie_throughput
    selection = config.web.metrics.selection
    assert {signal.name for signal in CATALOGUE if not selection.shows_family(signal.name)} == set(DETAILS)
    assert parse(b"web: {metrics: {exclude: []}}").web.metrics.selection == Selection()


@pytest.mark.parametrize("seconds", [0, 10, 300])
def test_a_slow_period_or_none_is_taken(seconds: int) -> None:
    assert parse(f"sampling: {{health_period_s: {seconds}}}".encode()).sampling.health_period_s == seconds


@pytest.mark.parametrize("seconds", [1, 9.9])
def test_a_fast_period_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="at least 10"):
        parse(f"sampling: {{health_period_s: {seconds}}}".encode())
