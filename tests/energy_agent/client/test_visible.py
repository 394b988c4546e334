"""CUDA_VISIBLE_DEVICES as CUDA reads it."""

import pytest

from energy_agent.client.visible import visible_devices

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
        ("GPU-a", []),
        ("MIG-1234", ["MIG-1234"]),
        ("0,0", []),
    ],
)
def test_the_list_ends_where_cuda_ends_it(setting, wanted):
    assert visible_devices(setting, [A, B, C]) == wanted
