"""Fixtures of the tests of energy_agent."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from energy_agent.sim.gpu.boards import BoardSpec
from tests.doubles.gpus import Gpus


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gpus]]:
    """Makes GPUs in the test's own folder, which take the place of those before them, and closes them."""
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    opened: list[Gpus] = []

    def make(*boards: str | BoardSpec, seed: int = 5) -> Gpus:
        while opened:
            opened.pop().close()
        opened.append(Gpus(tmp_path, *boards, seed=seed))
        return opened[-1]

    yield make
    while opened:
        opened.pop().close()
