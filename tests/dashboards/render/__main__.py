"""Render dashboards as pictures for review: `python -m tests.dashboards.render --out DIR [--board UID] [--theme light]`."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.dashboards.boards import boards as all_boards
from tests.dashboards.render.browser import LAPTOP, WALL, View, draw_views
from tests.dashboards.render.nodes import EIGHT_GPUS, EVERYTHING, MANY_GPUS, ONE_GPU

NODES = {"all": "", "everything": EVERYTHING, "one": ONE_GPU, "eight": EIGHT_GPUS, "many": MANY_GPUS}


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.dashboards.render", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    parser.add_argument("--board", action="append", metavar="UID", help="a dashboard's uid (default: each); may be repeated")
    parser.add_argument("--theme", choices=("dark", "light"), action="append", help="default: both")
    parser.add_argument("--width", type=int, action="append", metavar="PX", help=f"default: {LAPTOP} and {WALL}")
    parser.add_argument("--node", choices=NODES, action="append", help="which nodes are chosen (default: everything)")
    parser.add_argument("--warm", type=float, default=30.0, metavar="S", help="how long to scrape before (default: 30)")
    parser.add_argument("--prometheus", metavar="URL", help="draw from this one instead of simulated nodes")
    parser.add_argument("--span", metavar="FROM", help="start of the time shown, such as now-1h (default: what was scraped)")
    parser.add_argument("--until", metavar="TO", default="now", help="end of the time shown (default: now)")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Draw, say what is wrong; exit code 1 where a panel has an error or the browser complains."""
    asked = _arguments(given)
    boards = [board.json for board in all_boards()]
    views = [
        View(
            board["uid"],
            {"instance": NODES[node]} if NODES[node] else {},
            theme,
            width,
            (asked.span or f"now-{int(asked.warm) + 5}s", asked.until),
            "" if node == "everything" else node,
        )
        for board in boards
        if not asked.board or board["uid"] in asked.board
        for node in asked.node or ["everything"]
        for theme in asked.theme or ["dark", "light"]
        for width in asked.width or [LAPTOP, WALL]
    ]
    asked.out.mkdir(parents=True, exist_ok=True)
    os.environ.pop("CI", None)
    with tempfile.TemporaryDirectory() as folder:
        if asked.prometheus:
            reports = draw_views(boards, views, asked.prometheus, asked.out)
        else:
            from tests.dashboards.render.feed import as_fed, feeding

            with feeding(Path(folder), asked.warm) as prometheus:
                reports = draw_views([as_fed(board) for board in boards], views, prometheus, asked.out)
    bad = 0
    for view, report in reports:
        (asked.out / f"{view.name}.json").write_text(json.dumps(report, indent=1))
        wrong = [*report["console"], *([report["failure"]] if "failure" in report else [])]
        wrong += [f"{panel['title']}: {error}" for panel in report.get("panels", ()) for error in panel["errors"]]
        bad += bool(wrong)
        empty = [panel["title"] for panel in report.get("panels", ()) if not panel["series"] and not panel["rows"]]
        print(asked.out / f"{view.name}.png")
        print("".join(f"  {line}\n" for line in (*wrong, *(f"empty: {title}" for title in empty))), end="")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
