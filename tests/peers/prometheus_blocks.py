"""A real Prometheus whose samples were put there by promtool, with their real time stamps."""

import json
import subprocess
import urllib.request
from contextlib import contextmanager

from tests.support import eventually, free_port, need_program


def scrapes(start, end, every=15, offset_ms=0):
    return range(start * 1_000 + offset_ms, end * 1_000, every * 1_000)


class Text:
    """OpenMetrics text of what is put into Prometheus."""

    def __init__(self):
        self._families = {}

    def add(self, name, series, samples):
        rows = self._families.setdefault(name, [])
        text = ",".join(f"{key}={json.dumps(value)}" for key, value in series.items())
        rows += [f"{name}{{{text}}} {value} {t_ms // 1000}.{t_ms % 1000:03d}\n" for t_ms, value in samples]

    def write(self, path):
        body = "".join(f"# TYPE {name} unknown\n{''.join(rows)}" for name, rows in self._families.items())
        path.write_text(body + "# EOF\n")


@contextmanager
def prometheus(home, text, *more):
    """A Prometheus that has these samples and scrapes nothing."""
    server, tool = need_program("prometheus"), need_program("promtool")
    text.write(home / "samples.om")
    blocks = [
        tool,
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "--max-block-duration=240h",
        home / "samples.om",
        home / "data",
    ]
    subprocess.run([*map(str, blocks)], check=True, capture_output=True)
    (home / "prometheus.yml").write_text("{}")
    url = f"http://127.0.0.1:{free_port()}"
    where = [
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        "--storage.tsdb.retention.time=50y",
    ]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [server, *where, f"--web.listen-address={url.removeprefix('http://')}", *more], stdout=log, stderr=log
        )
    try:
        eventually(lambda: ready(url), 40)
        yield url
    finally:
        process.kill()
        process.wait()


def ready(url):
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
