"""Draw the dashboards of docs/pictures: `python -m tools.dashboard_pictures docs/pictures [SECONDS]`.

It draws each dashboard of DASHBOARDS with Grafana's own packages in a browser, after SECONDS of scraping simulated nodes by a
real Prometheus (tests/dashboards/render needs Node.js and Chromium for that), keeps the top of the page and few colours, and
draws page one of the sample report.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DASHBOARDS = ("wattlens-fleet", "wattlens-gpu", "wattlens-inference", "wattlens-dvfs")
SECONDS = 240.0
WIDTH, HEIGHT, COLOURS = 1280, 1000, 64
REPORT = Path(__file__).parents[1] / "docs/sample-report/report.pdf"


def main(arguments: list[str]) -> int:
    """Draw them all; exit code 1 where a panel has an error."""
    out, seconds = Path(arguments[0]), float(arguments[1]) if len(arguments) > 1 else SECONDS
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.dashboards.render", "--out", folder, "--theme", "light", "--width", str(WIDTH)]
        for name in DASHBOARDS:
            command += ["--board", name]
        code = subprocess.run([*command, "--warm", str(seconds)], check=False).returncode
        for name in DASHBOARDS:
            save_top(next(Path(folder).glob(f"{name}-*.png")), out / f"{name.removeprefix('wattlens-')}.png")
        page = Path(folder) / "page"
        subprocess.run(["pdftoppm", "-png", "-r", "80", "-f", "1", "-l", "1", "-singlefile", REPORT, page], check=True)
        save_top(page.with_suffix(".png"), out / "report.png")
    return code


def save_top(source: Path, target: Path) -> None:
    """The top of a picture, with as few colours as a chart needs: a page of documentation loads it in an instant."""
    with Image.open(source) as picture:
        top = picture.convert("RGB").crop((0, 0, picture.width, min(picture.height, HEIGHT)))
        top.quantize(COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
