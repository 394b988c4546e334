"""Laws of the screen at many sizes: never wider or higher than the window, no row lost without a count, safe with any name."""

import re
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.text import is_printable, printable
from tests.snapshots import Player
from tests.wattlens.top.frames import add_local, play
from wattlens.top.draw import GPU_ORDERS, HELP, ViewSettings, clamp_scroll, draw, draw_details, list_absent, list_keys
from wattlens.top.frame import MigInstance, ProcessStatus, TopFrame
from wattlens.top.graph import ASCII_BLOCKS, draw_area
from wattlens.top.text import Line, bytes_text, cell_width, clock, quantity

SIZES = ((80, 24), (160, 50), (45, 24), (45, 60), (80, 60), (60, 12), (20, 3), (250, 70), (100, 8))
NODES = ((3, 0), (8, 2), (16, 4))


@cache
def play_node(gpus: int = 8, lost: int = 0, processes: int = 3) -> TopFrame:
    player = Player(gpus=gpus, extra=4, lost=set(range(1, 1 + lost)))
    return add_local(play(player), processes)


def text_of(lines: list[Line]) -> str:
    return "\n".join("".join(text for _, text in line) for line in lines)


def with_absences(frame: TopFrame) -> TopFrame:
    absent = ("memory_temperature_c: NOT_SUPPORTED", "nvlink_links: NOT_SUPPORTED", "power_mw: NO_PERMISSION")
    gpus = tuple(replace(g, absent=absent if g.gpu != "5" else (*absent, "sm_clock_mhz: UNKNOWN")) for g in frame.gpus)
    watts = (("rapl dram-0", 31.0), ("rapl package-0", 242.0), ("redfish node", 6120.0))
    return replace(frame, gpus=gpus, node=replace(frame.node, other_w=watts, boundary="node"))


VIEWS = st.builds(
    ViewSettings,
    order=st.sampled_from(sorted(GPU_ORDERS)),
    selected=st.sampled_from(
        ["", "gpu GPU-00000001-0000-4000-8000-000000000000", "workload chat", "process 4001 1 ", "gpu gone"]
    ),
    opened=st.booleans(),
    scroll=st.integers(0, 99),
    paused=st.booleans(),
    help=st.booleans(),
    trouble=st.sampled_from(["", "", "no response in time"]),
    unicode=st.booleans(),
)


@pytest.mark.smoke
@given(st.sampled_from(NODES), st.integers(0, 40), st.integers(20, 250), st.integers(1, 80), VIEWS)
def test_a_screen_fits_its_window(node: tuple[int, int], processes: int, width: int, height: int, view: ViewSettings) -> None:
    frame = play_node(*node, processes)
    lines = draw(frame, view, width, height)
    assert len(lines) == height
    assert max(cell_width("".join(text for _, text in line)) for line in lines) <= width
    assert clamp_scroll(frame, view, width, height) <= view.scroll


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("processes", [0, 3, 40])
def test_what_has_no_room_is_counted(width: int, height: int, processes: int) -> None:
    """Rows on the screen and the counts of the others are all rows there are, for each table that has a line."""
    frame = play_node(16, 3, processes)
    text = text_of(draw(frame, ViewSettings(), width, height))
    hidden = {noun: int(count) for count, noun in re.findall(r"^\+(\d+) more (\w+)", text, re.MULTILINE)}
    if "lines" in hidden or height < 12:  # not even the head has room
        assert re.search(r"^\+\d+ more", text, re.MULTILINE)
        return
    gpus = len(re.findall(r"^ +\d+ (?:DOWN|.*\d+/\d+)", text, re.MULTILINE))
    assert gpus + hidden.get("GPUs", 0) == len(frame.gpus)
    visible_count = sum(bool(re.search(rf"^{re.escape(w.name)} ", text, re.MULTILINE)) for w in frame.workloads)
    assert visible_count + hidden.get("workloads", 0) == len(frame.workloads)
    pids = len(re.findall(r"^ *\d+ +40\d\d ", text, re.MULTILINE))
    assert pids + hidden.get("processes", 0) == processes


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_row_can_be_selected_and_is_then_on_the_screen(width: int, height: int) -> None:
    frame = play_node(16, 2, 12)
    for keys in list_keys(frame, ViewSettings()):
        for key in keys:
            lines = draw(frame, ViewSettings(selected=key), width, height)
            selected = ["".join(text for _, text in line) for line in lines if line and line[0][0] == "selected"]
            assert len(selected) == 1 or height <= 24, key
            if selected and key.startswith("process"):
                assert key.split()[1] in selected[0]


def test_a_large_window_is_used_to_its_last_line() -> None:
    lines = draw(play_node(), ViewSettings(), 160, 50)
    blank = [n for n, line in enumerate(lines) if not "".join(text for _, text in line)]
    assert len(blank) <= 3  # between tables
    assert "Mean utilisation" in text_of(lines)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (45, 24)])
def test_the_facts_of_a_node_are_seen_at_every_size(width: int, height: int) -> None:
    text = text_of(draw(with_absences(play_node()), ViewSettings(), width, height))
    assert "boundary: node" in text
    assert "redfish node 6120 W" in text
    assert "H100 80GB HBM3" in text
    assert "host CPU 23%" in text
    assert "12/251 GiB" in text
    assert "NO_PERMISSION" in text


def test_a_wide_screen_has_every_column() -> None:
    text = text_of(draw(play_node(), ViewSettings(), 250, 50))
    for word in (
        "NAME",
        "W/LIMIT",
        "MEMORY",
        "MHZ/MAX",
        "ECC",
        "POWER HISTORY",
        "J/TOKEN",
        "J/STEP",
        "USER",
        "COMMAND",
        "driver 570.00",
    ):
        assert word in text
    assert "user-1" in text
    assert "python train.py --rank 1" in text


def test_columns_without_room_take_a_second_line_in_a_high_window() -> None:
    low, high = (text_of(draw(play_node(), ViewSettings(), 45, height)) for height in (24, 70))
    assert "MEMORY" not in low
    assert "MEMORY" in high
    assert "WHY SLOWER" in high


def test_mig_instances_are_below_their_gpu_and_in_its_details() -> None:
    frame = play_node()
    mig = tuple(MigInstance(f"MIG-{n}", "3g.40gb" if n < 2 else "1g.10gb", str(n), "0") for n in range(3))
    busy = ProcessStatus(("2",), 77, "ana", "python infer.py", 2.0**30, "1")
    frame = replace(frame, gpus=tuple(replace(g, mig=mig if g.gpu == "2" else ()) for g in frame.gpus),
                    local=replace(frame.local, processes=(busy,)))  # fmt: skip
    text = text_of(draw(frame, ViewSettings(), 80, 40))
    assert "MIG: 3g.40gb #0 #1, 1g.10gb #2" in text
    assert "3 instances" in text_of(draw(frame, ViewSettings(), 30, 40))
    details = text_of(draw_details(frame, ViewSettings(selected=f"gpu {frame.gpus[2].uuid}", opened=True), 100))
    assert all(f"MIG-{n}" in details for n in range(3))
    assert "infer.py" in details


def test_details_have_what_a_row_has_no_room_for() -> None:
    frame = with_absences(play_node())
    gpu, workload, process = (
        text_of(draw_details(frame, ViewSettings(selected=key, opened=True), 80))
        for key in (f"gpu {frame.gpus[5].uuid}", "workload train", "process 4001 1 ")
    )
    for word in (
        frame.gpus[5].uuid,
        "1 uncorrected, - corrected",
        "sm clock mhz: UNKNOWN",
    ):
        assert word in gpu
    assert "namespace        research" in workload
    assert "per step" in workload
    assert "python train.py --rank 1 --data /mnt/data" in process


@pytest.mark.parametrize("opened", [False, True])
def test_without_block_characters_everything_is_ascii(opened: bool) -> None:
    frame = play_node(processes=3)
    for key in (key for keys in list_keys(frame, ViewSettings()) for key in keys):
        view = ViewSettings(selected=key, opened=opened, unicode=False)
        assert text_of(draw(frame, view, 160, 80)).isascii(), key


def test_details_of_a_row_that_is_gone_give_the_tables_back() -> None:
    view = ViewSettings(selected="process 1 0 ", opened=True)
    assert "WORKLOAD" in text_of(draw(play_node(), view, 80, 24))


def test_processes_of_another_machine_are_absent_with_the_reason() -> None:
    text = text_of(draw(play(Player()), ViewSettings(), 80, 24))
    assert "Processes: no data (not read yet)" in text
    assert "host: no data (not read yet)" in text


@pytest.mark.parametrize(("lost", "words"), [
    (set(), "Workloads: none"), ({0, 1, 2}, "Workloads: unknown"),
])  # fmt: skip
def test_no_workload_is_reported_only_if_it_is_known(lost: set[int], words: str) -> None:
    frame = replace(play(Player(gpus=3, lost=lost)), workloads=())
    assert words in text_of(draw(frame, ViewSettings(), 80, 24))


def test_unsupported_readings_are_not_problems() -> None:
    frame = with_absences(play_node())
    screen, printed = (text_of(draw(frame, ViewSettings(), 100, height)) for height in (40, None))
    assert "memory temperature" not in screen
    assert "GPU 0-7: no memory temperature, nvlink links (NOT_SUPPORTED)" in printed
    for text in (screen, printed):
        assert text.count("GPU 0-7: no power (NO_PERMISSION)") == 1
        assert "GPU 5: no sm clock (UNKNOWN)" in text


@given(st.lists(st.lists(st.sampled_from(["a_c: NOT_SUPPORTED", "a_c: UNKNOWN", "b_mw: UNKNOWN"]), unique=True), max_size=9))
def test_each_absent_reading_is_listed_once(absent: list[list[str]]) -> None:
    gpu = play_node().gpus[0]
    gpus = [replace(gpu, gpu=str(n), absent=tuple(a)) for n, a in enumerate(absent)]
    listed = set()
    for line in [*list_absent(gpus, without=("NOT_SUPPORTED",)), *list_absent(gpus, only=("NOT_SUPPORTED",))]:
        head, _, rest = line.partition(": no ")
        names, _, reason = rest.rstrip(")").partition(" (")
        for part in head.removeprefix("GPU ").split(","):
            first, _, last = part.partition("-")
            for number in range(int(first), int(last or first) + 1):
                for name in names.split(", "):
                    assert (number, name, reason) not in listed
                    listed.add((number, name, reason))
    assert listed == {
        (n, a.partition(": ")[0].partition("_")[0], a.partition(": ")[2]) for n, each in enumerate(absent) for a in each
    }


@given(st.text(max_size=60), st.sampled_from([(80, 24), (45, 40), (160, 50)]))
def test_a_name_stays_in_its_column_and_out_of_the_terminal(name: str, size: tuple[int, int]) -> None:
    safe_name = printable(name)
    frame = play_node()
    gpus = tuple(replace(g, workloads=(safe_name,)) for g in frame.gpus)
    workloads = tuple(replace(w, name=safe_name, labels=(("pod", safe_name),)) for w in frame.workloads[:1])
    processes = (ProcessStatus(("0",), 4000, safe_name, safe_name, 1.0),)
    frame = replace(frame, gpus=gpus, workloads=workloads, local=replace(frame.local, processes=processes))
    for view in (ViewSettings(), *(ViewSettings(selected=k[0], opened=True) for k in list_keys(frame, ViewSettings()))):
        for line in draw(frame, view, *size):
            text = "".join(part for _, part in line)
            assert is_printable(text)
            assert rich_width(text) <= size[0]


def rich_width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def test_fault_colours_are_repeated_in_words() -> None:
    words = ("DOWN", "down:", "XID", "NO FRESH", "no ", "missing", "COMMITS", "WRITABLE")
    for line in draw(with_absences(play_node(8, 2)), ViewSettings(), 200, 50):
        for style, text in line:
            assert style not in ("bad", "warn") or any(word in text for word in words), text


def test_old_numbers_are_not_shown() -> None:
    text = text_of(draw(play_node(), ViewSettings(trouble="Connection refused"), 80, 24))
    assert "NO FRESH READING: Connection refused" in text
    assert "train" not in text


def test_help_is_whole_in_a_small_window_by_scrolling() -> None:
    lines = set()
    for scroll in range(len(HELP)):
        lines.update(text_of(draw(play_node(), ViewSettings(help=True, scroll=scroll), 80, 12)).split("\n"))
    assert set(HELP) <= lines


@pytest.mark.parametrize(("value", "text"), [
    (None, "-"), (0.0, "0 J"), (1.234, "1.23 J"), (12.34, "12.3 J"), (999.4, "999 J"), (1000.0, "1.00 kJ"),
    (123_456.0, "123 kJ"), (5e9, "5.00 GJ"),
])  # fmt: skip
def test_a_quantity_keeps_three_digits(value: float | None, text: str) -> None:
    assert quantity(value, "J") == text


def test_times_and_bytes_are_short() -> None:
    assert [clock(s) for s in (None, 12, 3723, 4 * 86_400, 90 * 3600)] == ["-", "0:12", "1:02:03", "4 d", "90:00:00"]
    assert [bytes_text(b) for b in (None, 5 * 2.0**20, 3.5 * 2**30, 66 * 2.0**30)] == ["-", "5 MiB", "3.5 GiB", "66 GiB"]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e4)), max_size=50), st.integers(1, 40), st.integers(1, 9), st.booleans())
def test_an_area_is_as_high_as_its_values(values: list[float | None], width: int, height: int, unicode: bool) -> None:
    lines = draw_area(values, width, height, 1e4, unicode=unicode)
    rows = ["".join(text for _, text in line) for line in lines]
    assert [len(row) for row in rows] == [width] * height
    assert unicode or set("".join(rows)) <= set(ASCII_BLOCKS)
    for place, value in enumerate(values[-width:][::-1]):
        filled = sum(row[width - 1 - place] != " " for row in rows)
        assert filled == (0 if value is None else max(1, -(-round(8 * height * value / 1e4) // 8)))


def test_workloads_of_a_gpu_without_energy_are_not_stated_as_none() -> None:
    gpu = replace(play_node().gpus[0], workloads=())
    assert (gpu.used_by, replace(gpu, energy_j=None).used_by) == ("none", "-")
    assert replace(gpu, workloads=("a", "b")).used_by == "a, b"
