"""The allow-list and the knee table: accepted files, and the error line for each invalid one."""

from pathlib import Path

import pytest

from dvfs import knees
from dvfs.actuator import allow_list
from dvfs.types import DeviceLimits
from energy_agent.core.errors import UsageError


def test_first_rule_that_names_a_device_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "kill_switch: /run/off\nallow:\n- {devices: [GPU-a, 1], knobs: [power], power_w: [300, 500]}\n"
        "- {devices: all, knobs: [clock], baseline: [210, 1980], clock_mhz: [1005, 1980]}\n"
    )
    file = allow_list.load(path)
    assert file.kill_switch == Path("/run/off")
    power = DeviceLimits(frozenset({"power"}), None, (300_000, 500_000), None)
    assert file.allow.limits("GPU-a", 7) == file.allow.limits("GPU-b", 1) == power
    assert file.allow.limits("GPU-c", 2) == DeviceLimits(frozenset({"clock"}), (1005, 1980), None, (210, 1980))
    assert allow_list.parse(None, "x").limits("GPU-a", 0) == DeviceLimits()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alow: []", "unknown key 'alow'; did you mean 'allow'?"),
        ("allow: {}", "allow: expected a list"),
        ("allow: [1]", r"allow\[0\]: expected a mapping"),
        ("allow: [{device: all, knobs: [power]}]", "unknown key 'device'; did you mean 'devices'?"),
        ("allow: [{devices: all, knobs: [fan]}]", r"allow\[0\].knobs: expected a list of values from power, clock"),
        ("allow: [{devices: all, knobs: [clock]}]", r"allow\[0\].baseline"),
        ("allow: [{devices: all, knobs: [power], power_w: [5, 3]}]", r"allow\[0\].power_w: expected \[low, high\]"),
        ("allow: [{devices: some, knobs: [power]}]", r"allow\[0\].devices"),
        ("allow: [{devices: all, knobs: [clock], baseline: locked}]", "or 'unlocked'"),
        ("kill_switch: off", "kill_switch: expected the absolute path"),
        ("[", "is not valid YAML"),
        ("allow: []\nallow: []", "'allow' is a duplicate"),
        ("allow: &a []\nkill_switch: *a", "alias"),
        ("- x", "expected a mapping"),
    ],
)
def test_wrong_files_name_the_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says) as error:
        allow_list.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "clock"),
    [("NVIDIA H100 80GB HBM3", 1005), ("NVIDIA H100 PCIe", 1005),
     ("NVIDIA A100-SXM4-80GB", 1020), ("Tesla V100-SXM2-16GB", 945),
     ("NVIDIA A40", 1260), ("NVIDIA H200", 1005), ("NVIDIA GeForce GTX 1080", None)],
)  # fmt: skip
def test_knees_by_device_name_and_each_with_its_source(name: str, clock: int | None) -> None:
    row = knees.find(knees.load(), name)
    assert (row and row.knee_mhz) == clock
    for row in knees.load():
        assert 100 <= row.knee_mhz <= 5000
        assert all([row.sku, row.source, row.match, *row.match])
        assert row.basis in ("measured", "fitted", "assumed")
