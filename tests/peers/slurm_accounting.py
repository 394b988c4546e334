"""A Slurm cluster with accounting in a folder: munged, MariaDB, slurmdbd, slurmctld and two slurmd."""

import getpass

from tests.peers.slurm_daemons import SlurmDaemons
from tests.support import eventually, free_port

NODES = ("gpu17", "gpu18")
PROGRAMS = (
    "munged", "mariadb-install-db", "mariadbd", "mariadb", "slurmdbd", "slurmctld", "slurmd", "sbatch", "sinfo", "sacct",
    "sacctmgr", "scancel", "squeue",
)  # fmt: skip
CONF = """AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
AccountingStoragePass={{folder}}/munge.socket
AccountingStorageTRES=gres/gpu
MailProg={{folder}}/mail.sh
"""
DATABASE_CONF = """AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={port}
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


class AccountingCluster(SlurmDaemons):
    """The cluster; its mail program is `mail.sh` in the folder."""

    def __init__(self, folder):
        self.database_port = free_port()
        conf = CONF.format(port=self.database_port)
        super().__init__(folder, dict.fromkeys(NODES, "gpu:2"), conf, MYSQL_UNIX_PORT=str(folder / "mysql.sock"))

    def start_all(self):
        """Start everything and wait until both nodes are idle."""
        folder, user = self.folder, f"--user={getpass.getuser()}"
        lines = (f"NodeName={node} Name=gpu File={folder}/dev/nvidia[{2 * n}-{2 * n + 1}]\n" for n, node in enumerate(NODES))
        (folder / "gres.conf").write_text("".join(lines))
        conf = folder / "slurmdbd.conf"
        conf.write_text(DATABASE_CONF.format(port=self.database_port, **self.values))
        conf.chmod(0o600)

        self.start_munge()
        data = f"--datadir={folder}/mysql"
        options = ("--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db", user)
        self.run("mariadb-install-db", *options)
        server = f"--socket={folder}/mysql.sock"
        self.start("mariadbd", "--no-defaults", data, server, "--skip-networking", user)
        eventually((folder / "mysql.sock").exists, 60)
        eventually(lambda: self.run("mariadb", "--no-defaults", server, "-u", "root", "-e", f"{SQL} SELECT 'made';"), every=0.5)
        self.start("slurmdbd", "-D")
        eventually(self.add_cluster, 90, every=0.5)
        self.start_slurm()

    def add_cluster(self):
        """Add the cluster to the database; whether it is there."""
        self.run("sacctmgr", "--immediate", "add", "cluster", "test")
        return self.run("sacctmgr", "--noheader", "--parsable2", "show", "cluster", "format=Cluster").strip() == "test"

    def accounted(self, job, name):
        """A field of a job's record."""
        return self.run("sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={job}", f"--format={name}%4096").strip()
