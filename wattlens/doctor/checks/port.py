"""The agent's port: free, or held by an agent already."""

import errno
import socket

from energy_agent.runtime.network.http import HttpClient, HttpError
from energy_agent.web.listening import find_listener
from wattlens.doctor.finding import CheckContext, DoctorCheck, DoctorFinding, Findings, fail, ok


def _look(facts: CheckContext) -> Findings:
    from wattlens.agent.run import split_listen

    address, port = split_listen(facts.listen)
    try:
        family, kind, number, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            yield _report_occupant(facts.listen, address, port, str(where[0]))
            return
        means, fix = f"{facts.listen}: {error.strerror or error}", "set web.listen to an address of this node and a free port"
        yield fail("port", means, fix, stops=True)
        return
    open_to = "every network of this node" if address in ("0.0.0.0", "::") else address  # noqa: S104 - compared, not bound
    yield ok("port", f"{port} is free; /metrics will be reachable from {open_to}")


def _report_occupant(listen: str, address: str, port: int, bound: str) -> DoctorFinding:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    try:
        page = HttpClient(url, 1.0, direct=True).request("GET", "/").body
    except HttpError:
        page = b""
    if b"attlens" in page:
        return ok("port", f"an agent already listens on {listen}")
    who = find_listener(bound, port)
    return fail(
        "port",
        f"{listen} is in use by {who or 'another program'}",
        f"stop {who or 'the program that listens there (ss -ltnp)'}, or set web.listen to another port",
        stops=True,
    )


SPEC = DoctorCheck("the port of /metrics", "agent", _look)
