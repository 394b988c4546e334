"""Passwords and tokens: who is let in, and that guessing costs little and delays nobody who is known."""

import base64
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.web import auth
from energy_agent.web.auth import QUEUE, Credentials, Gate
from tests.certificates import hashed
from tests.support import eventually

USERS = Credentials({"prometheus": hashed("right"), "umlaut": hashed("größe"), "long": hashed("x" * 72)})
TOKEN = Credentials(token="0123456789abcdef")
BOTH = Credentials(USERS.users, TOKEN.token)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def status(gate: Gate, credentials: Credentials, authorization: str, address: str = "a") -> int:
    refusal = gate.refusal(credentials, authorization, address)
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    ("credentials", "authorization"),
    [
        (Credentials(), ""),
        (USERS, basic("prometheus", "right")),
        (USERS, basic("umlaut", "größe")),
        (USERS, basic("prometheus", "right").replace("B", "b", 1)),
        (USERS, basic("long", "x" * 72 + "more")),  # bcrypt reads 72 bytes
        (TOKEN, "Bearer 0123456789abcdef"),
        (TOKEN, "bearer  0123456789abcdef"),
        (BOTH, basic("prometheus", "right")),
        (BOTH, "Bearer 0123456789abcdef"),
    ],
)
def test_right_credentials_are_let_in_again_and_again(credentials: Credentials, authorization: str) -> None:
    gate = Gate()
    assert [status(gate, credentials, authorization) for _ in range(50)] == [200] * 50


@pytest.mark.parametrize(
    ("credentials", "authorization"),
    [
        *((USERS, wrong) for wrong in (
            "", "Basic", "Basic ", "Basic ###", "Basic " + base64.b64encode(b"prometheus").decode(), "Bearer right", "Bearer ",
            basic("prometheus", "wrong"), basic("prometheus", ""), basic("nobody", "right"), basic("", "right"), "Digest x",
            "Basic /w==", basic("long", "x" * 71), basic("prometheus", "right") + ", " + basic("prometheus", "right"),
        )),
        *((TOKEN, wrong) for wrong in (
            "Bearer 0123456789abcdeF", "Bearer", "Bearer ", "Basic 0123456789abcdef", "Bearer 0123456789abcdef0", basic("", ""),
        )),
    ],
)  # fmt: skip
def test_wrong_credentials_are_not(credentials: Credentials, authorization: str) -> None:
    assert status(Gate(), credentials, authorization) == 401


def test_the_challenge_names_what_lets_in() -> None:
    for credentials, schemes in ((USERS, ("Basic",)), (TOKEN, ("Bearer",)), (BOTH, ("Basic", "Bearer"))):
        named = credentials.challenge.headers["WWW-Authenticate"]
        assert tuple(scheme for scheme in ("Basic", "Bearer") if f"{scheme} realm=" in named) == schemes


def test_a_password_that_was_changed_is_wrong_at_once() -> None:
    gate = Gate()
    assert status(gate, USERS, basic("prometheus", "right")) == 200
    changed = Credentials({"prometheus": hashed("other")})
    assert status(gate, changed, basic("prometheus", "right")) == 401
    assert status(gate, changed, basic("prometheus", "other")) == 200
    assert status(gate, Credentials({"x": hashed("y")}), basic("prometheus", "other")) == 401


def test_guessing_address_is_rate_limited_and_others_are_not() -> None:
    gate, began_s = Gate(), time.monotonic()
    refusals = [gate.refusal(USERS, basic("prometheus", f"guess {k}"), "bad") for k in range(40)]
    took_s = time.monotonic() - began_s
    statuses = [refusal.status for refusal in refusals if refusal is not None]
    assert len(statuses) == 40
    assert statuses[:10] == [401] * 10
    assert set(statuses) <= {401, 429}
    assert statuses.count(401) <= auth.FAILURES_AT_ONCE + auth.FAILURES_PER_S * took_s
    assert all("Retry-After" in refusal.headers for refusal in refusals if refusal is not None and refusal.status == 429)
    assert status(gate, USERS, basic("prometheus", "right"), "good") == 200


def test_a_known_client_is_let_in_while_bcrypt_is_busy_with_one_of_a_short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, good, idle = Gate(), basic("prometheus", "right"), threading.Event()
    assert status(gate, USERS, good, "good") == 200
    running, most, statuses = [], [], list[int]()

    def busy(*_: str) -> bool:
        running.append(1)
        most.append(len(running))
        idle.wait(60)
        running.pop()
        return False

    monkeypatch.setattr(auth, "verify", busy)
    with ThreadPoolExecutor(30) as pool:
        guesses = [
            pool.submit(lambda k=k: statuses.append(status(gate, USERS, basic("a", f"{k}"), f"host{k}"))) for k in range(30)
        ]
        eventually(lambda: status(gate, USERS, good, "good") == 200 and len(statuses) >= 30 - QUEUE)
        assert statuses == [429] * (30 - QUEUE)
        idle.set()
        for each in guesses:
            each.result(60)
            assert status(gate, USERS, good, "good") == 200
    assert sorted(statuses) == [401] * QUEUE + [429] * (30 - QUEUE)
    assert max(most) == 1


def test_bcrypt_rests_after_a_wrong_password_four_times_as_long_as_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "verify", lambda *_: threading.Event().wait(0.05))
    rests: list[float] = []
    monkeypatch.setattr(auth.time, "sleep", rests.append)
    assert status(Gate(), USERS, basic("prometheus", "wrong")) == 401
    (rest_s,) = rests
    assert rest_s >= auth.REST_RATIO * 0.05


def test_an_unknown_user_takes_as_long_as_the_most_expensive_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Credentials({"cheap": hashed("right", 4), "dear": hashed("right", 7), "other": hashed("right", 5)})
    costs: list[str] = []
    real = auth.verify

    def counting(password: str, hashed: str) -> bool:
        costs.append(hashed.split("$")[2])
        return real(password, hashed)

    monkeypatch.setattr(auth, "verify", counting)
    for name in ("nobody", ""):
        assert status(Gate(), users, basic(name, "right")) == 401
    assert costs == ["07", "07"]


def test_no_password_is_shown() -> None:
    assert "prometheus" not in repr(BOTH)
    assert TOKEN.token not in repr(BOTH)


def test_without_the_library_the_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(UsageError, match=r"pip install .\.\[auth\]"):
        auth.library()
