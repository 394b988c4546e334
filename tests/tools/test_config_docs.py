"""The key tables of docs/agent.md are those of the model, and every key is explained."""

from pathlib import Path

import pytest

from energy_agent.config import agent
from energy_agent.site.config.site import site_model
from tools.config_docs import BEGIN, END, replaced, tables

PAGE = Path(__file__).parents[2] / "docs/agent.md"


def test_the_page_is_fresh() -> None:
    assert replaced(PAGE.read_text()) == PAGE.read_text(), "write it anew: make docs"


def test_the_page_of_the_site_is_fresh_and_explains_every_key() -> None:
    page = PAGE.with_name("site.md").read_text()
    assert replaced(page, site_model()) == page, "write it anew: make docs"
    rows = [line.split(" | ") for line in tables(site_model()).splitlines() if line.startswith("| `")]
    assert all(row[3].removesuffix(" |") for row in rows)
    keys = {row[0].removeprefix("| ").strip("`") for row in rows}
    assert {"id", "role", "accuracy_percent", "modbus.host", "snmp.host", "time_zone"} <= keys


def test_every_key_has_a_row_with_a_meaning() -> None:
    rows = [line.split(" | ") for line in tables().splitlines() if line.startswith("| `")]
    assert all(row[3].removesuffix(" |") for row in rows)
    keys = {row[0].removeprefix("| ").strip("`") for row in rows}
    assert {"period_s", "nvml.on_start_failure", "groups[].devices", "blocks.settle_s", "listen"} <= keys
    for section in agent.Config.model_fields:
        assert f"### `{section}`" in tables()


def test_defaults_and_limits_are_those_of_the_model() -> None:
    assert f"| `period_s` | number 0.05 to 60 | `{agent.Sampling().period_s:g}` |" in tables()
    assert f"| `listen` | text | `{agent.Web().listen}` |" in tables()


def test_a_page_without_markers_is_refused() -> None:
    assert replaced(f"a\n{BEGIN}old\n{END}b\n") == f"a\n{BEGIN}{tables()}{END}b\n"
    with pytest.raises(ValueError, match="keys: begin"):
        replaced("nothing")
