"""A real agent, by its command line, on a simulated node; its page, its log and its end."""

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support import eventually, free_port


class AgentProcess:
    """`wattlens agent` with its state in `folder`."""

    def __init__(self, folder, simulate, *arguments):
        self.folder, self.port = folder, free_port()
        self.command = [sys.executable, "-m", "wattlens", "agent", "--simulate", simulate, "--state", folder,
                        "--listen", f"127.0.0.1:{self.port}", *arguments]  # fmt: skip
        self.log_path = folder.parent / f"{folder.name}.log"
        self.process = None

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(list(map(str, self.command)), stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        eventually(lambda: self.ready() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(60)

    @property
    def log(self):
        return self.log_path.read_text()

    def page(self, within_s=60):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=within_s) as answer:
            return answer.read().decode()

    def ready(self):
        try:
            return any(v == 1 for v in self.series("wattlens_gpu_up", within_s=5).values())
        except (OSError, urllib.error.URLError):
            return False

    def series(self, name, within_s=60):
        """Value by labels (a sorted tuple of pairs) of one metric; only its lines are parsed, as tests ask often."""
        lines = [line for line in self.page(within_s).splitlines() if line.startswith((name + "{", name + " "))]
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families("\n".join(lines) + "\n")
            for sample in family.samples
        }

    def counters(self):
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.page())
            if family.type == "counter"
            for sample in family.samples
            if not sample.name.startswith(("wattlens_process_", "wattlens_reader_", "wattlens_ledger_commit_failures"))
        }

    def children(self):
        return [int(p) for p in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def commands(self):
        """Pid to command line of its children; those that end meanwhile are left out."""
        command_lines = {}
        for pid in self.children():
            with suppress(OSError):
                command_lines[pid] = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        return command_lines

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def terminate(self, within_s):
        """SIGTERM; the exit code, None if it took longer."""
        children = self.children()
        self.process.terminate()
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None, children
        return code, children


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def of_device(series, uuid):
    return {labels: value for labels, value in series.items() if ("uuid", uuid) in labels or ("device", uuid) in labels}


def segments(folder):
    return sorted((folder / "segments").glob("*"))
