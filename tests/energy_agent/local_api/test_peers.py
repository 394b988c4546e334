"""Who connects is the kernel's word, on real sockets; other users, namespaces and containers are real where they can be had."""

import errno
import http.client
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from energy_agent.accounting.training_intake import TrainingReports
from energy_agent.local_api.history import EnergyHistory
from energy_agent.local_api.peers import Peers, StrangerError
from energy_agent.local_api.routes import BODY_MAX_B, Routes
from energy_agent.local_api.server import ClientApi
from energy_agent.runtime.clock import RealClock
from tests.snapshots import Player, uuid
from tests.support import eventually, need_program

T_NS = 1_700_000_000_000_000_000
ROOT = Path(__file__).resolve().parents[3]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's process can be started by root alone")
RUN = "0123456789abcdef"
REPORT = {"run": RUN, "age_s": 1.0, "steps": {"training": 3}, "tokens": 30}
CLIENT = """
import ctypes, json, os, socket, sys
path, request, body, uid, namespaces = sys.argv[1:6]
if uid != "":
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
if namespaces and ctypes.CDLL(None, use_errno=True).unshare(0x10000000 | 0x20000000):  # CLONE_NEWUSER | CLONE_NEWPID
    sys.exit(os.strerror(ctypes.get_errno()))
child = os.fork() if namespaces else 0
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
client = socket.socket(socket.AF_UNIX)
client.connect(path)
body = body.encode()
client.sendall(b"%s HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (request.encode(), len(body), body))
answer = b""
while data := client.recv(65536):
    answer += data
print(answer.split(b" ", 2)[1].decode(), answer.partition(b"\\r\\n\\r\\n")[2].decode(), flush=True)
os._exit(0)
"""


@contextmanager
def serving(path, snapshot=None):
    peers = Peers([Path("/proc")], RealClock())
    intake = TrainingReports(RealClock(), peers.alive)
    history = EnergyHistory()
    for t_ns in (T_NS - 10, T_NS) if snapshot is not None else ():
        history.add(replace(snapshot, t_ns=t_ns))
    api = ClientApi(path, Routes(history, intake), peers)
    api.start()
    try:
        yield intake
    finally:
        api.stop()


def request_as(path, request, body="", *, uid="", namespaces="", prefix=()):
    code = [sys.executable, "-I", "-c", CLIENT, str(path), request, body, str(uid), namespaces]
    done = subprocess.run([*prefix, *code], capture_output=True, text=True, check=False)
    if done.returncode and namespaces:
        pytest.skip(f"no user namespace can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    status, _, text = done.stdout.partition(" ")
    return int(status), json.loads(text)


@pytest.fixture
def folder():
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="wattlens-peers-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_client_gets_its_identity_and_reports_only_for_itself(folder):
    with serving(folder / "s", snapshot=Player().at(5)) as intake:
        status, me = request_as(folder / "s", "GET /v1/me")
        assert status == 200
        assert me["pid"] > 0
        assert str(me["pid"]) in me["workload"] or me["kind"] != "process"
        status, reply = request_as(folder / "s", "POST /v1/training", json.dumps(REPORT))
        assert (status, reply["ranks"][0]["tokens"]) == (202, 30)
        (latest,) = intake.ranks(reply["workload"])
        assert latest.report.steps == {"training": 3}
        for field in ("workload", "pid", "cgroup"):  # what would say who it is
            status, reply = request_as(folder / "s", "POST /v1/training", json.dumps(REPORT | {field: "x"}))
            assert (status, reply["reason"]) == (400, f"unknown field {field!r}")


@as_root
def test_root_on_the_host_sees_everything_and_others_their_own(folder):
    with serving(folder / "s", snapshot=Player().at(5)):
        assert request_as(folder / "s", "GET /v1/me")[1]["everything"] is True
        assert request_as(folder / "s", "GET /v1/me", uid=65534)[1]["everything"] is False
        window = f"GET /v1/window/{T_NS - 5}/{T_NS - 1}"
        assert set(request_as(folder / "s", window)[1]["devices"]) == {uuid(gpu) for gpu in range(8)}
        assert "did not use a GPU" in request_as(folder / "s", window, uid=65534)[1]["reason"]


def in_a_pid_namespace(code, *arguments):
    """Skips the test where there can be none."""
    command = [
        need_program("unshare"),
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        sys.executable,
        "-c",
        code,
        *arguments,
    ]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = started.stdout.readline()
    if not first:
        _, errors = started.communicate()
        pytest.skip(f"no pid namespace can be made here: {errors[-200:]}")
    return started, first


@as_root
def test_a_pid_that_the_agent_cannot_see_is_refused_with_the_fix(folder):
    """The agent runs in its own pid namespace, as without hostPID, and the client outside of it."""
    agent, _ = in_a_pid_namespace(f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.energy_agent.local_api.test_peers import serving
with serving(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
""", str(folder / "s"))  # fmt: skip
    try:
        status, reply = request_as(folder / "s", "GET /v1/me")
        assert status == request_as(folder / "s", "POST /v1/training", json.dumps(REPORT))[0] == 403
        assert "hostPID: true" in reply["reason"]
    finally:
        agent.communicate()


@as_root
def test_an_unprivileged_process_in_user_and_pid_namespaces_is_itself_and_not_root(folder):
    """As in a rootless container: pid 1 in its own eyes, an ordinary user and pid in the kernel's."""
    with serving(folder / "s", snapshot=Player().at(5)) as intake:
        status, me = request_as(folder / "s", "POST /v1/training", json.dumps(REPORT), uid=65534, namespaces="yes")
        assert (status, me["everything"]) == (202, False)
        assert me["pid"] > 1
        assert [each.report.tokens for each in intake.ranks(me["workload"])] == [30]


@as_root
def test_no_name_of_a_process_makes_root_of_a_container_root_of_the_host(folder):
    """In a pid namespace of its own, which no cgroup path shows."""
    name = "import ctypes, sys; ctypes.CDLL(None).prctl(15, sys.argv.pop(1).encode(), 0, 0, 0)\n"
    with serving(folder / "s", snapshot=Player().at(5)):
        for end in ("", "\r", "\v", "\f", "\n", "\x1e"):
            client, output = in_a_pid_namespace(name + CLIENT, f"{end}NSpid: 1", str(folder / "s"), "GET /v1/me", "", "", "")
            client.communicate()
            assert json.loads(output.partition(" ")[2])["everything"] is False, repr(end)


def raw(path, data, wait_s=60.0):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(wait_s)
        client.connect(str(path))
        client.sendall(data)
        answer = b""
        try:
            while more := client.recv(65536):
                answer += more
        except ConnectionResetError:
            pass
        return answer


def test_hostile_requests_are_answered_without_side_effects(folder):
    post = b"POST /v1/training HTTP/1.1\r\nHost: x\r\n"
    with serving(folder / "s"):
        for data, status in (
            (post + b"\r\n", 411), (post + b"Content-Length: -1\r\n\r\n", 411), (post + b"Content-Length: \xb2\r\n\r\n", 411),
            (post + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
            (post + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 411),
            (post + b"Content-Length: %d\r\n\r\n" % (BODY_MAX_B + 1), 413),
            (post + b"Content-Length: 99999999999999999999\r\n\r\n", 413), (post + b"Content-Length: 2\r\n\r\n{]", 400),
            (post + b"Content-Length: 8192\r\n\r\n" + b"[" * 8192, 400),
            (post + b"Content-Length: 4\r\n\r\n\xff\xff\xff\xff", 400),
            (b"GET /v1/training HTTP/1.1\r\nHost: x\r\n\r\n", 405), (b"GET /v1/other HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ):  # fmt: skip
            assert raw(folder / "s", data).split(b" ", 2)[1] == b"%d" % status
        assert request_as(folder / "s", "GET /v1/me")[0] == 200


def test_one_workload_cannot_take_all_places_nor_all_the_time(folder):
    with serving(folder / "s"), ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(100)]
        for client in clients:
            client.connect(str(folder / "s"))
        # The last 16 of one user without a cgroup of its own, or of one unit, keep their places.
        eventually(lambda: len(select.select(clients[:-16], [], [], 0)[0]) == 100 - 16)
        assert all(client.recv(1) == b"" for client in clients[:-16])
        assert select.select(clients[-16:], [], [], 0)[0] == []
        stack.close()
        statuses = []

        def hammer():
            for _ in range(60):
                with socket.socket(socket.AF_UNIX) as end:
                    end.connect(str(folder / "s"))
                    connection = http.client.HTTPConnection("agent")
                    connection.sock = end
                    try:
                        connection.request("GET", "/v1/me")
                        statuses.append(connection.getresponse().status)
                    except (http.client.HTTPException, OSError):
                        statuses.append(0)

        threads = [threading.Thread(target=hammer) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 200 in statuses
        assert set(statuses) <= {0, 200, 429}


STRANGERS = """
import os, select, socket, sys
os.setgid(65534)
os.setuid(65534)
held = []
for _ in range(int(sys.argv[2])):
    client = socket.socket(socket.AF_UNIX)
    child = os.fork()
    if child == 0:
        os._exit(client.connect_ex(sys.argv[1]) != 0)  # the kernel names a process that has ended by the time it is looked up
    os.waitpid(child, 0)
    held.append(client)
print("held", flush=True)
answers = 0
for client in reversed(held):
    try:
        client.sendall(b"GET /v1/me HTTP/1.1\\r\\n\\r\\n")
        answers += b" 403 " in client.recv(4096)
    except OSError:  # sent away
        pass
sys.stdin.readline()
print(answers, flush=True)
"""


@as_root
def test_strangers_are_refused_and_keep_no_one_out(folder):
    path = folder / "s"
    with serving(path, snapshot=Player().at(5)):
        command = [sys.executable, "-I", "-c", STRANGERS, str(path), "200"]
        attacker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert attacker.stdout.readline() == "held\n"
            assert [request_as(path, "GET /v1/me")[0] for _ in range(3)] == [200] * 3
        finally:
            answers, _ = attacker.communicate("\n")
        assert int(answers) > 0


def test_units_and_containers_of_a_user_share_the_users_places(tmp_path):
    container = "ab" * 32
    names = set()
    for below in ("app.slice/a.service", "app.slice/b.service", f"user.slice/libpod-{container}.scope"):
        folder = tmp_path / str(os.getpid())
        folder.mkdir(exist_ok=True)
        (folder / "stat").write_text(f"{os.getpid()} (x) S {'0 ' * 18}100 0\n")
        (folder / "status").write_text(f"Uid:\t{' '.join([str(os.geteuid())] * 4)}\n")
        (folder / "cgroup").write_text(f"0::/user.slice/user-1000.slice/user@1000.service/{below}\n")
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours, theirs:
            peer = Peers([tmp_path], RealClock()).who(ours)
        names.add(peer.facts.workload)
        assert peer.place == "uid 1000"
    assert len(names) == 3


def test_ended_stranger_has_no_identity(folder):
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        code = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
        subprocess.run([sys.executable, "-I", "-c", code, str(path)], check=True)
        client, _ = listener.accept()
        with client, pytest.raises(StrangerError):
            Peers([Path("/proc")], RealClock()).who(client)


@as_root
def test_subordinate_uids_share_the_places_of_one_user(folder):
    with serving(folder / "s") as intake:
        places = {}
        for uid, namespaces in ((60001, "1"), (60002, "1"), (60001, ""), (60002, "")):
            status, reply = request_as(folder / "s", "POST /v1/training", json.dumps(REPORT), uid=uid, namespaces=namespaces)
            assert status == 202
            (latest,) = intake.ranks(reply["workload"])
            if "process" not in reply["workload"]:
                pytest.skip("processes are in a unit here")
            places[uid, namespaces] = latest.place
        assert places[60001, "1"] == places[60002, "1"]
        assert len(set(places.values())) == 3


class KernelAnswers:
    """A client's socket as a kernel describes it: who connected, and an error number instead of a handle of that process."""

    def __init__(self, pid: int, uid: int, handle_errno: int) -> None:
        self._credentials, self._errno = struct.pack("=iII", pid, uid, uid), handle_errno

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        if option == socket.SO_PEERCRED:
            return self._credentials
        raise OSError(self._errno, os.strerror(self._errno))


@as_root
@pytest.mark.parametrize("handle_errno", [errno.ENOPROTOOPT, errno.EINVAL, errno.ESRCH])
def test_a_process_with_the_pid_of_an_ended_client_is_not_taken_for_it(handle_errno: int) -> None:
    """The pid that another user's client had is given to this process: its uid differs from that of the connection."""
    with pytest.raises(StrangerError, match="your process has ended"):
        Peers([Path("/proc")], RealClock()).who(KernelAnswers(os.getpid(), 65534, handle_errno))


def test_a_kernel_without_handles_of_processes_still_identifies_a_client() -> None:
    client = KernelAnswers(os.getpid(), os.geteuid(), errno.ENOPROTOOPT)
    assert Peers([Path("/proc")], RealClock()).who(client).identity[0] == os.getpid()
