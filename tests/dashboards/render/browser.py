"""Dashboards drawn by one headless Chromium from their JSON: of each view a report of what is to be seen, and a picture."""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.dashboards.render.npm import built
from tests.support import need_program

LAPTOP, WALL = 1280, 2560
SCRAPE_MS = 2000


@dataclass(frozen=True)
class View:
    """View of a dashboard: `choices` are values of its variables, `span` is the time range as in Grafana URLs."""

    board: str
    choices: Mapping[str, str] = field(default_factory=dict)
    theme: str = "dark"
    width: int = LAPTOP
    span: tuple[str, str] = ("now-1m", "now")
    note: str = ""

    @property
    def name(self) -> str:
        """Name of its picture."""
        return "-".join(part for part in (self.board, self.note, self.theme, str(self.width)) if part)


class _Quiet(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, boards: bytes, **more: Any) -> None:
        self.boards = boards
        super().__init__(*arguments, **more)

    def do_GET(self) -> None:
        if self.path.split("?")[0] != "/boards.json":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.boards)))
        self.end_headers()
        self.wfile.write(self.boards)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Said by the page's report instead."""


def _height(board: Mapping[str, Any]) -> int:
    """Of a window in px that shows the whole dashboard: a line of the grid is 30 px and 8 px apart, the head stands over it."""
    return 38 * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) + 400


@contextmanager
def _serving(folder: Path, boards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Address of the page on loopback."""
    handler = partial(_Quiet, directory=str(folder), boards=json.dumps(boards).encode())
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def draw_views(
    boards: Sequence[Mapping[str, Any]], views: Sequence[View], prometheus: str, pictures: Path | None
) -> list[tuple[View, dict[str, Any]]]:
    """The report of each view; pictures of whole pages go into the folder, if one is given.

    Raises:
        pytest.skip.Exception, pytest.fail.Exception: chromium, node or npm is missing.
    """
    program, node, page = need_program("chromium"), need_program("node"), built()
    heights = {board["uid"]: _height(board) for board in boards}
    with _serving(page / "dist", boards) as address:
        asked = [
            {
                "name": view.name,
                "width": view.width,
                "height": heights[view.board],
                "picture": str(pictures.absolute() / f"{view.name}.png") if pictures else None,
                "url": f"{address}/?" + urlencode(
                    {"board": view.board, "theme": view.theme, "prometheus": prometheus, "scrape": SCRAPE_MS}
                    | {"from": view.span[0], "to": view.span[1]}
                    | {f"var-{name}": value for name, value in view.choices.items()}
                ),
            }
            for view in views
        ]  # fmt: skip
        done = subprocess.run(
            [node, str(page / "shoot.js")],
            input=json.dumps({"program": program, "views": asked}),
            capture_output=True,
            text=True,
            timeout=200 + 120 * len(views),
            check=False,
        )
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    return list(zip(views, reports, strict=True))
