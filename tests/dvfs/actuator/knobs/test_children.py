"""The children that call the driver: one that is slow to open it is waited for, not started over."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dvfs.actuator.knobs.children import ForkedKnobs
from dvfs.actuator.knobs.nvml import KnobError, KnobWrite
from energy_agent.devices.nvml.abi import NvmlError
from tests.doubles.actuator import FakeBoards
from tests.support import eventually


class SlowBoards(FakeBoards):
    """A driver that is open once the file `ready` exists, as one without persistence that initialises eight GPUs."""

    def __init__(self, path: Path, code: int = 0) -> None:
        super().__init__(path)
        self._folder, self._code = path.parent, code

    def init(self) -> None:
        with (self._folder / "opens").open("a") as file:
            file.write("x")
        while not (self._folder / "ready").exists():
            time.sleep(0.005)
        if self._code:
            raise NvmlError(self._code, "init")


@pytest.fixture
def make_knobs(tmp_path: Path) -> Iterator[Callable[..., ForkedKnobs]]:
    FakeBoards.create(tmp_path / "boards")
    all_knobs: list[ForkedKnobs] = []

    def make(code: int = 0) -> ForkedKnobs:
        all_knobs.append(ForkedKnobs(lambda: SlowBoards(tmp_path / "boards", code), tmp_path / "locks", timeout_s=0.1))
        return all_knobs[-1]

    yield make
    for knobs in all_knobs:
        knobs.close()


def attempt(call: Callable[[], object]) -> object:
    try:
        return call()
    except KnobError as error:
        return error.code


def test_a_driver_that_opens_slowly_is_opened_once(make_knobs: Callable[..., ForkedKnobs], tmp_path: Path) -> None:
    knobs = make_knobs()
    calls: dict[str, Callable[[], object]] = {
        "inventory": lambda: [listed.uuid for listed in knobs.inventory()],
        "read": lambda: knobs.read("GPU-0").power_limit_mw,
        "write": lambda: knobs.write({"GPU-1": [KnobWrite("power", 500_000, (700_000,))]})["GPU-1"][0].status,
    }
    for _ in range(4):
        assert {name: attempt(call) for name, call in calls.items()} == dict.fromkeys(calls, "timeout")
    (tmp_path / "ready").touch()
    assert FakeBoards(tmp_path / "boards").state("GPU-1")["writes"] == [], "nothing is written behind the caller's back"
    expected = {"inventory": ["GPU-0", "GPU-1"], "read": 700_000, "write": "ok"}
    assert {
        name: eventually(lambda c=call: (r := attempt(c)) != "timeout" and r, 10) for name, call in calls.items()
    } == expected
    assert (tmp_path / "opens").read_text() == "xxx", "one child for the listing and one per device"


def test_a_driver_that_does_not_open_is_opened_again(make_knobs: Callable[..., ForkedKnobs], tmp_path: Path) -> None:
    (tmp_path / "ready").touch()
    knobs = make_knobs(code=9)
    for count in (1, 2):
        assert eventually(lambda: (code := attempt(knobs.inventory)) != "timeout" and code, 10) == "driver_not_loaded"
        assert len((tmp_path / "opens").read_text()) >= count
