"""The key tables of docs/configuration.md explain every key."""

from energy_agent.config import agent
from tools.config_docs import agent_tables, site_tables


def _meanings(tables: str) -> dict[str, str]:
    rows = [line.split(" | ") for line in tables.splitlines() if line.startswith("| `")]
    return {
        key: row[3].removesuffix(" |") for row in rows for key in row[0].removeprefix("| `").removesuffix("`").split("`, `")
    }


def test_every_key_of_the_site_has_a_meaning() -> None:
    meanings = _meanings(site_tables())
    assert all(meanings.values())
    assert {"id", "role", "accuracy_percent", "modbus.host", "snmp.host", "time_zone"} <= set(meanings)


def test_every_key_of_the_agent_has_a_meaning() -> None:
    meanings = _meanings(agent_tables())
    assert all(meanings.values())
    assert {"period_s", "nvml.on_start_failure", "groups[].devices", "blocks.settle_s", "listen"} <= set(meanings)
    for section in agent.Config.model_fields:
        assert f"### `{section}`" in agent_tables()


def test_sibling_sections_share_the_row_of_a_key_with_one_meaning() -> None:
    meanings = _meanings(site_tables())
    assert "| `modbus.energy.address`, `modbus.power.address` |" in site_tables()
    assert {"modbus.energy.unit", "modbus.power.unit"} <= set(meanings), "their units differ, so each has a row"


def test_a_key_that_site_and_agent_share_appears_once() -> None:
    web = site_tables().partition("### `web`")[2].partition("\n### ")[0]
    assert "| `listen` |" in web, "its default differs"
    assert "| `bearer_token_file` |" not in web
    assert "(#web)" in web


def test_defaults_and_limits_are_those_of_the_model() -> None:
    assert f"| `period_s` | number 0.05 to 60 | `{agent.Sampling().period_s:g}` |" in agent_tables()
    assert f"| `listen` | text | `{agent.Web().listen}` |" in agent_tables()
