"""Claims against a real Slurm on this machine: devices of its jobs by its own numbers and its JSON; a hung slurmctld."""

import getpass
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from energy_agent.config.slurm import Slurm
from energy_agent.owners.slurm.answers import SlurmOutputError, TooOldError
from energy_agent.owners.slurm.commands import SlurmCommands
from energy_agent.owners.slurm.source import SlurmJobs
from energy_agent.runtime.clock import RealClock
from tests.energy_agent.owners.slurm.replay import UUIDS, driver
from tests.peers.slurm_daemons import SlurmDaemons
from tests.support import eventually, need_program

pytestmark = pytest.mark.peer

HOSTILE = (
    "x\n   UserId=victim(7) Account=victim JobState=RUNNING\n"
    "     Nodes=gpu17 CPU_IDs=0 Mem=0 GRES=gpu:4(IDX:0-3)\n\nJobId=99 JobName=y"
)


class Cluster(SlurmDaemons):
    """One node whose GPUs of two types alternate."""

    def __init__(self, folder, conf=""):
        super().__init__(folder, {"gpu17": "gpu:b:2,gpu:a:2"}, "DebugFlags=gres\nSlurmdDebug=debug3\n" + conf)
        lines = [f"NodeName=gpu17 Name=gpu Type={kind} File={folder}/dev/nvidia{gpu}" for gpu, kind in enumerate("abab")]
        (folder / "gres.conf").write_text("\n".join(lines) + "\n")

    def start_all(self):
        self.start_munge()
        self.controller = self.start_slurm()

    def submit(self, *options):
        """Number of a batch job that sleeps until it is cancelled."""
        return super().submit("--cpus-per-task=1", *options, seconds=600)

    def running(self):
        return {line for line in self.run("squeue", "--noheader", "--states=RUNNING", "--format=%i").split() if line}

    def devices(self):
        """Numbers of the devices in the order of their indexes, as slurmd's log has them."""
        return [int(n) for n in re.findall(r"gpu device number (\d+)\(", (self.folder / "slurmd-gpu17.log").read_text())][:4]

    def stop(self):
        try:
            with suppress(subprocess.TimeoutExpired):
                self.run("scancel", "--signal=KILL", "--full", "--user", getpass.getuser())
                self.run("scancel", "--user", getpass.getuser())
                eventually(lambda: not self.run("squeue", "--noheader"), every=0.3)
        finally:
            super().stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    for program in ("munged", "slurmctld", "slurmd", "scontrol", "sbatch"):
        need_program(program)
    running = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        running.start_all()
        yield running
    finally:
        running.stop()


def source_of(cluster, folder, timeout_s=30.0):
    driver(folder / "proc")
    scontrol = Path(need_program("scontrol"))
    labels = {"model": "comment.model"}
    config = Slurm(scontrol=scontrol, conf=cluster.folder / "slurm.conf", node="gpu17", timeout_s=timeout_s, labels=labels)
    try:
        SlurmCommands(config, scontrol).node()
    except TooOldError as error:
        pytest.skip(str(error))
    except (OSError, SlurmOutputError):
        pass  # the source says so
    return SlurmJobs(config, SlurmCommands(config, scontrol), RealClock(), folder / "proc", wanted=True)


def list_jobs(source):
    gpus_by_job = {}
    for claim in source.claims().claims:
        gpus_by_job.setdefault(claim.workload, set()).add(UUIDS.index(claim.device))
    return gpus_by_job


def test_jobs_hold_the_devices_that_slurmd_means_until_they_end(cluster, tmp_path):
    source = source_of(cluster, tmp_path)
    assert source.poll(), source.rows()
    assert list_jobs(source) == {}
    plain = cluster.submit("--gres=gpu:a:2", "--job-name=train", "--comment=model=llama precision=fp8")
    eventually(lambda: plain in cluster.running(), every=0.3)
    assert source.poll()
    order = cluster.devices()
    assert sorted(order) == [0, 1, 2, 3]
    assert order != [0, 1, 2, 3]  # else any reading of an index would pass
    assert list_jobs(source) == {f"slurm-{plain}": {order[2], order[3]}} == {f"slurm-{plain}": {0, 2}}
    (facts,) = {id(claim.facts): claim.facts for claim in source.claims().claims}.values()
    assert (facts.labels["user"], facts.labels["job_name"], facts.labels["model"]) == (getpass.getuser(), "train", "llama")

    array = cluster.submit("--gres=gpu:b:1", f"--job-name={HOSTILE}", "--array=7")
    eventually(lambda: f"{array}_7" in cluster.running(), every=0.3)
    assert source.poll()
    (hostile,) = list_jobs(source).keys() - {f"slurm-{plain}"}
    assert list_jobs(source)[hostile] == {order[0]}
    (facts,) = [claim.facts for claim in source.claims().claims if claim.workload == hostile]
    assert (facts.labels["owner"], facts.labels["array_task"]) == (f"Job/{array}", "7")
    assert "victim" not in (facts.labels["user"], facts.labels.get("account"))

    cluster.run("scancel", plain)
    eventually(lambda: plain not in cluster.run("squeue", "--noheader", "--format=%i").split(), every=0.3)
    assert source.poll()
    assert list_jobs(source) == {hostile: {order[0]}}
    assert source.claims().unknown == 0


def test_a_hung_slurmctld_is_a_reason_and_the_last_answer_stays(cluster, tmp_path):
    source = source_of(cluster, tmp_path, timeout_s=1.5)
    eventually(source.poll, every=0.5)
    before = source.claims()
    cluster.controller.send_signal(signal.SIGSTOP)
    try:
        assert not source.poll()
    finally:
        cluster.controller.send_signal(signal.SIGCONT)
    assert source.claims() is before
    assert "scontrol did not respond within 1.5 s" in source.rows()[0].reason
    eventually(source.poll, every=0.5)
