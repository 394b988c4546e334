"""One Redfish service over HTTP: log in, get JSON. What answers is not trusted."""

import json
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from energy_agent.config.node_meters import RedfishLogin
from energy_agent.core.meters.reading import MeterError
from energy_agent.runtime.files.secret_file import read_secret
from energy_agent.runtime.network.http import HttpClient, HttpError, HttpResponse, basic_authorization
from energy_agent.runtime.network.tls import TlsFiles

_SESSIONS: Final = "/redfish/v1/SessionService/Sessions"


class RedfishService:
    """A service, logged in when it is first asked. `keys` is where its configuration stands, for messages that name a key."""

    def __init__(self, config: RedfishLogin, timeout_s: float, keys: str = "sources.node.redfish.") -> None:
        self._config, self._keys = config, keys
        self._root = config.url.rstrip("/")
        self._user = self._password = ""
        if config.auth != "none":
            self._user = read_secret(config.user_file, keys + "user_file")
            self._password = read_secret(config.password_file, keys + "password_file")
        self._token = self._session = ""
        self._http = HttpClient(config.url, timeout_s, TlsFiles(config.ca_file, verify=config.verify), f"{keys}ca_file")

    def get(self, path: str) -> dict[str, Any]:
        """A resource. Numbers with a point are Decimals.

        Raises:
            MeterError: nobody answered, too slowly, too much, not with status 200, or not with a JSON object.
        """
        if self._config.auth == "session" and not self._token:
            self._log_in()
        try:
            return self._get(path)
        except _LoggedOutError:
            if self._config.auth != "session":
                raise MeterError(f"{self._root} rejects the user name or the password") from None
        self._log_in()  # the session had ended
        try:
            return self._get(path)
        except _LoggedOutError:
            raise MeterError(f"{self._root} rejects the session that it has just created") from None

    def close(self) -> None:
        """End the session: services allow few."""
        if self._session:
            try:
                self._ask("DELETE", self._session)
            except (MeterError, _LoggedOutError):
                pass
            finally:
                self._token = self._session = ""

    def _get(self, path: str) -> dict[str, Any]:
        try:
            body = json.loads(self._ask("GET", path).body, parse_float=Decimal)
        except (ValueError, RecursionError, ArithmeticError):
            raise MeterError(f"{self._root}{path} is not JSON") from None
        if not isinstance(body, dict):
            raise MeterError(f"{self._root}{path}: expected a JSON object")
        return body

    def _log_in(self) -> None:
        self._token = self._session = ""
        body = json.dumps({"UserName": self._user, "Password": self._password}).encode()
        try:
            headers = self._ask("POST", _SESSIONS, body).headers
        except _LoggedOutError:
            raise MeterError(f"{self._root} rejects the user name or the password") from None
        self._token = headers.get("x-auth-token", "")
        where = urlsplit(headers.get("location", "")).path
        self._session = where if is_path(where) else ""
        if not self._token:
            raise MeterError(f"{self._root} did not create a session; set {self._keys}auth to basic or none")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> HttpResponse:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["X-Auth-Token"] = self._token
        elif self._config.auth == "basic":
            headers["Authorization"] = basic_authorization(self._user, self._password)
        try:
            answer = self._http.request(method, path, headers, body)
        except HttpError as error:
            raise MeterError(str(error)) from None
        if answer.status in (401, 403):
            raise _LoggedOutError
        if not answer.ok:
            raise MeterError(f"{self._root}{path} responded with status {answer.status}")
        return answer


class _LoggedOutError(Exception):
    """Status 401 or 403."""


def is_path(value: object) -> bool:
    """A resource's address as a service may give it: a path below /redfish/, of this host, of a sane length."""
    if not isinstance(value, str) or len(value) > 512 or not value.startswith("/redfish/"):
        return False
    return all(c.isascii() and c.isprintable() and c not in " \"'<>\\?#" for c in value) and ".." not in value
