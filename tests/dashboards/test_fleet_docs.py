"""Prometheus reads each example of its configuration in docs/fleet.md."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support import need_prometheus, promtool_with

DOCS = (Path(__file__).parents[2] / "docs/fleet.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
EXAMPLES = [block for block in BLOCKS if block.startswith("# prometheus:")]


@pytest.mark.prometheus
@pytest.mark.parametrize("example", EXAMPLES, ids=[e.partition("\n")[0].removeprefix("# prometheus: ") for e in EXAMPLES])
def test_prometheus_reads_the_examples(example: str, tmp_path: Path) -> None:
    if "runtime:" in example:
        need_prometheus("the section `runtime`", (2, 53))
    path = tmp_path / "prometheus.yml"
    path.write_text(example)
    command = [*promtool_with("check", "config", "--syntax-only"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_there_is_an_example_for_each_store_and_every_block_is_yaml() -> None:
    assert len(EXAMPLES) >= 5
    for block in BLOCKS:
        assert yaml.safe_load(block)
