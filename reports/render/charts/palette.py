"""Colours of the report: one accent, dark text, and fills that differ by hatching as well as by colour, for a print in grey.

Line colours are the blue, vermilion, green and purple that Okabe and Ito chose for colour-blind readers ("Color Universal
Design", 2008), darkened until they have the contrast of text (WCAG 2.2, 1.4.3: 4.5 to 1 on white).
"""

from typing import NamedTuple

INK = "#14232b"
SOFT = "#52626a"
RULE = "#d5dde1"
TINT = "#f3f7f7"
ACCENT = "#0f766e"
WARN = "#92400e"
PAPER = "#ffffff"


class Fill(NamedTuple):
    """How a shape is filled, in matplotlib's words."""

    facecolor: str
    edgecolor: str
    hatch: str = ""


KINDS = {
    "active": Fill(ACCENT, "#0b3b37"),
    "idle": Fill("#cfe8e4", ACCENT, "////"),
    "unheld": Fill("#eef1f3", "#52626a", "++"),
    "unattributed": Fill("#fdf0dc", "#b45309", "xxxx"),
    "host": Fill("#dbe7f5", "#1d4e89", "\\\\\\\\"),
    "overhead": Fill("#efe6f4", "#6b3d8f", "----"),
    "other": Fill("#ffffff", "#52626a", "||||"),
}
"""Fills of the parts of bars, by kind."""

LEVEL = Fill(ACCENT, "#0b3b37")
RISE = Fill("#fbe3d6", "#a63d00", "////")
FALL = Fill("#dbe7f5", "#1d4e89", "\\\\\\\\")
ABSENT = Fill(PAPER, "#9aa7ad", "////")

LINES = (
    (ACCENT, ()),
    ("#a63d00", (6.0, 3.0)),
    ("#1d4e89", (2.0, 2.0)),
    ("#6b3d8f", (8.0, 2.0, 2.0, 2.0)),
    ("#14232b", (4.0, 1.5)),
    ("#7a5200", (1.0, 2.5)),
)
"""Colour and dashes of each series in turn."""

HEAT = ("#f1f7f6", "#cfe6e2", "#a9d2cb", "#7fbab1", "#549f95", "#2f8279", "#12645c", "#04463f")
"""Colours from low to high; lightness falls step by step, so a greyscale print shows the same order."""
