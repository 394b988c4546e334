"""Attacks through the proxy of the environment, and through hostile values of its variables and of addresses.

A proxy, or what answers in its place, may send anything or nothing, at any speed. The command ends within its bound and
without a traceback. Neither its output nor a server to which the proxy redirects it has a secret, and no line of an address or
variable becomes a header.
"""

import base64
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from tests.raw_server import OK, RawServer

SECRETS = {"proxy": "Pr0xySecret", "token": "T0kenSecret", "address": "Addr3ssSecret"}
TIMEOUT_S = 2.0
_BOUND_S = 60.0
"""The timeout of a command's requests and what a busy machine adds; without a bound, the peers here never end."""
_AT_ONCE = 4
_JSON = OK + b"Content-Type: application/json\r\n"


class _Parts:
    """A first part, and another one again and again; each connection gets them from the start."""

    def __init__(self, first: bytes, again: bytes | None = None) -> None:
        self._first, self._again = first, again

    def __iter__(self) -> Iterator[bytes]:
        return itertools.chain([self._first], [] if self._again is None else itertools.repeat(self._again))


def _answers(rng: Random, other: int) -> tuple[str, _Parts, float]:
    """Draw a proxy's answer: its name, its parts, and the pause after each."""
    length, size = rng.choice((b"-1", b"9" * 30, b"1e3", b"5, 6", b"\xb2")), rng.choice((b"zz", b"-5", b"f" * 40, b"0x5"))
    text = rng.choice((
        b'{"status":"success","data":null}', b'{"status":"success","data":[[]]}', b"null", b"NaN", b'"\\ud800"', b"1" * 5000,
        b'{"status":"success","data":["\\u001b[2J\\ud800"]}', b'{"status":"error","error":"\\u001b[2J\\n"}', b"\xff\xfe",
        b"[" * 200_000,
    ))  # fmt: skip
    place = rng.choice((b"http://127.0.0.1:%d/" % other, b"file:///etc/passwd", b"//127.0.0.1:%d/" % other, b"\0"))
    status = rng.choice((b"99 x", b"200", b"1000 OK", b"200 " + b"a" * 99_999, b"407 \x1b[2J", b"500 \x1b[2J"))
    kinds = {
        "garbage": (_Parts(rng.randbytes(rng.randrange(5000))), 0.0),
        "silence": (_Parts(b"", b""), 1.0),
        "endless head": (_Parts(OK, b"X-A: " + b"a" * 1000 + b"\r\n"), 0.0),
        "endless body": (_Parts(_JSON + b"\r\n", b" " * 65536), 0.0),
        "endless chunks": (_Parts(_JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 999), 0.0),
        "slow head": (_Parts(OK + b"X-A: ", b"a"), 0.2),
        "slow body": (_Parts(_JSON + b"Content-Length: 1000000\r\n\r\n", b" "), 0.2),
        "continue": (_Parts(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), 0.001),
        "wrong length": (_Parts(_JSON + b"Content-Length: " + length + b"\r\n\r\n{}"), 0.0),
        "wrong chunk": (_Parts(_JSON + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n{}"), 0.0),
        "odd JSON": (_Parts(_JSON + b"\r\n" + text), 0.0),
        "redirect": (_Parts(b"HTTP/1.1 %d Moved\r\nLocation: %b\r\n\r\n" % (rng.choice((301, 302, 307, 308)), place)), 0.0),
        "status": (_Parts(b"HTTP/1.1 " + status + b"\r\n\r\n" + text), 0.0),
    }  # fmt: skip
    name = rng.choice(sorted(kinds))
    return name, *kinds[name]


def _variables(rng: Random, port: int) -> dict[str, str]:
    """Draw hostile proxy variables."""
    secret = SECRETS["proxy"]
    proxy = rng.choice((
        f"http://u:{secret}@", f"https://u:{secret}@127.0.0.1", f"socks5://u:{secret}@127.0.0.1", f"http://u:{secret}@127.0.0.1:99999",
        f"http://u:{secret}@127.0.0.1:{port}\r\nX-Injected: 1", f"http://u:{secret}\r\nX-Injected: 1@127.0.0.1:{port}",
        f"u:{secret}@[::",
        f"http://u:{secret}%0d%0aX-Injected:%201@127.0.0.1:{port}", f"http://u:{secret}%ff@127.0.0.1:{port}", f"file://u:{secret}@/etc",
        f"http://u:{secret}@127.0.0.1:{port}/path?{secret}#x", f"http://u%00:{secret}@h",
        f"//u:{secret}@h:1:2",
        f"http://é漢:{secret}@127.0.0.1:{port}", f"http://u:{secret}@127.0.0.1:{port}",
    ))  # fmt: skip
    exempt = (
        "", ",", "*.", "/0", "10.0.0.0/99", "[", "[::1", "a" * 100_000, "\r\nX: 1", "%", ":", "::/200", ".", "é", "\x1b[2J",
        "0/0",
    )  # fmt: skip
    names = rng.choice(("HTTP_PROXY", "http_proxy", "ALL_PROXY")), rng.choice(("NO_PROXY", "no_proxy"))
    return {names[0]: proxy, names[1]: rng.choice(exempt)}


def _address(rng: Random) -> str:
    """Draw an address of a server that nobody has."""
    secret = SECRETS["address"]
    return rng.choice((
        f"http://u:{secret}@prometheus.example", "http://prometheus.example/\r\nX-Injected: 1", "http://prometheus.example/%0d%0aX-Injected:1",
        "http://prometheus.example\r\nX-Injected: 1", "http://prometheus.example:9\t9", "http://prometheus.example/é漢\x1b[2J", "http://[::",
        f"ftp://u:{secret}@prometheus.example", f"u:{secret}@prometheus.example", "http://" + "a" * 70_000 + ".example", "http://xn--\xad.example",
        "http://prometheus.example\\@127.0.0.1/", "http://prometheus.example#@h",
    ))  # fmt: skip


def run(rng: Random, base: Path) -> Iterator[tuple[str, str]]:
    """Yield (attack, what fell or ''), again and again."""
    token = base / "token"
    token.write_text(SECRETS["token"] + "\n")
    token.chmod(0o600)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while True:
            yield from pool.map(lambda seed: _try(Random(seed), token), [rng.randrange(10**12) for _ in range(2 * _AT_ONCE)])


def _try(rng: Random, token: Path) -> tuple[str, str]:
    address, attack = "http://prometheus.example:9090", rng.choice(("answer of a proxy", "variables", "address"))
    with RawServer() as other:
        name, parts, pause_s = _answers(rng, other.port)
        if attack != "answer of a proxy":
            parts, pause_s = _Parts(b"HTTP/1.1 404 No\r\n\r\n"), 0.0
        with RawServer(parts, pause_s=pause_s) as proxy:
            variables = {"HTTP_PROXY": f"http://u:{SECRETS['proxy']}@127.0.0.1:{proxy.port}"}
            if attack == "variables":
                variables = _variables(rng, proxy.port)
                name = str(variables)[:300]
            elif attack == "address":
                address = _address(rng)
                name = repr(address[:300])
            fell = _command(rng, address, variables, token)
            lines = [line for request in proxy.requests for line in request.lower().splitlines()]
            if any(line.startswith(b"x-injected") for line in lines):
                fell = fell or "a header was injected"
            if any(_leaks(request) for request in other.requests):
                fell = fell or "a secret was sent to the target of a redirect"
    return attack, fell and f"{name}: {fell}"


def _command(rng: Random, address: str, variables: dict[str, str], token: Path) -> str:
    """Run a command that reads from the address; what fell."""
    commands = (
        ("ledger", "import", "--prometheus", address, "--source", "dcgm", "--dry-run", "--insecure"),
        ("dashboards", "push", "--url", address, "--insecure", "--dry-run"),
    )
    words = [*rng.choice(commands), "--token-file", str(token), "--timeout", f"{TIMEOUT_S:g}s"]
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [sys.executable, "-m", "wattlens", *words]
    try:
        done = subprocess.run(command, capture_output=True, env=clean | variables, timeout=_BOUND_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{words[:2]} did not end within {_BOUND_S:g} s"
    output = done.stdout + done.stderr
    if done.returncode not in (1, 2) or b"Traceback" in output or b"\x1b" in output:
        return f"{words[:2]}: exit code {done.returncode}: {output[-300:]!r}"
    return f"{words[:2]}: a secret is printed: {output[-300:]!r}" if _leaks(output) else ""


def _leaks(data: bytes) -> bool:
    encoded = [base64.b64encode(f"u:{secret}".encode()) for secret in SECRETS.values()]
    return any(secret in data for secret in (*(secret.encode() for secret in SECRETS.values()), *encoded))
