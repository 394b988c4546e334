"""A browser and a PDF reader for the tests: what they lay out, as facts."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import need_program

_PROBE = """<script>addEventListener("load", () => {
const out = [], root = document.documentElement, fits = e => e.scrollWidth <= e.clientWidth + 1;
if (!fits(root)) out.push(["page", root.scrollWidth, root.clientWidth]);
for (const e of document.querySelectorAll("body *")) {
  if (e.closest("svg, .skip, .mark") || !e.getClientRects().length) continue;
  const box = e.getBoundingClientRect(), name = e.tagName + "." + e.className;
  if (!e.closest(".scroll") && (box.right > root.clientWidth + 1 || box.left < -1)) out.push([name, box.left, box.right]);
  if (!e.matches(".scroll") && e.clientWidth && !fits(e)) out.push([name, e.scrollWidth, e.clientWidth]);
}
let texts = 0, smallest = 99;
for (const svg of document.querySelectorAll("svg")) {
  if (!svg.getClientRects().length) continue;
  const view = svg.viewBox.baseVal, scale = svg.getBoundingClientRect().width / view.width;
  for (const t of svg.querySelectorAll("text")) {
    const b = t.getBBox();
    texts++;
    smallest = Math.min(smallest, scale * parseFloat(getComputedStyle(t).fontSize));
    if (b.x < -1.5 || b.y < -2.5 || b.x + b.width > view.width + 1.5 || b.y + b.height > view.height + 2.5)
      out.push(["text", t.textContent, b.x, b.width, view.width]);
  }
}
parent.postMessage(JSON.stringify({out, texts, smallest, width: root.clientWidth}), "*");
})</script>"""
_FRAME = """<!DOCTYPE html><meta charset="utf-8"><pre id="message"></pre>
<iframe src="page.html" style="width: {width}px; height: 800px; border: 0"></iframe>
<script>addEventListener("message", e => document.getElementById("message").textContent = e.data)</script>"""


def chromium(folder: Path, *arguments: str) -> str:
    """Run the browser without a window, a profile of its own, and no network."""
    program = need_program("chromium")
    fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"]
    done = subprocess.run(
        [program, *fixed, f"--user-data-dir={folder / 'profile'}", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def laid_out(page: str, width: int, folder: Path) -> dict[str, Any]:
    """Return everything that does not fit when the page is `width` px wide: the page itself, elements, and texts of charts.

    The test shows the page in a frame, since a browser window has a minimum width. It injects a script, so it removes the
    policy that forbids scripts.
    """
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert bare != page
    (folder / "page.html").write_text(bare.replace("</body>", f"{_PROBE}</body>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(_FRAME.format(width=width), encoding="utf-8")
    dom = chromium(folder, f"--window-size={width + 100},1000", "--virtual-time-budget=8000", "--dump-dom", frame.as_uri())
    match = re.search(r'<pre id="message">(.*?)</pre>', dom, re.DOTALL)
    assert match, dom[:300]
    layout: dict[str, Any] = json.loads(match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert layout["width"] == width
    return layout


def printed(page: str, folder: Path) -> bytes:
    """The page as the browser prints it."""
    (folder / "print.html").write_text(page, encoding="utf-8")
    chromium(folder, "--no-pdf-header-footer", f"--print-to-pdf={folder / 'print.pdf'}", (folder / "print.html").as_uri())
    return (folder / "print.pdf").read_bytes()


@dataclass(frozen=True)
class Pages:
    """A PDF as its reader sees it: text by page, in the order in which it was set, and the size of its pages in points."""

    texts: tuple[str, ...]
    size: tuple[float, float]

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def pages(pdf: bytes, folder: Path) -> Pages:
    """Read a PDF with poppler."""
    need_program("pdftotext")
    path = folder / "read.pdf"
    path.write_bytes(pdf)
    text = subprocess.run(["pdftotext", "-raw", path, "-"], capture_output=True, check=True).stdout.decode()
    info = subprocess.run(["pdfinfo", path], capture_output=True, check=True).stdout.decode()
    size = re.search(r"Page size:\s+([\d.]+) x ([\d.]+)", info)
    assert size
    return Pages(tuple(text.split("\f")[:-1]), (float(size[1]), float(size[2])))


def squeezed(text: str) -> str:
    """Without gaps: where a line is broken says nothing about whether a word is there."""
    return "".join(text.replace("\u200b", "").split())
