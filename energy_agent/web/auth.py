"""Who may read: passwords hashed by bcrypt, and a bearer token.

bcrypt is slow by design, so a verified password is remembered, a wrong one too, and only what was never seen is hashed: by one
thread at a time, with a rest after each wrong one, behind a short queue and a limit for each address. Who is remembered waits
for none of that. What is remembered is a keyed hash under a key made at start, never a password.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from types import ModuleType

from energy_agent.core.errors import UsageError
from energy_agent.web.limits import AddressLimits

REMEMBERED = 256
QUEUE = 4
TURN_S = 4.0
"""So long a password waits for its turn; then the client is asked to come again."""
REST_RATIO = 4.0
"""After a wrong password bcrypt rests so many times as long as it took: it never takes more than a fifth of a core."""
FAILURES_PER_S, FAILURES_AT_ONCE = 0.5, 10.0
_BCRYPT_BYTES = 72  # bcrypt reads no more; what is longer is cut, as the toolkit's library does
_COST = re.compile(r"^(\$2[abxy]?\$)(\d\d)\$")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1


@dataclass(frozen=True, slots=True)
class Credentials:
    """What lets a client in: any of the users, or the token. Nothing set: everyone is let in."""

    users: dict[str, str] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)

    @property
    def needed(self) -> bool:
        """True where a client has to say who it is."""
        return bool(self.users or self.token)

    @property
    def challenge(self) -> tuple[tuple[str, str], ...]:
        """The headers of a 401."""
        basic = (("WWW-Authenticate", 'Basic realm="wattlens", charset="UTF-8"'),) if self.users else ()
        bearer = (("WWW-Authenticate", 'Bearer realm="wattlens"'),) if self.token else ()
        return basic + bearer


@dataclass(frozen=True, slots=True)
class Verdict:
    """`status` 200: let in; 401: wrong or nothing said; 429: not looked at, come again after `wait_s`."""

    status: int
    wait_s: float = 0.0


_IN, _OUT = Verdict(200), Verdict(401)


class Gate:
    """Judges what clients say, in their own threads; the memory outlives a change of the credentials."""

    def __init__(self) -> None:
        """An empty memory."""
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._bad: OrderedDict[bytes, None] = OrderedDict()
        self._failures = AddressLimits(FAILURES_PER_S, FAILURES_AT_ONCE, time.monotonic)
        self._turn = threading.Lock()
        self._waiting = 0
        self._rest_until_s = 0.0

    def judge(self, credentials: Credentials, said: str, address: str) -> Verdict:
        """The verdict on an Authorization header ('' where there is none); waits at most about TURN_S."""
        if not credentials.needed:
            return _IN
        scheme, _, value = said.partition(" ")
        if not value:
            return _OUT
        if scheme.lower() == "bearer" and credentials.token:
            same = hmac.compare_digest(self._hash(value.strip()), self._hash(credentials.token))
            return _IN if same else self._failed(address)
        if scheme.lower() == "basic" and credentials.users:
            return self._judge_basic(credentials.users, value, address)
        return self._failed(address)

    def _judge_basic(self, users: dict[str, str], value: str, address: str) -> Verdict:
        try:
            name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return self._failed(address)
        if not colon:
            return self._failed(address)
        hashed = users.get(name, "")
        mark = self._hash(name, hashed, password)
        with self._lock:
            if mark in self._good:
                self._good.move_to_end(mark)
                return _IN
            known_bad = mark in self._bad
        wait_s = self._failures.take(address)
        if known_bad:
            return Verdict(429, wait_s) if wait_s else _OUT
        if wait_s:
            return Verdict(429, wait_s)
        return self._hash_slowly(users, hashed, password, mark)

    def _hash_slowly(self, users: dict[str, str], hashed: str, password: str, mark: bytes) -> Verdict:
        deadline = time.monotonic() + TURN_S
        with self._lock:
            if self._waiting >= QUEUE:
                return Verdict(429, 1.0)
            self._waiting += 1
        try:
            if not self._turn.acquire(timeout=TURN_S):
                return Verdict(429, 1.0)
            try:
                rest_s = self._rest_until_s - time.monotonic()
                if rest_s > deadline - time.monotonic():
                    return Verdict(429, rest_s)
                if rest_s > 0:
                    time.sleep(rest_s)
                began_s = time.monotonic()
                same = _matches(users.values(), hashed, password)
                now_s = time.monotonic()
                if not same:
                    self._rest_until_s = now_s + REST_RATIO * (now_s - began_s)
            finally:
                self._turn.release()
        finally:
            with self._lock:
                self._waiting -= 1
        with self._lock:
            memory = self._good if same else self._bad
            memory[mark] = None
            if len(memory) > REMEMBERED:
                memory.popitem(last=False)
        return _IN if same else _OUT

    def _failed(self, address: str) -> Verdict:
        wait_s = self._failures.take(address)
        return Verdict(429, wait_s) if wait_s else _OUT

    def _hash(self, *parts: str) -> bytes:
        text = b"".join(len(raw := part.encode("utf-8", "surrogateescape")).to_bytes(4, "big") + raw for part in parts)
        return hmac.digest(self._key, text, hashlib.sha256)


def _matches(hashes: Collection[str], hashed: str, password: str) -> bool:
    """Whether the password is that of `hashed`, "" for an unknown user.

    Every wrong guess costs as much as one against the most expensive hash, so that its duration does not tell whether the user
    exists: an unknown one is compared with that hash, and after a cheaper one the rest is made up. A cost is a power of two, so
    one more hash at each cost from the user's own to the highest makes up exactly the difference.
    """
    most = max(hashes, key=_cost)
    if not hashed:
        verify(password, most)
        return False
    if verify(password, hashed):
        return True
    for cost in range(_cost(hashed), _cost(most)):
        verify(password, _COST.sub(rf"\g<1>{cost:02d}$", hashed))
    return False


def _cost(hashed: str) -> int:
    """log2 of bcrypt's rounds; 0 where the text is no hash."""
    match = _COST.match(hashed)
    return int(match[2]) if match else 0


def verify(password: str, hashed: str) -> bool:
    """Whether bcrypt makes `hashed` of the password. Frees the interpreter while it computes.

    Raises:
        UsageError: the library is missing.
    """
    bcrypt = _library()
    try:
        return bool(bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], hashed.encode()))
    except ValueError:  # a salt that bcrypt does not read
        return False


def need_library() -> None:
    """Raises UsageError where passwords cannot be verified."""
    _library()


def _library() -> ModuleType:
    try:
        import bcrypt
    except ImportError:
        raise UsageError(
            "basic_auth_users needs bcrypt, which is not installed: pip install 'wattlens[auth]', or use web.bearer_token_file"
        ) from None
    return bcrypt


def token_in(text: str, name: str) -> str:
    """The bearer token of a file's text; `name` stands in messages.

    Raises:
        UsageError: it holds none, more than one line, or characters that no token may have.
    """
    token = text.strip()
    if not token:
        raise UsageError(f"web.bearer_token_file {name} is empty")
    if len(token) > 2048 or not _TOKEN.fullmatch(token):
        raise UsageError(
            f"web.bearer_token_file {name} holds no token: one line of at most 2048 letters, digits and ._~+/- (RFC 6750)"
        )
    if len(token) < 16:
        raise UsageError(f"web.bearer_token_file {name}: a token of {len(token)} characters can be guessed; take 16 or more")
    return token
