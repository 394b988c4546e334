"""A Slurm cluster with accounting in a folder: munged, MariaDB, slurmdbd, slurmctld and two slurmd, each ended by its pid."""

import getpass
import os
import socket
import subprocess
from contextlib import suppress

from tests.support import eventually, free_port, need_program

NODES = ("gpu17", "gpu18")
PROGRAMS = (
    "munged", "mariadb-install-db", "mariadbd", "mariadb", "slurmdbd", "slurmctld", "slurmd", "sbatch", "sinfo", "sacct",
    "sacctmgr", "scancel", "squeue",
)  # fmt: skip
CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
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
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={ports[3]}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu
MailProg={folder}/mail.sh
NodeName=gpu17 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=16 Gres=gpu:2 State=UNKNOWN
NodeName=gpu18 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=16 Gres=gpu:2 State=UNKNOWN
PartitionName=batch Nodes=gpu17,gpu18 Default=YES MaxTime=INFINITE State=UP
"""
DATABASE_CONF = """AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={ports[3]}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=secret
StorageLoc=slurm_acct
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""
SQL = (
    "CREATE DATABASE slurm_acct; CREATE USER slurm@localhost IDENTIFIED BY 'secret'; "
    "GRANT ALL ON slurm_acct.* TO slurm@localhost;"
)


class AccountingCluster:
    """The cluster; its mail program is `mail.sh` in the folder."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.environ = dict(os.environ, SLURM_CONF=str(folder / "slurm.conf"), MYSQL_UNIX_PORT=str(folder / "mysql.sock"))
        self.values = {
            "folder": folder,
            "host": socket.gethostname(),
            "user": getpass.getuser(),
            "ports": [free_port() for _ in range(4)],
        }

    def start_all(self):
        """Start everything and wait until both nodes are idle."""
        folder, user = self.folder, f"--user={getpass.getuser()}"
        for name in ("state", "dev", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir()
        for gpu in range(4):
            (folder / f"dev/nvidia{gpu}").symlink_to("/dev/null")
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        (folder / "slurm.conf").write_text(CONF.format(**self.values))
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        lines = (f"NodeName={node} Name=gpu File={folder}/dev/nvidia[{2 * n}-{2 * n + 1}]\n" for n, node in enumerate(NODES))
        (folder / "gres.conf").write_text("".join(lines))
        conf = folder / "slurmdbd.conf"
        conf.write_text(DATABASE_CONF.format(**self.values))
        conf.chmod(0o600)

        places = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        self.start("munged", "--foreground", "--force", *(f"--{name}={folder}/munge.{end}" for name, end in places.items()))
        eventually((folder / "munge.socket").exists)
        data = f"--datadir={folder}/mysql"
        options = ("--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db", user)
        self.run("mariadb-install-db", *options)
        server = f"--socket={folder}/mysql.sock"
        self.start("mariadbd", "--no-defaults", data, server, "--skip-networking", user)
        eventually((folder / "mysql.sock").exists, 60)
        eventually(lambda: self.run("mariadb", "--no-defaults", server, "-u", "root", "-e", f"{SQL} SELECT 'made';"), every=0.5)
        self.start("slurmdbd", "-D")
        eventually(self.add_cluster, 90, every=0.5)
        self.start("slurmctld", "-D", "-f", f"{folder}/slurm.conf")
        for node in NODES:
            self.start("slurmd", "-D", "-N", node, "-f", f"{folder}/slurm.conf")
        eventually(lambda: self.run("sinfo", "--noheader", "--Node", "--format=%t").split() == ["idle", "idle"], 90, every=0.5)

    def add_cluster(self):
        """Add the cluster to the database; whether it is there."""
        self.run("sacctmgr", "--immediate", "add", "cluster", "test")
        return self.run("sacctmgr", "--noheader", "--parsable2", "show", "cluster", "format=Cluster").strip() == "test"

    def start(self, program, *arguments):
        with (self.folder / f"{program}-{len(self.processes)}.out").open("wb") as out:
            command = [need_program(program), *arguments]
            self.processes.append(subprocess.Popen(command, env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out))

    def run(self, program, *arguments):
        """What a program prints; "" if it fails."""
        command = [need_program(program), *arguments]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=120, check=False)
        return done.stdout if done.returncode == 0 else ""

    def submit(self, *options, seconds=2):
        """Number of a batch job that sleeps."""
        return self.run("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", f"sleep {seconds}").strip()

    def accounted(self, job, name):
        """A field of a job's record."""
        return self.run("sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={job}", f"--format={name}%4096").strip()

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
