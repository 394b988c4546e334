"""Draw docs/pictures/energy-path.svg: `python -m tools.energy_path_picture docs/pictures/energy-path.svg`.

Each stage shows the same second of a GPU which two pods share, as it is stored there.
"""

import sys
from pathlib import Path

from tools.diagram import Arrow, Box, Diagram, Group, Label

_BEFORE_MJ, _NOW_MJ = 8_213_004_117, 8_213_694_529
ENERGY_UJ = 1000 * (_NOW_MJ - _BEFORE_MJ)
CHAT_UJ = ENERGY_UJ * 3 // 5
CODER_UJ = ENERGY_UJ - CHAT_UJ
CELL_UJ = 900 * CHAT_UJ
"""Of 15 minutes like this second."""

_X, _WIDTH, _EXAMPLE_X, _STEP = 40, 560, 250, 82


def _stage(place: int, kind: str, title: str, line: str, *example: str) -> Box:
    return Box(_X, 55 + _STEP * place, _WIDTH, kind, title, (line,), example, _EXAMPLE_X)


STAGES = (
    _stage(0, "outside", "NVML", "energy counter of the GPU", f"{_NOW_MJ:,} mJ"),
    _stage(1, "process", "Sample", "reading with its time", "12:04:31.004 UTC, 4711.902 s of boot,", f"{_NOW_MJ:,} mJ"),
    _stage(2, "process", "Interval", "energy between two samples", "1.000 s, method counter, gain 5 %,", f"{ENERGY_UJ:,} µJ"),
    _stage(
        3, "process", "Entries", "who used it, in which state",
        f"chat,  active  {CHAT_UJ:,} µJ", f"coder, active  {CODER_UJ:,} µJ",
    ),
    _stage(4, "store", "Journal", "SQLite on the node", "one transaction: the entries of", "all devices, the meters' states"),
    _stage(5, "store", "Cell", "sum over 15 minutes", "12:00, chat, active, counter", f"{CELL_UJ:,} µJ"),
    _stage(6, "store", "Segment", "file of an hour", "lab_node-1_00000012.jsonl.gz,", "hash of segment 00000011"),
)  # fmt: skip
LABELS = (
    "the reader process, once per second",
    "difference; bounds from the sensor's gain and ticks",
    "divided among pods, jobs and processes",
    "commit, once per second",
    "added up; open cells are rebuilt from the journal after a crash",
    "each hour, and when the agent ends",
)
_LIVE_Y, _RECORD_Y = STAGES[4].y, STAGES[6].y
GROUPS = (
    Group(20, 20, 600, 600, "GPU node"),
    Group(
        650, 20, 330, 128, "On the whole path",
        ("The data flows one way.", "Integers: the parts sum exactly to the interval.",
         "A killed process loses no committed second.", "A missing value has a reason; it is never 0."),
    ),
    Group(650, _LIVE_Y - 35, 330, 106, "Live"),
    Group(650, _RECORD_Y - 35, 330, 106, "Record"),
)  # fmt: skip
OUTPUTS = (
    Box(670, _LIVE_Y, 130, "output", "/metrics", ("committed sums",)),
    Box(830, _LIVE_Y, 130, "output", "Dashboards", ("Prometheus",)),
    Box(670, _RECORD_Y, 130, "store", "Days", ("verified Parquet",)),
    Box(830, _RECORD_Y, 130, "output", "Report", ("PDF, workbook",)),
)
BOXES = (*STAGES, *OUTPUTS)
ARROWS = (
    *(
        Arrow(((95, box.y + box.height), (95, box.y + _STEP)), Label(106, box.y + box.height + 20, label))
        for box, label in zip(STAGES, LABELS, strict=False)
    ),
    *(Arrow(((_X + _WIDTH, y + 25), (670, y + 25))) for y in (_LIVE_Y, _RECORD_Y)),
    *(Arrow(((800, y + 25), (830, y + 25))) for y in (_LIVE_Y, _RECORD_Y)),
)
DIAGRAM = Diagram(
    1000,
    640,
    "The way of one second of energy: NVML, sample, interval, entries, journal, cell, segment; /metrics, dashboards, report",
    GROUPS,
    BOXES,
    ARROWS,
)


def main() -> int:
    """Write the picture to the given path."""
    Path(sys.argv[1]).write_text(DIAGRAM.draw())
    return 0


if __name__ == "__main__":
    sys.exit(main())
