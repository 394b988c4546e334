"""Passwords and tokens: who is let in, and that guessing costs little and delays nobody who is known."""

import base64
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from energy_agent.web import auth
from energy_agent.web.auth import QUEUE, Credentials, Gate
from energy_agent.web.limits import ADDRESSES, AddressLimits, Bucket, Newcomers, owner_of
from tests.certificates import hashed
from tests.support import eventually

SLOW = hashed("right", cost=10)
USERS = Credentials({"prometheus": hashed("right"), "umlaut": hashed("größe")})
TOKEN = Credentials(token="0123456789abcdef")


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_without_credentials_everyone_is_let_in() -> None:
    assert Gate().judge(Credentials(), "", "a").status == 200


@pytest.mark.parametrize(
    "said", [basic("prometheus", "right"), basic("umlaut", "größe"), basic("prometheus", "right").replace("B", "b", 1)]
)
def test_the_right_password_is_let_in_again_and_again(said: str) -> None:
    gate = Gate()
    assert [gate.judge(USERS, said, "a").status for _ in range(50)] == [200] * 50


@pytest.mark.parametrize(
    "said",
    [
        "", "Basic", "Basic ", "Basic ###", "Basic " + base64.b64encode(b"prometheus").decode(), basic("prometheus", "wrong"),
        basic("prometheus", ""), basic("nobody", "right"), basic("", "right"), "Bearer right", "Digest x", "Basic /w==",
        basic("prometheus", "right") + ", " + basic("prometheus", "right"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_not(said: str) -> None:
    assert Gate().judge(USERS, said, "a").status == 401


def test_bcrypt_reads_72_bytes_as_elsewhere() -> None:
    users = Credentials({"a": hashed("x" * 72)})
    assert Gate().judge(users, basic("a", "x" * 72 + "more"), "a").status == 200
    assert Gate().judge(users, basic("a", "x" * 71), "a").status == 401


def test_the_token() -> None:
    gate = Gate()
    assert gate.judge(TOKEN, "Bearer 0123456789abcdef", "a").status == 200
    assert gate.judge(TOKEN, "bearer  0123456789abcdef", "a").status == 200
    for wrong in ("Bearer 0123456789abcdeF", "Bearer", "Bearer ", "Basic 0123456789abcdef", "Bearer 0123456789abcdef0"):
        assert gate.judge(TOKEN, wrong, "a").status == 401


def test_either_of_both_lets_in_and_the_challenge_names_both() -> None:
    both = Credentials(USERS.users, TOKEN.token)
    assert Gate().judge(both, basic("prometheus", "right"), "a").status == 200
    assert Gate().judge(both, "Bearer 0123456789abcdef", "a").status == 200
    assert [value.split()[0] for _, value in both.challenge] == ["Basic", "Bearer"]


def test_a_password_that_was_changed_is_wrong_at_once() -> None:
    gate = Gate()
    assert gate.judge(USERS, basic("prometheus", "right"), "a").status == 200
    changed = Credentials({"prometheus": hashed("other")})
    assert gate.judge(changed, basic("prometheus", "right"), "a").status == 401
    assert gate.judge(changed, basic("prometheus", "other"), "a").status == 200
    assert gate.judge(Credentials({"x": hashed("y")}), basic("prometheus", "other"), "a").status == 401


def test_an_address_that_guesses_is_asked_to_wait_and_another_is_not() -> None:
    gate, began_s = Gate(), time.monotonic()
    verdicts = [gate.judge(USERS, basic("prometheus", f"guess {k}"), "bad") for k in range(40)]
    took_s = time.monotonic() - began_s
    assert [v.status for v in verdicts[:10]] == [401] * 10
    assert {v.status for v in verdicts[10:]} <= {401, 429}
    assert sum(v.status == 401 for v in verdicts) <= auth.FAILURES_AT_ONCE + auth.FAILURES_PER_S * took_s
    assert all(v.wait_s > 0 for v in verdicts if v.status == 429)
    assert gate.judge(USERS, basic("prometheus", "right"), "good").status == 200


def test_the_known_one_is_let_in_while_bcrypt_is_busy_and_its_queue_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, users = Gate(), Credentials({"a": SLOW})
    good = basic("a", "right")
    assert gate.judge(users, good, "good").status == 200
    statuses: list[int] = []
    idle, real = threading.Event(), auth.verify

    def busy(password: str, hashed: str) -> bool:
        idle.wait(60)
        return real(password, hashed)

    monkeypatch.setattr(auth, "verify", busy)
    guessing = [
        threading.Thread(target=lambda k=k: statuses.append(gate.judge(users, basic("a", f"{k}"), f"host{k}").status))
        for k in range(30)
    ]
    for thread in guessing:
        thread.start()
    eventually(lambda: gate.judge(users, good, "good").status == 200 and len(statuses) >= 30 - QUEUE)
    assert set(statuses) == {429}
    idle.set()
    for thread in guessing:
        thread.join(60)
        assert gate.judge(users, good, "good").status == 200
    assert set(statuses) <= {401, 429}
    assert len(statuses) == 30


def test_bcrypt_never_runs_twice_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = [], []

    def slow(password: str, hashed: str) -> bool:
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return False

    monkeypatch.setattr(auth, "verify", slow)
    gate = Gate()
    threads = [threading.Thread(target=gate.judge, args=(USERS, basic("a", str(k)), f"h{k}")) for k in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most
    assert max(most) == 1


def test_what_was_wrong_once_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    assert gate.judge(USERS, basic("prometheus", "wrong"), "a").status == 401
    monkeypatch.setattr(auth, "verify", lambda *_: pytest.fail("hashed again"))
    assert gate.judge(USERS, basic("prometheus", "wrong"), "b").status == 401


def test_every_wrong_guess_costs_as_much_as_the_most_expensive_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {"cheap": 4, "middle": 6, "dear": 7, "other": 4}
    users = Credentials({name: hashed("right", cost) for name, cost in costs.items()})
    work: list[int] = []
    real = auth.verify

    def counting(password: str, hashed: str) -> bool:
        work.append(2 ** int(hashed.split("$")[2]))
        return real(password, hashed)

    monkeypatch.setattr(auth, "verify", counting)
    for name in [*costs, "nobody", ""]:
        work.clear()
        assert Gate().judge(users, basic(name, "wrong"), "a").status == 401
        assert sum(work) == 2**7, name
    for name in costs:
        assert Gate().judge(users, basic(name, "right"), "a").status == 200


def test_no_password_is_kept() -> None:
    gate = Gate()
    gate.judge(USERS, basic("prometheus", "right"), "a")
    gate.judge(USERS, basic("prometheus", "wrong-one"), "a")
    assert b"right" not in b"".join(gate._good) + b"".join(gate._bad)
    assert "right" not in repr(USERS)
    assert "0123456789abcdef" not in repr(TOKEN)


def test_without_the_library_the_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(UsageError, match=r"pip install 'wattlens\[auth\]'"):
        auth.need_library()


@pytest.mark.parametrize(
    "text", ["", " \n", "two words aaaaaaaaaaaaaaa", "a" * 15, "line\nline-aaaaaaaaaaaaaaaa", "ä" * 20, "a" * 3000]
)
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(UsageError, match=r"web\.bearer_token_file f") as caught:
        auth.token_in(text, "f")
    assert "\n" not in str(caught.value)


@given(st.floats(0.1, 100), st.integers(1, 20), st.lists(st.floats(0, 5), max_size=60))
def test_a_bucket_never_gives_more_than_its_burst_and_rate(per_s: float, burst: int, steps: list[float]) -> None:
    now_s, bucket, given_out = 0.0, Bucket(per_s, burst, 0.0), 0
    for step in steps:
        now_s += step
        given_out += bucket.take(now_s)
        assert given_out <= burst + now_s * per_s + 1e-6
        assert 0 <= bucket.wait_s() <= 1 / per_s + 1e-9


def test_addresses_are_remembered_in_bounded_memory() -> None:
    limits = AddressLimits(1, 1, lambda: 0.0)
    assert [limits.take("a"), limits.take("a") > 0] == [0.0, True]
    for k in range(5 * ADDRESSES):
        limits.take(f"x{k}")
    assert len(limits._buckets) == ADDRESSES
    assert AddressLimits(0, 0, lambda: 0.0).take("a") == 0.0


def test_guesses_from_ever_new_addresses_are_bounded_in_all_and_keep_no_known_one_out() -> None:
    now_s = [0.0]
    newcomers = Newcomers(lambda: now_s[0])
    newcomers.let_in("prometheus")
    answered = []
    for k in range(60_000):  # 2000 per second
        now_s[0] = k / 2000
        if newcomers.may_connect(f"attacker-{k}"):
            answered.append(now_s[0])
            newcomers.guessed_wrong()
        if k % 2000 == 0:
            assert newcomers.may_connect("prometheus")
    late = [at_s for at_s in answered if at_s >= 10]
    assert len(late) <= 20 * 100 + 100
    assert len(late) >= 20 * 50  # so that a new scraper gets in
    now_s[0] += 11
    assert all(newcomers.may_connect(f"scraper-{k}") for k in range(1000))  # nobody guesses any more


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_who_is_behind_an_address(address: str, owner: str) -> None:
    assert owner_of(address) == owner
