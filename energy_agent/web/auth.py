"""Authentication: passwords hashed with bcrypt, and a bearer token.

bcrypt is slow by design. A verified password is remembered as a hash under a key of this process. Others are hashed one at a
time, with a pause after each wrong one, a short queue and a limit per address.
"""

import base64
import hashlib
import hmac
import math
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from energy_agent.web.http1 import PLAIN, ServerResponse
from energy_agent.web.limits import Buckets

REMEMBERED = 256
QUEUE = 4
REST_RATIO = 4.0
"""After a wrong password bcrypt rests so many times as long as it took: it never takes more than a fifth of a core."""
FAILURES_PER_S, FAILURES_AT_ONCE = 0.5, 10.0
_BCRYPT_BYTES = 72  # bcrypt reads no more; what is longer is cut, as the toolkit's library does


@dataclass(frozen=True, slots=True)
class Credentials:
    """What lets a client in: any of the users, or the token. Nothing set: everyone is let in."""

    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)

    @property
    def needed(self) -> bool:
        """True where a client has to authenticate."""
        return bool(self.users or self.token)

    @property
    def challenge(self) -> ServerResponse:
        """The refusal of a client without the right credentials."""
        schemes = ['Basic realm="wattlens", charset="UTF-8"'] * bool(self.users) + ['Bearer realm="wattlens"'] * bool(
            self.token
        )
        return ServerResponse(401, PLAIN, b"credentials are required\n", {"WWW-Authenticate": ", ".join(schemes)})


class Gate:
    """Judges Authorization headers in the clients' threads; what it remembers outlives a change of the credentials."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._key = secrets.token_bytes(32)
        self._good: dict[bytes, None] = {}
        self._failures = Buckets(FAILURES_PER_S, FAILURES_AT_ONCE)
        self._queue, self._turn = threading.Semaphore(QUEUE), threading.Lock()

    def refusal(self, credentials: Credentials, authorization: str, address: str) -> ServerResponse | None:
        """Why a client with this header ("" without one) is not let in; None where it is."""
        scheme, _, value = authorization.partition(" ")
        if not credentials.needed or (scheme.lower() == "bearer" and self._is_token(value.strip(), credentials.token)):
            return None
        name, colon, password = _decode(value).partition(":") if scheme.lower() == "basic" else ("", "", "")
        mark = self._mark(name, credentials.users.get(name, ""), password)
        if mark in self._good:
            return None
        wait_s = self._failures.take(address) if value else 0.0
        if wait_s:
            return too_many(wait_s)
        if not (colon and credentials.users):
            return credentials.challenge
        if not self._queue.acquire(blocking=False):
            return too_many(1.0)
        try:
            return None if self._is_right(credentials.users, name, password, mark) else credentials.challenge
        finally:
            self._queue.release()

    def _is_right(self, users: Mapping[str, str], name: str, password: str, mark: bytes) -> bool:
        # An unknown user takes as long as the most expensive hash: the duration does not reveal which names exist.
        hashed = users.get(name) or max(users.values(), key=lambda each: each.split("$")[2])
        with self._turn:
            began_s = time.monotonic()
            if verify(password, hashed) and name in users:
                self._good[mark] = None
                if len(self._good) > REMEMBERED:
                    del self._good[next(iter(self._good))]
                return True
            time.sleep(REST_RATIO * (time.monotonic() - began_s))
        return False

    def _is_token(self, value: str, token: str) -> bool:
        return bool(token) and hmac.compare_digest(self._mark(value), self._mark(token))

    def _mark(self, *parts: str) -> bytes:
        return hmac.digest(self._key, repr(parts).encode(), hashlib.sha256)


def too_many(wait_s: float) -> ServerResponse:
    """Come again after a while."""
    return ServerResponse(429, PLAIN, b"too many requests\n", {"Retry-After": str(max(1, math.ceil(wait_s)))})


def _decode(value: str) -> str:
    """The user and password of basic authentication; "" where it has none."""
    try:
        return base64.b64decode(value.strip(), validate=True).decode()
    except ValueError:
        return ""


def verify(password: str, hashed: str) -> bool:
    """Whether bcrypt makes `hashed` of the password. Frees the interpreter while it computes.

    Raises:
        UsageError: the library is missing.
    """
    try:
        return bool(library().checkpw(password.encode()[:_BCRYPT_BYTES], hashed.encode()))
    except ValueError:  # a salt that bcrypt does not read
        return False


def library() -> ModuleType:
    """bcrypt; raises UsageError where it is not installed."""
    try:
        import bcrypt
    except ImportError:
        raise UsageError(
            f"basic_auth_users needs bcrypt, which is not installed: {install_hint('auth')}, or use web.bearer_token_file"
        ) from None
    return bcrypt
