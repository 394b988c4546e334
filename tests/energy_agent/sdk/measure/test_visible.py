"""CUDA_VISIBLE_DEVICES as CUDA reads it."""

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import WattlensError
from energy_agent.sdk.measure.visible import describe_gpus, named_devices, visible_devices
from tests.support import refusal

A, B, C = "GPU-aa11", "GPU-ab22", "GPU-cc33"


def test_the_list_ends_where_cuda_ends_it():
    for setting, selected in {
        None: [A, B, C], "": [], "2,0": [C, A], "0, 1": [A, B], "1,7,0": [B], "-1": [], "GPU-cc,0": [C, A],
        "MIG-1234": ["MIG-1234"],
    }.items():  # fmt: skip
        assert visible_devices(setting, [A, B, C]) == selected, setting
    assert visible_devices("0", []) == []


def test_a_mistake_that_leaves_no_gpu_is_named():
    for setting, detail in {
        "99": "'99' is not a GPU of this machine, which has 3", "99,0": "'99' is not a GPU of this machine, which has 3",
        "-2": "'-2' is not a GPU", "GPU-a": "'GPU-a' fits 2 GPUs", "0,0": "'0' twice", "0,GPU-aa": "'GPU-aa' twice",
        "all": "'all' is not a GPU",
    }.items():  # fmt: skip
        line = refusal(visible_devices, setting, [A, B, C], error=WattlensError)
        assert all(words in line for words in ("CUDA_VISIBLE_DEVICES", detail, "CUDA sees no GPU")), setting


def test_named_gpus_are_indices_ranges_and_uuids_and_nothing_else():
    gpus = [A, B, C]
    for names, selected in (
        ("0", [A]), ("2,0", [A, C]), (" 0 , 1 ", [A, B]), ("0-2", gpus), ("1-2,GPU-aa", gpus), ("GPU-cc", [C]),
        ("MIG-7,0", [A, "MIG-7"]), ("0-0", [A]),
    ):  # fmt: skip
        assert named_devices(names, gpus) == selected, names
    for names in ("", ",", "3", "0-3", "2-1", "-1", "0-", "0--1", "GPU-a", "GPU-x", "gpu", "0,0", "0-1,1", "GPU-aa,0", "\u0661",
                  "99999999999999999999", "0.5", "all", "0;1", "1e0", A * 1000):  # fmt: skip
        assert "GPUs " in refusal(named_devices, names, gpus, error=WattlensError)
    assert refusal(named_devices, "0", [], error=WattlensError)


def test_mistakes_in_a_list_of_gpus_are_named():
    for names, words in {
        "1,,2": "expected indices, ranges and UUIDs, such as 0,2-3, got ''", "0,two": "got 'two'", "-1": "got '-1'",
        "2-1": "'2-1' is a descending range, expected '1-2'",
        "0-99": "'0-99' reaches beyond the GPUs of this machine, which has 3 GPUs, numbered from 0",
        "3": "'3' is not a GPU of this machine, which has 3 GPUs", "GPU-a": "'GPU-a' fits 2 GPUs", "0,0": "is listed twice",
    }.items():  # fmt: skip
        assert words in refusal(named_devices, names, [A, B, C], error=WattlensError), names


@given(st.sets(st.integers(0, 15), min_size=1), st.integers(17, 20))
def test_a_description_names_exactly_the_gpus_that_it_is_of(indices, count):
    gpus = [f"GPU-{index}" for index in range(count)]
    word, _, names = describe_gpus(indices, count).partition(" ")
    assert word == ("GPUs" if len(indices) > 1 else "GPU")
    assert named_devices(names, gpus) == [gpus[index] for index in sorted(indices)]
    assert [describe_gpus(range(n), n) for n in (1, 2, 8)] == ["GPU 0", "all 2 GPUs", "all 8 GPUs"]
