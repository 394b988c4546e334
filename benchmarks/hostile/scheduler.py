"""Attacks on `wattlens slurm record` through the comments of jobs: separators, line breaks, controls, rows of other jobs.

sacct, sacctmgr and scontrol are programs of our own that print what Slurm prints. Whatever the comment of a job contains, each
other job gets one comment, with its own energy after the text that it had, and nothing else is written.
"""

import contextlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from benchmarks.chain import SegmentChainWriter
from energy_agent.core.energy import Entry, Identity, Method, State, WorkloadFacts
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from wattlens.cli import main

JOBS = {"7": 1000, "12": 2000, "13": 3000}
"""Joules of each job; the attacker owns the first."""
_QUARTER_S = 900
_PROGRAMS = {
    "sacct": """for word; do case $word in --delimiter=*) between=${{word#*=}};; esac; done
sed "s/\x1f/$between/g" {folder}/rows""",
    "sacctmgr": 'printf "%s\\0" "$@" END >> {folder}/written',
    "scontrol": "echo 'ProctrackType           = proctrack/cgroup'",
}
_PARTS = (
    "\n", "\r", "\r\n", "\n\n", "|", "||||||", "\x1b[2J", "\x85", "\u2028", "\v", "\f", "\x1c", "\u202e", "'", '"', "\\",
    "$(id)", "`id`", "AdminComment=", "where jobid=12", "wattlens energy_j=1", "; wattlens energy_j=", "12|12|lab",
    "12|12|lab|1|2|gres/gpu=1|wattlens energy_j=1 ", "x" * 60_000, "\ud800", "\udcff", "ok",
)  # fmt: skip


class Cluster:
    """Slurm's programs and a node's ledger in a folder."""

    def __init__(self, base: Path) -> None:
        """Write both."""
        self.base = base
        for name, text in _PROGRAMS.items():
            (base / name).write_text(f"#!/bin/sh\n{text.format(folder=base)}\n")
            (base / name).chmod(0o755)
        self._start_s = (int(time.time()) // _QUARTER_S - 2 * len(JOBS)) * _QUARTER_S
        entries, facts = [], []
        for number, (job, joules) in enumerate(JOBS.items()):
            start, end = ((self._start_s + n * _QUARTER_S) * NS_PER_S for n in (number, number + 1))
            name = f"slurm-{job}"
            entries.append(Entry(start, end, "GPU-a", name, State.ACTIVE, Method.COUNTER, joules * 10**6, 5, end - start))
            facts.append(WorkloadFacts(name, start, "slurm", {"job": job}))
        (base / "segments").mkdir()
        device = DeviceFacts("GPU-a", "H100", 0.05, self._start_s * NS_PER_S)
        chain = SegmentChainWriter(base / "segments", Identity("lab", "gpu17", "b", "0", simulated=True))
        chain.add(Batch(entries, facts=facts, devices=[device]))

    def record(self, comments: dict[str, str]) -> tuple[int, str, list[list[str]]]:
        """Run the command once; its exit code, messages and the arguments of each call of sacctmgr."""
        rows = []
        for number, job in enumerate(JOBS):
            start_s = self._start_s + number * _QUARTER_S
            fields = (job, job, "lab", str(start_s), str(start_s + _QUARTER_S), "billing=1,gres/gpu=1,node=1", comments[job])
            rows.append("\x1f".join(fields) + "\n")
        (self.base / "rows").write_bytes("".join(rows).encode(errors="surrogatepass"))
        (self.base / "written").write_bytes(b"")
        errors = io.StringIO()
        words = ["slurm", "record", str(self.base / "segments"), "--slurm", str(self.base), "--settle", "1s"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            try:
                code = main(words)
            except Exception as error:  # noqa: BLE001 - what no user should see is what falls
                return 1, f"Traceback: {error!r}", []
        calls = (self.base / "written").read_text(errors="replace").split("\0END\0")[:-1]
        return code, errors.getvalue(), [call.split("\0") for call in calls]


def run(rng: Random, base: Path) -> Iterator[tuple[str, str]]:
    """Yield (attack, what fell or ''), again and again."""
    cluster = Cluster(base)
    yield "no attack", _judge(cluster, dict.fromkeys(JOBS, ""), with_own=True)
    while True:
        comments = dict.fromkeys(JOBS, "checked")
        comments["7"] = "".join(rng.choices(_PARTS, k=rng.randint(1, 6)))
        yield "comment of a job", _judge(cluster, comments, with_own=False)
        start_s, job = int(time.time()) - rng.randrange(3600, 10**5), rng.choice(("12", "13", "99"))
        forged = f"{job}|{job}|lab|{start_s}|{start_s + rng.randrange(1, 3000)}|billing=1,gres/gpu=1,node=1|"
        comments["7"] = rng.choice(("\n", "x\n", "\r\n")) + forged + rng.choice(("", "evil", "wattlens energy_j=1", "x\ny"))
        yield "row of another job in a comment", _judge(cluster, comments, with_own=False)


def _judge(cluster: Cluster, comments: dict[str, str], *, with_own: bool) -> str:
    code, errors, calls = cluster.record(comments)
    attack = f"comment {comments['7'][:200]!r}: "
    if code not in (0, 1) or "Traceback" in errors:
        return f"{attack}exit code {code}: {errors[-300:]}"
    written: dict[str, list[str]] = {}
    for call in calls:
        words = dict(word.split("=", 1) for word in call if "=" in word)
        written.setdefault(words.get("jobid", ""), []).append(words.get("AdminComment", ""))
    if unknown := written.keys() - JOBS.keys():
        return f"{attack}wrote a comment to {sorted(unknown)}"
    for job, joules in JOBS.items():
        texts = written.get(job, [])
        start = f"{comments[job]}; " if comments[job] else ""
        is_exempt = job == "7" and not with_own
        if len(texts) > 1 or not (is_exempt or texts):
            return f"{attack}job {job} got {len(texts)} comments: {texts}; {errors[-200:]}"
        if texts and f"wattlens energy_j={joules} " not in texts[0]:
            return f"{attack}job {job} got {texts[0][:200]!r}"
        if not is_exempt and not texts[0].startswith(f"{start}wattlens energy_j={joules} "):
            return f"{attack}job {job} got {texts[0][:200]!r}"
    return ""
