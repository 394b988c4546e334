"""Draw docs/pictures/top.svg: `python -m tools.top_picture docs/pictures/top.svg [SECONDS]`.

It starts a simulated node with training, an inference server, MIG and an ECC error, an agent with their names, and the real
`wattlens top` in tmux, waits until graphs have some history, and draws what the terminal shows. Block characters are drawn as
rectangles and texts with their exact width, so that the picture looks alike with any font.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode

COLUMNS, LINES, SECONDS = 140, 44, 150.0
CELL_W, CELL_H, MARGIN, TITLE_H = 8.4, 18.0, 12.0, 30.0
_INK, _PAPER = "#d6dde6", "#11161d"
_COLOURS = {"31": "#f47067", "32": "#57ab5a", "33": "#d4a72c"}
_CODES = re.compile("\x1b\\[([0-9;]*)m|\x1b[()][A-Z0-9]|[\x0e\x0f]")
_BARS = {"━": (1.0, 5.0, 1.0), "╸": (0.5, 5.0, 1.0), "─": (1.0, 2.0, 0.4)}
"""Width of its cell, thickness and opacity of each character of a bar."""
NODE = """
description: Eight H100 SXM for the picture of wattlens top
boards:
  - {{count: 8, sku: H100-SXM5-80GB}}
seed: 20240612
workloads:
  - {{name: train-llama, kind: training, gpus: [0, 1, 2, 3], cgroup: systemd, memory_gb: 70, step_s: 0.6,
     memory_boundness: 0.25, host_every_steps: 10, host_s: 0.4, checkpoint_every_s: 45, checkpoint_s: 3.0,
     agent_socket: {socket}}}
  - {{name: chat-qwen, kind: serving, gpus: [4, 5], cgroup: systemd, model: Qwen/Qwen3-32B, rate_per_s: 3.0}}
  - {{name: notebook-ana, kind: notebook, gpus: [6], cgroup: systemd, every_s: 15}}
"""


@dataclass(slots=True)
class CellStyle:
    """Of the characters that follow."""

    colour: str = _INK
    bold: bool = False
    dim: bool = False
    underline: bool = False
    reverse: bool = False

    def apply(self, codes: str) -> "CellStyle":
        """The style after an SGR sequence."""
        style = CellStyle(self.colour, self.bold, self.dim, self.underline, self.reverse)
        for code in codes.split(";"):
            match code.lstrip("0"):
                case "":
                    style = CellStyle()
                case "1":
                    style.bold = True
                case "2":
                    style.dim = True
                case "4":
                    style.underline = True
                case "7":
                    style.reverse = True
                case "39":
                    style.colour = _INK
                case colour:
                    style.colour = _COLOURS.get(colour, style.colour)
        return style


@dataclass(slots=True)
class SvgScreen:
    """Lines of a terminal with their escape sequences, as SVG."""

    columns: int
    lines: list[str]
    parts: list[str] = field(default_factory=list)
    style: CellStyle = field(default_factory=CellStyle)  # tmux continues with the last line's

    def draw(self, title: str) -> str:
        """The picture."""
        width = 2 * MARGIN + self.columns * CELL_W
        height = 2 * MARGIN + TITLE_H + len(self.lines) * CELL_H
        for row, line in enumerate(self.lines):
            self._draw_line(MARGIN + TITLE_H + row * CELL_H, line)
        dots = "".join(f'<circle cx="{20 + 18 * n}" cy="18" r="5.5" fill="#3a4452"/>' for n in range(3))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">\n'
            f"<title>{escape(title)}</title>\n"
            f'<rect width="100%" height="100%" rx="8" fill="{_PAPER}"/>{dots}\n'
            f'<text x="{width / 2:.0f}" y="23" fill="#8b98a8" text-anchor="middle" font-family="sans-serif" font-size="13">'
            f"{escape(title)}</text>\n"
            '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="13.5" '
            f'shape-rendering="crispEdges">\n{chr(10).join(self.parts)}\n</g>\n</svg>\n'
        )

    def _draw_line(self, y: float, line: str) -> None:
        column = place = 0
        for match in (*_CODES.finditer(line), None):
            end = len(line) if match is None else match.start()
            for text in _split_blocks(line[place:end]):
                self._draw_text(MARGIN + column * CELL_W, y, text)
                column += len(text)
            if match is not None:
                place = match.end()
                if match[1] is not None:
                    self.style = self.style.apply(match[1])

    def _draw_text(self, x: float, y: float, text: str) -> None:
        style = self.style
        ink, paper = (_PAPER, style.colour) if style.reverse else (style.colour, "")
        width = len(text) * CELL_W
        if paper:
            self.parts.append(_rectangle(x, y, width, CELL_H, paper))
        if (height := _eighths(text[:1], "▁▂▃▄▅▆▇█")) is not None:
            column = 0
            for char, group in groupby(text):
                count = sum(1 for _ in group)
                part = CELL_H * (_eighths(char, "▁▂▃▄▅▆▇█") or height) / 8
                self.parts.append(_rectangle(x + column * CELL_W, y + CELL_H - part, count * CELL_W, part, ink))
                column += count
            return
        if text[:1] in _BARS:
            share, thickness, opacity = _BARS[text[0]]
            self.parts.append(_rectangle(x, y + (CELL_H - thickness) / 2, width * share, thickness, ink, opacity))
            return
        look = ' font-weight="bold"' * style.bold + ' opacity="0.55"' * style.dim
        for match in re.finditer(r"\S+(?: \S+)*", text):
            place, length = x + match.start() * CELL_W, len(match[0]) * CELL_W
            pinned = f' textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs"'
            self.parts.append(f'<text x="{place:.1f}" y="{y + 13.5:.1f}" fill="{ink}"{look}{pinned}>{escape(match[0])}</text>')
        if style.underline:
            self.parts.append(_rectangle(x, y + CELL_H - 2, width, 1, "#8b98a8"))


def _rectangle(x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0) -> str:
    look = f'fill="{colour}"' + f' opacity="{opacity}"' * (opacity < 1)
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {look}/>'


def _eighths(char: str, blocks: str) -> int | None:
    """How many eighths of a cell a block fills."""
    return blocks.index(char) + 1 if char and char in blocks else None


def _split_blocks(text: str) -> Iterator[str]:
    """Runs of blocks or bars of one kind, and of other characters."""
    return (match[0] for match in re.finditer("[▁-█]+|━+|╸|─+|[^▁-█━╸─]+", text))


def capture(seconds: float) -> list[str]:
    """The lines of `wattlens top` in tmux after `seconds`, with their escape sequences."""
    with tempfile.TemporaryDirectory(prefix="wattlens-") as name, ExitStack() as stack:
        folder = Path(name)
        socket = folder / "client" / "agent.sock"
        text = NODE.format(socket=socket)
        node = stack.enter_context(SimulatedNode.start(scenario.parse(text.encode(), "picture"), folder / "node"))
        node.fault(7, "mig", value=321)
        node.fault(2, "ecc_uncorrected", value=2)
        served = node.workload("chat-qwen")["metrics_url"]
        config = {
            "node": {"cluster": "lab", "name": "gpu-7"},
            "sampling": {"health_period_s": 10},
            "client": {"socket": str(socket)},
            "tokens": [{"workload": "chat-qwen", "url": served, "server": "vllm"}],
        }
        (folder / "agent.yaml").write_text(json.dumps(config))
        wattlens = [sys.executable, "-m", "wattlens"]
        agent = [*wattlens, "agent", "--simulate", str(node.directory), "--config", str(folder / "agent.yaml")]
        agent += ["--state", str(folder / "state"), "--listen", "127.0.0.1:9478"]
        with (folder / "agent.log").open("wb") as log:
            process = subprocess.Popen(agent, stdout=log, stderr=log)
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        time.sleep(5)
        tmux = ["tmux", "-L", f"wattlens-{os.getpid()}", "-f", "/dev/null"]
        command = " ".join([*wattlens, "top", "--url", "http://127.0.0.1:9478"])
        environ = os.environ | {"LC_ALL": "C.UTF-8", "WATTLENS_SIM": str(node.directory), "TERM": "xterm-256color"}
        start = [*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), command]
        subprocess.run(start, check=True, env=environ)
        stack.callback(subprocess.run, [*tmux, "kill-server"], check=False)
        time.sleep(seconds)
        screen = subprocess.run(
            [*tmux, "capture-pane", "-e", "-N", "-p"], capture_output=True, text=True, check=True, env=environ
        )
        return screen.stdout.rstrip("\n").split("\n")


if __name__ == "__main__":
    lines = capture(float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS)
    Path(sys.argv[1]).write_text(SvgScreen(COLUMNS, lines).draw("wattlens top"))
