"""Slurm's indexes against what slurmd 24.11 says of its devices, and lists as scontrol writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.owners.slurm.gres import NOT_TOLD, amounts, devices, gres_files, hosts, types

MINORS = {i: f"GPU-0000000{i}-0000-4000-8000-00000000000{i}" for i in range(4)}
# What slurmd said with DebugFlags=gres: the numbers of its devices in the order of the indexes.
SLURMD = {
    "one line": ("gpu:4", ["File=/dev/nvidia[0-3]"], [0, 1, 2, 3]),
    "not in order": ("gpu:4", ["File=/dev/nvidia[3,1,0,2]"], [3, 1, 0, 2]),
    "lines not in order": ("gpu:4", ["File=/dev/nvidia[2-3]", "File=/dev/nvidia[0-1]"], [2, 3, 0, 1]),
    "types as slurm.conf has them": (
        "gpu:b:2,gpu:a:2", ["Type=a File=/dev/nvidia[2-3]", "Type=b File=/dev/nvidia[0-1]"], [0, 1, 2, 3],
    ),
    "types mixed": (
        "gpu:b:2,gpu:a:2", [f"Type={kind} File=/dev/nvidia{i}" for i, kind in enumerate("abab")], [1, 3, 0, 2],
    ),
    "not the first": ("gpu:3", ["File=/dev/nvidia[1-3]"], [1, 2, 3]),
}  # fmt: skip


@pytest.mark.parametrize(("gres", "lines", "order"), SLURMD.values(), ids=SLURMD.keys())
def test_an_index_is_the_place_in_slurmds_list_not_the_device_number(gres, lines, order):
    text = (
        "\n".join(f"NodeName=gpu[10-20] Name=gpu {line}  # of the rack" for line in lines)
        + "\nNodeName=n1 Name=gpu File=/dev/x"
    )
    assert devices(gres, gres_files(text, "gpu17"), MINORS) == [MINORS[i] for i in order]


def test_without_files_the_order_is_the_device_numbers_where_all_gpus_are_slurms():
    assert gres_files("AutoDetect=nvml\nName=gpu Type=h100", "n") == []
    assert devices("gpu:h100:4(S:0-1)", [], MINORS) == list(MINORS.values())
    assert devices("gpu:7", [], MINORS) == [None] * 7  # MIG devices that slurmd found by itself
    assert devices("gpu:a:2,gpu:b:2", [], MINORS) == [None] * 4
    assert gres_files("Include /etc/slurm/more.conf", "n") is None


def test_a_mig_device_by_its_capability():
    text = "name=GPU multiplefiles=/dev/nvidia1,/dev/nvidia-caps/nvidia-cap22\nName=gpu File=/dev/x"
    caps = "gpu1/gi2/access 21\ngpu1/gi2/ci0/access 22\n"
    assert devices("gpu:2", gres_files(text, "n"), MINORS, caps) == [f"MIG-{MINORS[1]}/2/0", None]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("gpu:2(IDX:0-1)", {("gpu", 0): 1, ("gpu", 1): 1}),
        ("gpu:a:1(IDX:0),gpu:4090:2(IDX:2,4)", {("gpu", 0): 1, ("gpu", 2): 1, ("gpu", 4): 1}),
        ("gpu:(null):1(IDX:3),shard:(null):3(0/4,0/4,0/4,3/4)", {("gpu", 3): 1, ("shard", 3): 3}),
        ("gpu:0(IDX:N/A),shard:0(0/4,0/4)", {}),
        ("gpu:2,nic:1(IDX:0)", {("gpu", NOT_TOLD): 2}),
        ("mps:50(50/100,0/100)", {("mps", 0): 50}),
        ("", {}),
    ],
)
def test_what_is_given_away(text, counts):
    assert amounts(text) == counts


def test_a_node_has_the_shares_of_each_type_apart():
    used = "gpu:b:1(IDX:3),shard:a:0(0/2,0/2),shard:b:2(2/2,0/2)"
    assert amounts(used, of_node=True) == {("gpu", 3): 1, ("shard", 2): 2}


def test_types_of_a_node_in_order():
    assert types("gpu:b:2(S:0),gpu:a:1(S:0,1),shard:8,gpu:4090:2") == [("b", 2), ("a", 1), ("4090", 2)]
    assert types("gpu:(null):4") == types("gpu:4") == [("", 4)]


def test_lists_of_names_as_scontrol_show_hostnames_expands_them():
    assert hosts("gpu[01-03,7],login") == ["gpu01", "gpu02", "gpu03", "gpu7", "login"]
    assert hosts("r[0-1]n[8-10]") == ["r0n8", "r0n9", "r0n10", "r1n8", "r1n9", "r1n10"]


@pytest.mark.parametrize("text", ["n[0-99999999]", "n[3-1]", "n[a-b]", "n[1-2][0-9999][0-9999]"])
def test_a_list_without_end_is_refused(text):
    with pytest.raises(ValueError, match=r"range|more than"):
        hosts(text)


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["gpu", ":", "(", ")", "IDX:", "0-1", ",", "9" * 12, "/", "[", "]"])).map("".join)
)
def test_any_text_is_read_or_refused(text):
    for read in (amounts, types, hosts, lambda t: gres_files("Name=gpu File=" + t, "n")):
        try:
            read(text)
        except ValueError:
            continue
