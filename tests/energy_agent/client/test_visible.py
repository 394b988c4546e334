"""CUDA_VISIBLE_DEVICES as CUDA reads it."""

import pytest

from energy_agent.client.visible import visible_devices
from energy_agent.core.errors import WattlensError

A, B, C = "GPU-aa11", "GPU-ab22", "GPU-cc33"


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        (None, [A, B, C]),
        ("", []),
        ("2,0", [C, A]),
        ("0, 1", [A, B]),
        ("1,7,0", [B]),
        ("-1", []),
        ("GPU-cc,0", [C, A]),
        ("MIG-1234", ["MIG-1234"]),
    ],
)
def test_the_list_ends_where_cuda_ends_it(setting, wanted):
    assert visible_devices(setting, [A, B, C]) == wanted


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("99", "'99' names no GPU of this machine, which has 3"),
        ("99,0", "'99' names no GPU of this machine, which has 3"),
        ("-2", "'-2' names no GPU"),
        ("GPU-a", "'GPU-a' fits 2 GPUs"),
        ("0,0", "'0' twice"),
        ("0,GPU-aa", "'GPU-aa' twice"),
        ("all", "'all' names no GPU"),
    ],
)
def test_a_mistake_that_leaves_no_gpu_is_named(setting, said):
    with pytest.raises(WattlensError, match="CUDA_VISIBLE_DEVICES") as caught:
        visible_devices(setting, [A, B, C])
    assert said in str(caught.value)
    assert "CUDA sees no GPU" in str(caught.value)


def test_without_a_gpu_no_entry_is_to_blame():
    assert visible_devices("0", []) == []
