"""The prolog and epilog run by a real slurmd: it sets the script's variables, and drains a node with changed settings."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.deploy.test_slurm_scripts import SCRIPT, AgentPage, page
from tests.peers.test_slurm import Cluster
from tests.support import eventually, need_program

__all__ = ["page"]
pytestmark = pytest.mark.peer


@pytest.fixture
def cluster(tmp_path: Path, page: AgentPage):
    for program in ("munged", "slurmctld", "slurmd", "scontrol", "sbatch", "curl"):
        need_program(program)
    words = {
        "WATTLENS_BIN": tmp_path / "bin",
        "WATTLENS_ACTUATOR_STATE": tmp_path / "actuator",
        "WATTLENS_METRICS": page.url,
        "WATTLENS_WAIT_S": 0,
        "WATTLENS_SETTLE_S": 0,
        "WATTLENS_DRAIN": "yes",
    }
    logger_script = f'logger() {{ shift 3; printf "%s\\n" "$*" >> {tmp_path}/said; }}'
    (tmp_path / "slurm.env").write_text("\n".join([*(f"{key}={value}" for key, value in words.items()), logger_script, ""]))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    (tmp_path / "bin/wattlens").write_text("#!/bin/sh\nexit 1\n")  # neither actuator nor driver answers
    (tmp_path / "bin/wattlens").chmod(0o755)
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/sh\nWATTLENS_ENV={tmp_path}/slurm.env exec {SCRIPT}\n")
    script.chmod(0o755)
    more = "Prolog={folder}/job.sh\nEpilog={folder}/job.sh\nPrologFlags=Alloc\n"
    running = Cluster(tmp_path, more)
    try:
        running.start_all()
        yield running
    finally:
        running.stop()


def test_slurmd_runs_it_before_and_after_a_job(cluster, page):
    log = cluster.folder / "said"
    job = cluster.submit("--gres=gpu:a:1")
    page.text = page.text.replace("slurm-28", f"slurm-{job}")
    eventually(lambda: job in cluster.running(), 60, every=0.3)
    assert not log.exists(), "before a job there is nothing to say on a node that nobody steers"
    cluster.run("scancel", "--signal=KILL", "--full", job)
    cluster.run("scancel", job)
    (line,) = eventually(lambda: log.read_text().splitlines() if log.exists() else [], 60, every=0.3)
    words = dict(word.split("=") for word in line.split())
    assert words["job"] == job
    assert words["gpu_energy_joules"] == "4020"
    assert words["gpus"].isdigit()
    eventually(lambda: "idle" in cluster.run("sinfo", "--noheader", "--format=%t"), 60, every=0.3)

    (cluster.folder / "actuator").mkdir()  # somebody steered here, and nobody can say that it is put back
    job_id = cluster.submit("--gres=gpu:a:1")
    eventually(lambda: "drain" in cluster.run("sinfo", "--noheader", "--format=%t"), 60, every=0.3)
    eventually(lambda: f"job={job_id}: before it, settings are left that nobody holds" in log.read_text())
    assert job_id not in cluster.running(), "no job starts on such a node"
    shutil.rmtree(cluster.folder / "actuator")
