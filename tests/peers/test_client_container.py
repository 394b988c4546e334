"""A process in a container reports as that container, unprivileged, through the mounted folder of the socket."""

import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

from tests.deploy.engine import engine
from tests.energy_agent.local_api.test_peers import CLIENT, REPORT, serving
from tests.snapshots import Player
from tests.support import need_program

pytestmark = [pytest.mark.peer, pytest.mark.timeout(360)]
HOST_FOLDERS = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")


@pytest.fixture
def short():
    """A folder with a short name."""
    with tempfile.TemporaryDirectory(prefix="wl-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_an_unprivileged_container_reports_as_itself_and_its_root_sees_no_more(tmp_path, short):
    need_program("dockerd")
    with tarfile.open(tmp_path / "empty.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("nothing"), io.BytesIO())
    sockets = tmp_path / "sockets"
    sockets.mkdir()
    folder = short / "docker"  # of a longer name containerd's socket would not fit into an address
    folder.mkdir()
    python = Path(sys.executable).resolve()
    mounts = [f"--volume={p}:{p}:ro" for p in (*HOST_FOLDERS, str(python.parents[1])) if Path(p).exists()]
    with engine(folder, {}) as docker, serving(sockets / "agent.sock", snapshot=Player().at(5)) as intake:
        docker.run("import", tmp_path / "empty.tar", "wattlens-peer")
        workloads = []
        for user in ("65534", "0"):
            command = ["run", "--rm", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--user={user}"]
            command += [*mounts, f"--volume={sockets}:/run/wattlens/client", "wattlens-peer", str(python), "-I", "-c", CLIENT]
            command += ["/run/wattlens/client/agent.sock", "POST /v1/training", json.dumps(REPORT), "", ""]
            status, _, text = docker.run(*command).partition(" ")
            me = json.loads(text)
            assert (status, me["kind"], me["everything"]) == ("202", "container", False)
            assert [each.report.tokens for each in intake.ranks(me["workload"])] == [30]
            workloads.append(me["workload"])
        assert len(set(workloads)) == 2
