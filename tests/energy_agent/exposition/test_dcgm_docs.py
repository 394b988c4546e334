"""docs/dcgm.md: each counter of dcgm-exporter's files has one row, each name of ours in it is exported with those labels."""

import re
from pathlib import Path

from energy_agent.core.catalogue.node import BY_NAME, metric

PAGE = (Path(__file__).parents[3] / "docs/dcgm.md").read_text()
THEIRS = [
    line for line in (Path(__file__).parent / "dcgm_counters.txt").read_text().splitlines() if line and not line.startswith("#")
]
ROWS = re.findall(r"^\| `(DCGM_\w+)` \| (.+?) \| (.*?) ?\|$", PAGE, re.MULTILINE)
OURS = re.findall(r"(wattlens_\w+)(\{[^}]*\})?", PAGE)


def test_every_counter_of_theirs_has_one_row_with_metrics_of_the_catalogue_or_a_reason():
    assert len(THEIRS) == len(set(THEIRS)) > 50
    assert [name for name, _, _ in ROWS] == THEIRS
    for name, ours, change in ROWS:
        assert "wattlens_" in ours or (ours == "absent" and len(change) > 5), name
    for name, labels in OURS:
        signal = BY_NAME[name.removeprefix("wattlens_")]
        assert metric(signal.name) == name
        assert set(re.findall(r"(\w+)!?=", labels)) <= set(signal.labels), name


def test_values_of_labels_in_the_table_are_ones_that_are_shown():
    from energy_agent.core.energy import EVENT_REASONS
    from energy_agent.devices.nvml import health_abi
    from energy_agent.exposition.openmetrics import Format, render
    from tests.snapshots import Player

    values = set(re.findall(r'"([^"]*)"', render(Player().at(5), Format.TEXT).decode()))
    values |= {*EVENT_REASONS.values(), *health_abi.GPM_ACTIVITIES.values(), *health_abi.RECOVERY_ACTIONS}
    values |= {word for pair in health_abi.GPM_TRAFFIC.values() for word in pair} | {"sampled"}
    values |= {word for _, labels in health_abi.ECC_FIELDS.values() for word in labels}
    values |= set(health_abi.NVLINK_TOTAL_FIELDS.values()) | {w for _, ls in health_abi.MEMORY_FIELDS.values() for w in ls}
    for _, labels in OURS:
        assert set(re.findall(r'="([^"]*)"', labels)) <= values, labels
