"""Draw docs/pictures/architecture.svg: `python -m tools.architecture_picture docs/pictures/architecture.svg`."""

import sys
from pathlib import Path

from tools.diagram import Arrow, Box, Diagram, Group, Label

GROUPS = (
    Group(20, 20, 600, 390, "GPU node"),
    Group(20, 430, 600, 190, "Building, one per site"),
    Group(650, 20, 330, 170, "Live"),
    Group(650, 210, 330, 410, "Record"),
)
BOXES = (
    Box(40, 55, 170, "outside", "Pods and jobs", ("kubelet, Slurm, cgroups",)),
    Box(40, 120, 170, "outside", "Inference servers", ("tokens on /metrics",)),
    Box(40, 185, 170, "outside", "Training loops", ("wattlens.step, hooks",)),
    Box(40, 250, 170, "outside", "Node meters", ("RAPL, Redfish, IPMI",)),
    Box(40, 330, 170, "outside", "GPUs", ("NVML",)),
    Box(265, 110, 150, "process", "Agent", ("energy per owner,", "tokens, steering")),
    Box(265, 245, 150, "process", "Reader", ("child process, the", "only caller of NVML")),
    Box(460, 325, 140, "writer", "Actuator", ("optional; the only", "writer of settings")),
    Box(460, 110, 140, "store", "Ledger", ("journal, hourly", "segments")),
    Box(40, 475, 170, "outside", "Building meters", ("Modbus, SNMP, Redfish",)),
    Box(40, 545, 170, "outside", "Grid and contracts", ("site.yaml, series",)),
    Box(265, 505, 150, "process", "Site process", ("PUE, carbon intensity",)),
    Box(460, 505, 140, "store", "Site ledger", ("same format",)),
    Box(670, 60, 130, "process", "Prometheus", ("rules and alerts",)),
    Box(830, 60, 130, "output", "Grafana", ("dashboards",)),
    Box(670, 125, 290, "output", "wattlens top, measure, usage", ()),
    Box(670, 255, 290, "store", "Object store or shared folder", ("shipped segments of all nodes and sites",)),
    Box(670, 345, 290, "store", "Compacted days", ("Parquet per site and UTC day; SQL",)),
    Box(670, 435, 290, "process", "Report", ("org.xlsx: sites, teams, contracts, prices",)),
    Box(670, 535, 290, "output", "PDF, HTML, workbook, facts.json", ("manifest of hashes, signature",)),
)
ARROWS = (
    Arrow(((210, 80), (245, 80), (245, 122), (265, 122))),
    Arrow(((210, 145), (235, 145), (235, 137), (265, 137))),
    Arrow(((210, 210), (235, 210), (235, 152), (265, 152))),
    Arrow(((210, 275), (245, 275), (245, 167), (265, 167))),
    Arrow(((210, 345), (340, 345), (340, 313)), Label(225, 338, "read, 1 Hz")),
    Arrow(((340, 245), (340, 178)), Label(348, 215, "readings")),
    Arrow(((415, 144), (460, 144))),
    Arrow(((437, 144), (437, 77), (670, 77)), Label(478, 70, "/metrics")),
    Arrow(((395, 178), (395, 205), (530, 205), (530, 325)), Label(420, 199, "lease")),
    Arrow(((460, 370), (210, 370)), Label(260, 387, "set clock or power limit")),
    Arrow(((600, 144), (635, 144), (635, 272), (670, 272))),
    Arrow(((210, 496), (240, 496), (240, 522), (265, 522))),
    Arrow(((210, 570), (240, 570), (240, 545), (265, 545))),
    Arrow(((415, 531), (460, 531))),
    Arrow(((600, 531), (635, 531), (635, 290), (670, 290))),
    Arrow(((800, 86), (830, 86))),
    Arrow(((815, 306), (815, 345)), Label(823, 330, "compact, verify")),
    Arrow(((815, 396), (815, 435))),
    Arrow(((815, 486), (815, 535))),
)
DIAGRAM = Diagram(1000, 640, "Wattlens: from GPUs and building meters to live metrics and to the report", GROUPS, BOXES, ARROWS)


def main() -> int:
    """Write the picture to the given path."""
    Path(sys.argv[1]).write_text(DIAGRAM.draw())
    return 0


if __name__ == "__main__":
    sys.exit(main())
