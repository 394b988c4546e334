"""One Redfish service over HTTP: log in, get JSON. What answers is not trusted: no redirect, bounded size, time and depth."""

import base64
import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from energy_agent.config_node import Redfish
from energy_agent.core.node_types import NodeMeterError
from energy_agent.sources.node._source import read_secret

ANSWER_LIMIT_B: Final = 1 << 20
_CHUNK_B: Final = 1 << 16
_SESSIONS: Final = "/redfish/v1/SessionService/Sessions"
_KEY: Final = "sources.node.redfish."


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the password to another host."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Follow nothing."""


class RedfishService:
    """A service, logged in when it is first asked."""

    def __init__(self, config: Redfish) -> None:
        self._config = config
        self._root = config.url.rstrip("/")
        self._user = self._password = ""
        if config.auth != "none":
            self._user = read_secret(config.user_file, _KEY + "user_file")
            self._password = read_secret(config.password_file, _KEY + "password_file")
        self._token = self._session = ""
        handlers: list[Any] = [urllib.request.ProxyHandler({}), _NoRedirect()]
        if urlsplit(config.url).scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=_context(config)))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str) -> dict[str, Any]:
        """A resource. Numbers with a point are Decimals.

        Raises:
            NodeMeterError: nobody answered, too slowly, too much, not with status 200, or not with a JSON object.
        """
        if self._config.auth == "session" and not self._token:
            self._log_in()
        try:
            return self._get(path)
        except _LoggedOutError:
            if self._config.auth != "session":
                raise NodeMeterError(f"{self._root} refuses the user's name or password") from None
        self._log_in()  # the session had ended
        try:
            return self._get(path)
        except _LoggedOutError:
            raise NodeMeterError(f"{self._root} refuses a session that it has just opened") from None

    def close(self) -> None:
        """End the session: services allow few."""
        if self._session:
            try:
                self._ask("DELETE", self._session)
            except (NodeMeterError, _LoggedOutError):
                pass
            finally:
                self._token = self._session = ""

    def _get(self, path: str) -> dict[str, Any]:
        body, _ = self._ask("GET", path)
        try:
            found = json.loads(body, parse_float=Decimal)
        except (ValueError, RecursionError, ArithmeticError):
            raise NodeMeterError(f"{self._root}{path} is not JSON") from None
        if not isinstance(found, dict):
            raise NodeMeterError(f"{self._root}{path} is no JSON object")
        return found

    def _log_in(self) -> None:
        self._token = self._session = ""
        body = json.dumps({"UserName": self._user, "Password": self._password}).encode()
        try:
            _, headers = self._ask("POST", _SESSIONS, body)
        except _LoggedOutError:
            raise NodeMeterError(f"{self._root} refuses the user's name or password") from None
        self._token = headers.get("X-Auth-Token") or ""
        where = urlsplit(headers.get("Location") or "").path
        self._session = where if is_path(where) else ""
        if not self._token:
            raise NodeMeterError(f"{self._root} opened no session; set {_KEY}auth to basic or none")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[bytes, Any]:
        request = urllib.request.Request(self._root + path, data=body, method=method)  # noqa: S310 - http(s) by config
        request.add_header("Accept", "application/json")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("X-Auth-Token", self._token)
        elif self._config.auth == "basic":
            pair = base64.b64encode(f"{self._user}:{self._password}".encode()).decode("ascii")
            request.add_header("Authorization", f"Basic {pair}")
        deadline_s = time.monotonic() + self._config.timeout_s
        try:
            with self._opener.open(request, timeout=self._config.timeout_s) as answer:
                return self._body(answer, deadline_s), answer.headers
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (401, 403):
                raise _LoggedOutError from None
            raise NodeMeterError(f"{self._root}{path} answered with status {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise NodeMeterError(f"{self._root}: {_said(reason)}") from None

    def _body(self, answer: Any, deadline_s: float) -> bytes:
        body = bytearray()
        while chunk := answer.read1(_CHUNK_B):
            body += chunk
            if len(body) > ANSWER_LIMIT_B:
                raise NodeMeterError(f"{self._root} answers with more than {ANSWER_LIMIT_B} bytes")
            if time.monotonic() > deadline_s:
                raise NodeMeterError(f"{self._root} did not answer within {self._config.timeout_s:g} s")
        return bytes(body)


class _LoggedOutError(Exception):
    """Status 401 or 403."""


def is_path(value: object) -> bool:
    """A resource's address as a service may give it: a path below /redfish/, of this host, of a sane length."""
    if not isinstance(value, str) or len(value) > 512 or not value.startswith("/redfish/"):
        return False
    return all(c.isascii() and c.isprintable() and c not in " \"'<>\\?#" for c in value) and ".." not in value


def _said(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}); name its issuer in {_KEY}ca_file"
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return (str(reason) or type(reason).__name__)[:200]


def _context(config: Redfish) -> ssl.SSLContext:
    if not config.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=None if config.ca_file is None else str(config.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise NodeMeterError(f"{config.ca_file}: no certificates ({getattr(error, 'strerror', error)})") from None
