"""Frames: golden, never wider or higher than the terminal, safe with any name. Anew: python -m tests.wattlens.top.test_draw"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.snapshots import Player
from tests.wattlens.top.frames import played
from wattlens.top.draw import GPU_ORDERS, Look, clamp, draw, list_absent
from wattlens.top.facts import Facts
from wattlens.top.text import Line, quantity

GOLDEN = Path(__file__).parents[2] / "golden/top"
PAGES = {
    "3-gpus-80x24": (Player(gpus=3), Look(), 80, 24),
    "8-gpus-80x24": (Player(), Look(), 80, 24),
    "8-gpus-200x50": (Player(), Look(), 200, 50),
    "16-gpus-80x24": (Player(gpus=16, extra=3), Look(scroll=9), 80, 24),
    "16-gpus-2-lost-200x50": (Player(gpus=16, lost={2, 14}), Look(order="power"), 200, 50),
    "help-80x24": (Player(), Look(help=True), 80, 24),
    "no-answer-80x24": (Player(), Look(trouble="Connection refused"), 80, 24),
    "paused-60x12": (Player(), Look(paused=True), 60, 12),
    "meters-and-absences-80x24": (Player(gpus=16), Look(scroll=99), 80, 24),
    "meters-and-absences-100x30": (Player(), Look(details=True), 100, 30),
    "meters-and-absences-200x50": (Player(), Look(), 200, 50),
}


def facts_of(name: str) -> Facts:
    facts = played(PAGES[name][0])
    if not name.startswith("meters-and-absences"):
        return facts
    watts = (("rapl dram-0", 31.0), ("rapl dram-1", 30.0), ("rapl package-0", 242.0), ("rapl package-1", 239.0),
             ("redfish node", 6120.0))  # fmt: skip
    absent = ("memory_temperature_c: NOT_SUPPORTED", "nvlink_links: NOT_SUPPORTED", "power_mw: NO_PERMISSION")
    gpus = tuple(replace(g, absent=absent if g.gpu != "5" else (*absent, "sm_clock_mhz: UNKNOWN")) for g in facts.gpus)
    return replace(facts, node=replace(facts.node, other_w=watts, boundary="node"), gpus=gpus)


def text_of(lines: list[Line]) -> str:
    return "\n".join("".join(text for _, text in line).rstrip() for line in lines) + "\n"


def frame(name: str) -> str:
    _, look, width, height = PAGES[name]
    return text_of(draw(facts_of(name), look, width, height))


@pytest.mark.parametrize("name", PAGES)
def test_a_frame_is_as_it_was_reviewed(name: str) -> None:
    assert frame(name) == (GOLDEN / f"{name}.txt").read_text(), "look, then: python -m tests.wattlens.top.test_draw"


@pytest.mark.parametrize(
    ("lost", "words"), [(set(), "No workload holds a GPU."), ({0, 1, 2}, "Who holds them is not known: no GPU answers.")]
)
def test_no_workload_is_said_only_where_it_is_known(lost: set[int], words: str) -> None:
    facts = replace(played(Player(gpus=3, lost=lost)), workloads=())
    assert words in "\n".join("".join(text for _, text in line) for line in draw(facts, Look(), 80, 24))


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_boundary_is_seen_at_every_width(width: int) -> None:
    text = text_of(draw(facts_of("meters-and-absences-80x24"), Look(), width, 24))
    assert "boundary: node" in text
    assert "redfish node 6120 W" in text


def test_what_boards_lack_is_a_matter_of_details_and_what_can_be_mended_is_not() -> None:
    facts = facts_of("meters-and-absences-100x30")
    brief, long = (text_of(draw(facts, Look(details=details), 100)) for details in (False, True))
    assert "memory temperature" not in brief
    assert "GPU 0-7: no memory temperature, nvlink links (NOT_SUPPORTED)" in long
    for text in (brief, long):
        assert text.count("GPU 0-7: no power (NO_PERMISSION)") == 1
        assert "GPU 5: no sm clock (UNKNOWN)" in text


@given(st.lists(st.lists(st.sampled_from(["a_c: NOT_SUPPORTED", "a_c: UNKNOWN", "b_mw: UNKNOWN"]), unique=True), max_size=9))
def test_absences_of_any_gpus_are_each_told_once(absent: list[list[str]]) -> None:
    one = play_node(*NODES[0]).gpus[0]
    lines = [
        line
        for lacking in (False, True)
        for line in list_absent([replace(one, gpu=str(n), absent=tuple(a)) for n, a in enumerate(absent)], lacking=lacking)
    ]
    found = set()
    for line in lines:
        head, _, rest = line.partition(": no ")
        names, _, reason = rest.rstrip(")").partition(" (")
        for part in head.removeprefix("GPU ").split(","):
            first, _, last = part.partition("-")
            for gpu in range(int(first), int(last or first) + 1):
                for name in names.split(", "):
                    assert (gpu, name, reason) not in found
                    found.add((gpu, name, reason))
    assert found == {
        (n, a.partition(": ")[0].partition("_")[0], a.partition(": ")[2]) for n, each in enumerate(absent) for a in each
    }


def test_there_is_no_golden_frame_more() -> None:
    assert {p.stem for p in GOLDEN.iterdir()} == set(PAGES)


NODES = ((3, frozenset[int]()), (8, frozenset({1})), (16, frozenset({0, 15})))


@cache
def play_node(gpus: int, lost: frozenset[int]) -> Facts:
    return played(Player(gpus=gpus, extra=4, lost=set(lost)))


@given(st.sampled_from(NODES), st.integers(20, 250), st.integers(3, 70), st.sampled_from(sorted(GPU_ORDERS)),
       st.integers(0, 99), st.booleans(), st.sampled_from(["", "no answer in time"]))  # fmt: skip
def test_a_frame_fits_its_terminal(node, width, height, order, scroll, paused, trouble) -> None:
    facts = play_node(*node)
    look = Look(order, scroll, paused, trouble=trouble)
    lines = ["".join(text for _, text in line) for line in draw(facts, look, width, height)]
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert clamp(scroll, facts, look, width, height) <= scroll


@given(st.text(max_size=40))
def test_a_name_stays_in_its_column_and_out_of_the_terminal(name: str) -> None:
    from energy_agent.core.text import printable

    shown = printable(name)
    facts = play_node(*NODES[1])
    gpus = tuple(replace(g, holders=(shown,)) for g in facts.gpus)
    workloads = tuple(replace(w, name=shown) for w in facts.workloads)
    for line in draw(replace(facts, gpus=gpus, workloads=workloads), Look(), 80, 24):
        text = "".join(t for _, t in line)
        assert text.isprintable()
        assert _cells(text) <= 80


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def test_what_a_style_says_a_word_says() -> None:
    """Without colours the frame holds the same: every bad or warned line has a word for it."""
    facts = played(Player(lost={2}))
    words = ("DOWN", "down:", "XID", "NO FRESH PAGE", "has no", "not in these sums", "COMMITS", "CANNOT", "13")
    for line in draw(facts, Look(), 200, 50):
        for style, text in line:
            assert style not in ("bad", "warn") or any(word in text for word in words), text


def test_old_numbers_are_not_shown() -> None:
    facts = played(Player())
    text = "\n".join("".join(t for _, t in line) for line in draw(facts, Look(trouble="Connection refused"), 80, 24))
    assert "NO FRESH PAGE: Connection refused" in text
    assert "train" not in text


@pytest.mark.parametrize(("value", "text"), [
    (None, "-"), (0.0, "0 J"), (1.234, "1.23 J"), (12.34, "12.3 J"), (999.4, "999 J"), (1000.0, "1.00 kJ"),
    (123_456.0, "123 kJ"), (5e9, "5.00 GJ"),
])  # fmt: skip
def test_a_quantity_keeps_three_digits(value: float | None, text: str) -> None:
    assert quantity(value, "J") == text


def _pages() -> Iterator[tuple[str, str]]:
    return ((name, frame(name)) for name in PAGES)


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    for page_name, content in _pages():
        (GOLDEN / f"{page_name}.txt").write_text(content)
    sys.stdout.write(f"{len(PAGES)} frames in {GOLDEN}\n")
