"""Claims against a real Slurm on this machine: what its jobs hold by its own numbers, by its JSON; a hung slurmctld."""

import getpass
import os
import re
import signal
import socket
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
from tests.support import eventually, free_port, need_program

pytestmark = pytest.mark.peer

CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
DebugFlags=gres
SlurmdDebug=debug3
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
KillWait=1
GresTypes=gpu
NodeName=gpu17 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 Gres=gpu:b:2,gpu:a:2 State=UNKNOWN
PartitionName=batch Nodes=gpu17 Default=YES MaxTime=INFINITE State=UP
"""
HOSTILE = (
    "x\n   UserId=victim(7) Account=victim JobState=RUNNING\n"
    "     Nodes=gpu17 CPU_IDs=0 Mem=0 GRES=gpu:4(IDX:0-3)\n\nJobId=99 JobName=y"
)


class Cluster:
    """slurmctld, slurmd and munged in a folder; each is ended by its pid."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.environ = dict(os.environ, SLURM_CONF=str(folder / "slurm.conf"))
        for name in ("state", "spool", "dev"):
            (folder / name).mkdir()
        for gpu in range(4):
            (folder / f"dev/nvidia{gpu}").symlink_to("/dev/null")
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        host = socket.gethostname()
        text = CONF.format(host=host, folder=folder, user=getpass.getuser(), ports=(free_port(), free_port()))
        (folder / "slurm.conf").write_text(text)
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        lines = [f"NodeName=gpu17 Name=gpu Type={kind} File={folder}/dev/nvidia{gpu}" for gpu, kind in enumerate("abab")]
        (folder / "gres.conf").write_text("\n".join(lines) + "\n")
        options = [
            f"--{name}={folder}/munge.{end}" for name, end in (("key-file", "key"), ("pid-file", "pid"), ("seed-file", "seed"))
        ]
        self.start(
            "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--log-file={folder}/munge.log", *options
        )
        eventually((folder / "munge.socket").exists)
        self.controller = self.start("slurmctld", "-D", "-f", f"{folder}/slurm.conf")
        self.start("slurmd", "-D", "-N", "gpu17", "-f", f"{folder}/slurm.conf")
        eventually(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%t"), every=0.5)

    def start(self, program, *arguments):
        with (self.folder / f"{program}.out").open("wb") as out:
            process = subprocess.Popen(
                [need_program(program), *arguments], env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self.processes.append(process)
        return process

    def run(self, *command):
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout

    def submit(self, *options):
        """Number of a batch job that sleeps."""
        out = self.run("sbatch", "--parsable", "--output=/dev/null", "--cpus-per-task=1", *options, "--wrap", "sleep 600")
        return out.strip()

    def running(self):
        return {line for line in self.run("squeue", "--noheader", "--states=RUNNING", "--format=%i").split() if line}

    def devices(self):
        """Numbers of the devices in the order of their indexes, as slurmd's log has them."""
        return [int(n) for n in re.findall(r"gpu device number (\d+)\(", (self.folder / "slurmd.log").read_text())][:4]

    def stop(self):
        self.controller.send_signal(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            self.run("scancel", "--signal=KILL", "--full", "--user", getpass.getuser())
            self.run("scancel", "--user", getpass.getuser())
            eventually(lambda: not self.run("squeue", "--noheader"), every=0.3)
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    for program in ("munged", "slurmctld", "slurmd", "scontrol", "sbatch"):
        need_program(program)
    folder = tmp_path_factory.mktemp("slurm")
    made = None
    try:
        made = Cluster(folder)
        yield made
    finally:
        if made is not None:
            made.stop()


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
    found = {}
    for claim in source.claims().claims:
        found.setdefault(claim.workload, set()).add(UUIDS.index(claim.device))
    return found


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
