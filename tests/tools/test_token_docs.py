"""The page of inference servers has every server with every name, as declared; docs/tokens.md links to it."""

from pathlib import Path

import energy_agent.tokens.servers
from energy_agent.config import agent
from energy_agent.core import plugin
from energy_agent.tokens.discovery import KEYS
from tools.token_docs import tables

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/tokens.md").read_text()


def test_every_name_of_every_server_is_there() -> None:
    text = tables().replace("\\|", "|")
    for name, server in plugin.discover(energy_agent.tokens.servers).items():
        assert name == "mapping" or f"| `{name}` | {server.summary} |" in text
        assert all(f"`{each}`" in text for _, _, each in server.names())


def test_the_guide_links_to_the_page() -> None:
    assert "(../energy_agent/tokens/servers/README.md)" in GUIDE


def test_its_examples_are_configurations() -> None:
    blocks = [part.partition("```")[0] for part in GUIDE.split("```yaml\n")[1:]]
    first, second = (agent.parse(block.encode()) for block in blocks)
    assert first.tokens[0].server == "vllm"
    assert second.tokens[0].mapping is not None


def test_it_names_the_annotations() -> None:
    assert all(f"| `{key}` |" in GUIDE for key in KEYS)
