"""Energy of jobs in Slurm's accounting record and mail: slurmctld, two slurmd, slurmdbd and MariaDB as Debian has them."""

import shutil
import sys
import time
from pathlib import Path

import pytest

from benchmarks.chain import SegmentChainWriter
from energy_agent.core.energy import Entry, Identity, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from tests.peers.slurm_accounting import NODES, PROGRAMS, AccountingCluster
from tests.support import eventually, need_program
from wattlens.cli import main

pytestmark = [pytest.mark.peer, pytest.mark.timeout(400)]

SCRIPT = Path(__file__).parents[2] / "deploy/slurm/wattlens-mail.sh"
S, UJ = 10**9, 10**6
ACTIVE_J, IDLE_J, STEPS, TOKENS = 12_000, 1_500, 60, 61_440
"""Per node: energy of both GPUs while kernels ran and while none ran, steps of the job, and tokens of the node's ranks."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    for program in PROGRAMS:
        need_program(program)
    folder = tmp_path_factory.mktemp("acct")
    (folder / "segments").mkdir()
    (folder / "bin").mkdir()
    (folder / "bin/wattlens").write_text(f'#!/bin/sh\nexec {sys.executable} -m wattlens "$@"\n')
    (folder / "mail").write_text(f'#!/bin/sh\n{{ echo "$@"; cat; echo; }} >> {folder}/mail.txt\n')
    words = {
        "WATTLENS_BIN": folder / "bin",
        "WATTLENS_MAIL": folder / "mail",
        "WATTLENS_JOB_SOURCE": folder / "segments",
        "WATTLENS_CARBON": 380,
        "WATTLENS_MAIL_SETTLE_S": 0,
    }
    (folder / "slurm.env").write_text("".join(f"{name}={value}\n" for name, value in words.items()))
    shutil.copy(SCRIPT, folder / "wattlens-mail.sh")
    (folder / "mail.sh").write_text(f'#!/bin/sh\nWATTLENS_ENV={folder}/slurm.env exec {folder}/wattlens-mail.sh "$@"\n')
    for name in ("bin/wattlens", "mail", "mail.sh"):
        (folder / name).chmod(0o755)
    running = AccountingCluster(folder)
    try:
        running.start_all()
        yield running
    finally:
        running.stop()


def write_segments(folder, job, raw=""):
    """The segments that the agents of both nodes would write of a job that ran just now."""
    start = (time.time_ns() - 60 * S) // S * S
    workload = f"slurm-{raw or job}"
    labels = {"job": raw or job, "owner": f"Job/{job.partition('_')[0]}", "user": "alice", "account": "ml"}
    for number, node in enumerate(NODES):
        writer = SegmentChainWriter(folder / "segments", Identity(f"test-{job}", node, "boot", "0.2", simulated=True))
        entries, devices = [], []
        for gpu in range(2):
            uuid = f"GPU-{int(raw or job):08d}-{number}{gpu}00-4000-8000-000000000000"
            devices.append(DeviceFacts(uuid, "H100", 0.05, start))
            for at, joules, state in ((0, ACTIVE_J, State.ACTIVE), (20, IDLE_J, State.IDLE)):
                begin, end = start + at * S, start + (at + 20) * S
                entries.append(Entry(begin, end, uuid, workload, state, Method.COUNTER, joules * UJ // 2, 10 * UJ, 20 * S))
        writer.add(
            Batch(
                entries,
                tokens=[Tokens(start, start + 20 * S, workload, "llama", "training", TOKENS)],
                steps=[Steps(start, start + 20 * S, workload, "training", STEPS)],
                facts=[WorkloadFacts(workload, start, "slurm", labels)],
                devices=devices,
            )
        )


def record(cluster, monkeypatch, *words):
    monkeypatch.setenv("SLURM_CONF", cluster.environ["SLURM_CONF"])
    return main(["slurm", "record", str(cluster.folder / "segments"), "--carbon", "380", "--settle", "0s", *words])


def words_of(comment):
    return dict(word.split("=") for word in comment.partition("wattlens ")[2].split())


def wait_for_end(cluster, job):
    eventually(lambda: cluster.accounted(job, "State").split("\n")[0] == "COMPLETED", 90, every=0.5)


def test_energy_of_both_nodes_is_in_the_record_once(cluster, monkeypatch, capsys):
    job = cluster.submit("--nodes=2", "--gres=gpu:2")
    write_segments(cluster.folder, job)
    plain = cluster.submit()  # without GPUs
    for each in (job, plain):
        wait_for_end(cluster, each)
    assert record(cluster, monkeypatch, "--dry-run") == 0
    assert cluster.accounted(job, "AdminComment") == ""
    assert record(cluster, monkeypatch) == 0
    comment = cluster.accounted(job, "AdminComment")
    words = words_of(comment)
    energy_j = 2 * (ACTIVE_J + IDLE_J)
    assert (int(words["energy_j"]), int(words["idle_j"])) == (energy_j, 2 * IDLE_J)
    assert int(words["energy_j_low"]) < energy_j < int(words["energy_j_high"])
    assert (int(words["steps"]), int(words["tokens"]), words["nodes"]) == (STEPS, 2 * TOKENS, "2")
    assert float(words["j_per_step"]) == pytest.approx(energy_j / STEPS, rel=1e-3)
    assert float(words["co2e_g"]) == pytest.approx(energy_j / 3.6e6 * 380, rel=1e-3)
    assert words["partial"] == "proctrack"  # as the cluster of this test is configured
    assert cluster.accounted(plain, "AdminComment") == ""
    capsys.readouterr()
    assert record(cluster, monkeypatch) == 0
    assert capsys.readouterr().out == ""
    assert cluster.accounted(job, "AdminComment") == comment


def test_tasks_of_an_array_have_a_record_each_and_a_comment_stays(cluster, monkeypatch):
    array = cluster.submit("--gres=gpu:1", "--array=0-1")
    eventually(lambda: cluster.accounted(array, "State").split() == ["COMPLETED"] * 2, 90, every=0.5)
    raws = dict(line.split("|") for line in cluster.accounted(array, "JobID,JobIDRaw").splitlines())
    cluster.run("sacctmgr", "--immediate", "modify", "job", "where", f"jobid={array}_0", "set", "AdminComment=checked, by hand")
    eventually(lambda: cluster.accounted(f"{array}_0", "AdminComment") == "checked, by hand", every=0.5)
    for task, raw in raws.items():
        write_segments(cluster.folder, task, raw)
    assert record(cluster, monkeypatch, "--job", f"{array}_0", "--job", f"{array}_1") == 0
    comments = [cluster.accounted(f"{array}_{task}", "AdminComment") for task in range(2)]
    assert comments[0].startswith("checked, by hand; wattlens energy_j=")
    for comment in comments:
        assert int(words_of(comment)["energy_j"]) == 2 * (ACTIVE_J + IDLE_J), "the array has the number of one of its tasks"


def test_mail_at_the_end_of_a_job_has_its_energy(cluster):
    job = cluster.submit("--nodes=2", "--gres=gpu:2", "--mail-type=ALL", "--mail-user=alice", seconds=4)
    write_segments(cluster.folder, job)
    wait_for_end(cluster, job)
    mails = cluster.folder / "mail.txt"
    eventually(lambda: mails.exists() and "Energy Utilized" in mails.read_text(), 60, every=0.5)
    began, ended = mails.read_text().split("-s Slurm ")[1:3]
    assert "Began" in began
    assert "Energy" not in began
    assert f"Job_id={job} Name=wrap Ended" in ended
    lines = dict(line.split(": ", 1) for line in ended.splitlines() if ": " in line)
    assert (lines["Job ID"], lines["Nodes"], lines["GPUs"]) == (job, "2", "4")
    assert lines["Energy Utilized"].startswith("27.00 kJ (")
    assert lines["Energy per Step"] == "450.0 J"
    assert lines["Carbon Emitted"] == "2.850 gCO2e"
