"""Draw docs/pictures/architecture.svg: `python -m tools.architecture_picture docs/pictures/architecture.svg`."""

import sys
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 1000, 640
_TEXT, _MUTED, _LINE = "#1f2933", "#52606d", "#7b8794"
_FILL = {"process": "#e3f2fd", "store": "#fff3d6", "outside": "#f1f3f5", "output": "#e6f4ea", "writer": "#fde8e8"}


class Box(NamedTuple):
    """A rectangle with a title and up to two lines below it; coordinates in pixels."""

    x: int
    y: int
    width: int
    kind: str
    title: str
    lines: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Of the rectangle, for its number of lines."""
        return 34 + 17 * len(self.lines)


GROUPS = (
    (20, 20, 600, 390, "GPU node"),
    (20, 430, 600, 190, "Building, one per site"),
    (650, 20, 330, 170, "Live"),
    (650, 210, 330, 410, "Record"),
)
BOXES = (
    Box(40, 55, 170, "outside", "Pods, jobs, processes", ("kubelet, Slurm, cgroups",)),
    Box(40, 120, 170, "outside", "Inference servers", ("token counters on /metrics",)),
    Box(40, 185, 170, "outside", "Training loops", ("wattlens.step, hooks",)),
    Box(40, 250, 170, "outside", "Node meters", ("RAPL, Redfish, IPMI",)),
    Box(40, 330, 170, "outside", "GPUs", ("NVML",)),
    Box(265, 110, 150, "process", "Agent", ("energy, owner, tokens;", "steering policy")),
    Box(265, 245, 150, "process", "Reader", ("child process, the", "only caller of NVML")),
    Box(460, 325, 140, "writer", "Actuator", ("optional; the only", "writer of settings")),
    Box(460, 110, 140, "store", "Ledger", ("journal, then signed", "hourly segments")),
    Box(40, 475, 170, "outside", "Building meters", ("Modbus, SNMP, Redfish",)),
    Box(40, 545, 170, "outside", "Grid, contracts, tariffs", ("site.yaml, hourly series",)),
    Box(265, 505, 150, "process", "Site process", ("PUE, carbon intensity",)),
    Box(460, 505, 140, "store", "Site ledger", ("same format",)),
    Box(670, 60, 130, "process", "Prometheus", ("rules and alerts",)),
    Box(830, 60, 130, "output", "Grafana", ("dashboards",)),
    Box(670, 125, 290, "output", "wattlens top, measure, usage", ()),
    Box(670, 255, 290, "store", "Object store or shared folder", ("shipped segments of all nodes and sites",)),
    Box(670, 345, 290, "store", "Compacted days", ("Parquet per site and UTC day; SQL",)),
    Box(670, 435, 290, "process", "Report", ("with org.xlsx: sites, teams, contracts, prices",)),
    Box(670, 535, 290, "output", "PDF, HTML, workbook, facts.json", ("manifest of hashes, signature",)),
)
# Each arrow is a polyline, with a label at the given point.
ARROWS: tuple[tuple[tuple[tuple[int, int], ...], tuple[int, int, str] | None], ...] = (
    (((210, 80), (245, 80), (245, 122), (265, 122)), None),
    (((210, 145), (235, 145), (235, 137), (265, 137)), None),
    (((210, 210), (235, 210), (235, 152), (265, 152)), None),
    (((210, 275), (245, 275), (245, 167), (265, 167)), None),
    (((210, 345), (340, 345), (340, 313)), (225, 338, "read, 1 Hz")),
    (((340, 245), (340, 178)), (348, 215, "readings")),
    (((415, 144), (460, 144)), None),
    (((437, 144), (437, 77), (670, 77)), (478, 70, "/metrics")),
    (((395, 178), (395, 205), (530, 205), (530, 325)), (420, 199, "lease")),
    (((460, 370), (210, 370)), (260, 387, "set clock or power limit")),
    (((600, 144), (635, 144), (635, 272), (670, 272)), None),
    (((210, 496), (240, 496), (240, 522), (265, 522)), None),
    (((210, 570), (240, 570), (240, 545), (265, 545)), None),
    (((415, 531), (460, 531)), None),
    (((600, 531), (635, 531), (635, 290), (670, 290)), None),
    (((800, 86), (830, 86)), None),
    (((815, 306), (815, 345)), (823, 330, "compact, verify")),
    (((815, 396), (815, 435)), None),
    (((815, 486), (815, 535)), None),
)


def draw() -> str:
    """Return the picture as SVG text."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif" role="img">',
        "<title>Wattlens: from GPUs and building meters to live metrics and to the report</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{_LINE}"/></marker></defs>',
    ]
    for x, y, width, height, title in GROUPS:
        parts.append(_rectangle(x, y, width, height, "none", "6 4"))
        parts.append(_text(x + 12, y + 22, title, _MUTED, 14, bold=True))
    for points, label in ARROWS:
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{_LINE}" stroke-width="1.5" marker-end="url(#tip)"/>')
        if label is not None:
            parts.append(_text(label[0], label[1], label[2], _MUTED, 12))
    for box in BOXES:
        parts.append(_rectangle(box.x, box.y, box.width, box.height, _FILL[box.kind]))
        parts.append(_text(box.x + 10, box.y + 22, box.title, _TEXT, 14, bold=True))
        parts.extend(_text(box.x + 10, box.y + 40 + 17 * n, line, _MUTED, 12) for n, line in enumerate(box.lines))
    return "\n".join([*parts, "</svg>\n"])


def _rectangle(x: int, y: int, width: int, height: int, fill: str, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{_LINE}"{dashed}/>'


def _text(x: int, y: int, text: str, colour: str, size: int, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}"{weight}>{escape(text)}</text>'


def main() -> int:
    """Write the picture to the given path."""
    Path(sys.argv[1]).write_text(draw())
    return 0


if __name__ == "__main__":
    sys.exit(main())
