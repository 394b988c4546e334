"""Whatever a configuration file holds, reading it gives a Config or a UsageError with a line for each fault."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.config import agent
from energy_agent.config.messages import LINES_MAX
from energy_agent.core.errors import UsageError
from tests.support import examples

law = settings(deadline=None, max_examples=examples(250))
KEYS = [
    "node",
    "sampling",
    "sources",
    "nvml",
    "holders",
    "tokens",
    "ledger",
    "web",
    "dvfs",
    "period_s",
    "listen",
    "groups",
    "blocks",
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.binary(max_size=8)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8) | st.integers(), inner, max_size=5)
    ),
    max_leaves=20,
)
TOKENS = [
    *KEYS, "a", "1", ".inf", "0x1f", "~", ": ", "- ", "{", "}", "[", "]", ",", "\n", "\n  ", "'", '"', "|", ">", "&a", "*a",
    "<<", "!!int", "!!timestamp", "!!binary", "!!set", "!!omap", "!!float", "? ", "#", "%", "---", "...", "\t", "1:2:3.4",
    "2001-01-01", "=", "!",
]  # fmt: skip


def read(raw):
    try:
        assert isinstance(agent.parse(raw, "file"), agent.Config)
        return
    except UsageError as error:
        lines = str(error).split("\n")
    assert len(lines) <= LINES_MAX + 1
    for line in lines:
        assert line.startswith("file")
        assert len(line) < 2_000


@law
@given(st.binary(max_size=200))
def test_any_bytes(raw):
    read(raw)


@pytest.mark.smoke
@law
@given(trees)
def test_any_tree_of_keys_and_values(tree):
    read(yaml.safe_dump(tree).encode())


@law
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join))
def test_any_row_of_yaml_tokens(text):
    read(text.encode())


@law
@given(
    st.sampled_from(["int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "pairs", "seq", "map", "str"]),
    st.text(max_size=12),
)
def test_any_tag_on_any_text(tag, text):
    read(f"a: !!{tag} {text!r}".encode("utf-8", "surrogatepass"))
