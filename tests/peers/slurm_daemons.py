"""Munge and Slurm's daemons in a folder, each ended by its pid."""

import getpass
import os
import socket
import subprocess
from contextlib import suppress

from tests.support import eventually, free_port, need_program

CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
KillWait=1
GresTypes=gpu
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=16 Gres={gres} State=UNKNOWN\n"
PARTITION = "PartitionName=batch Nodes={nodes} Default=YES MaxTime=INFINITE State=UP\n"


class SlurmDaemons:
    """A cluster with the nodes `gres` (name -> generic resources), and further lines of slurm.conf."""

    def __init__(self, folder, gres, conf="", **environ):
        self.folder, self.processes, self.nodes = folder, [], tuple(gres)
        self.environ = dict(os.environ, SLURM_CONF=str(folder / "slurm.conf"), **environ)
        self.values = {"folder": folder, "host": socket.gethostname(), "user": getpass.getuser()}
        nodes = (NODE.format(name=name, gres=gres[name], port=free_port(), **self.values) for name in gres)
        text = CONF.format(controller_port=free_port(), **self.values) + conf.format(**self.values)
        (folder / "slurm.conf").write_text(text + "".join(nodes) + PARTITION.format(nodes=",".join(gres)))
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        for name in ("state", "dev", *(f"spool-{node}" for node in gres)):
            (folder / name).mkdir()
        for gpu in range(4):
            (folder / f"dev/nvidia{gpu}").symlink_to("/dev/null")

    def start_munge(self):
        folder = self.folder
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        places = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        self.start("munged", "--foreground", "--force", *(f"--{name}={folder}/munge.{end}" for name, end in places.items()))
        eventually((folder / "munge.socket").exists)

    def start_slurm(self):
        """Start the controller and the nodes, and wait until all nodes are idle; returns the controller."""
        controller = self.start("slurmctld", "-D", "-f", f"{self.folder}/slurm.conf")
        for node in self.nodes:
            self.start("slurmd", "-D", "-N", node, "-f", f"{self.folder}/slurm.conf")
        idle = ["idle"] * len(self.nodes)
        eventually(lambda: self.run("sinfo", "--noheader", "--Node", "--format=%t").split() == idle, 90, every=0.5)
        return controller

    def start(self, program, *arguments):
        with (self.folder / f"{program}-{len(self.processes)}.out").open("wb") as out:
            command = [need_program(program), *arguments]
            self.processes.append(subprocess.Popen(command, env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
        return self.processes[-1]

    def run(self, program, *arguments):
        """Output of a program; "" if it fails."""
        command = [need_program(program), *arguments]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=120, check=False)
        return done.stdout if done.returncode == 0 else ""

    def submit(self, *options, seconds=2):
        """Number of a batch job that sleeps."""
        return self.run("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", f"sleep {seconds}").strip()

    def stop(self):
        with suppress(subprocess.TimeoutExpired):
            self.run("scancel", "--user", getpass.getuser())
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
