"""Client of a Grafana server's HTTP API: JSON over the bounded HTTP client, and one clear line for whatever goes wrong.

Callers name every object by its uid: numeric ids are off in Grafana 13.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import printable
from energy_agent.runtime.network.http import (
    HttpCertificateError,
    HttpClient,
    HttpError,
    HttpProtocolError,
    HttpTimeoutError,
    HttpTooLargeError,
)
from energy_agent.runtime.network.tls import TlsFiles
from wattlens.grafana.access import GrafanaAccess

ANSWER_LIMIT_B: Final = 32 << 20
NO_GRAFANA: Final = "the response is not from the Grafana API; set --url to Grafana's own address, including its path"
_CPU_LIMIT_S: Final = 10.0
_PATH_SAFE: Final = "!$%&'()*+,/:;=@~"
_SAID: Final = 300
_PAGE: Final = 500
_PAGES: Final = 20
_DEPTH: Final = 100
_NOTHING: Final[Mapping[str, str]] = {}


class GrafanaError(WattlensError):
    """A request to Grafana failed. `status` is the HTTP status, 0 without a response; `word` is Grafana's name of the error."""

    def __init__(self, message: str, status: int = 0, word: str = "") -> None:
        super().__init__(message)
        self.status, self.word = status, word


def one_line(text: object) -> str:
    """Format a server's message as one line for a terminal."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= _SAID else f"{line[: _SAID - 3]}..."


class Grafana:
    """A Grafana server. `what` of a request completes "is not allowed to ..."; its path comes after /api.

    Raises:
        UsageError: the token's file cannot be read, or the CA's file.
        GrafanaError: from every method: not reached, not a Grafana, refused; one line that says what to do.
    """

    def __init__(self, access: GrafanaAccess) -> None:
        if access.ca_file is not None:
            _check_certificates(access.ca_file)
        parts = access.parts()
        self.url = access.url.rstrip("/")
        self._access, self._headers = access, {"Authorization": f"Bearer {access.token()}", "Accept": "application/json"}
        self._http = HttpClient(
            f"{parts.scheme}://{parts.netloc}{quote(parts.path.rstrip('/'), safe=_PATH_SAFE)}/api",
            access.timeout_s,
            TlsFiles(access.ca_file),
            body_limit_b=ANSWER_LIMIT_B,
            cpu_limit_s=_CPU_LIMIT_S,
        )

    def version(self) -> str:
        """Which version answers; '' where the server hides it. It needs no token."""
        health = self.send("", "GET", "/health")
        if "database" not in health:
            raise self.foreign_error()
        if health["database"] != "ok":
            raise GrafanaError(f"{self.url}: Grafana cannot use its own database now ({one_line(health['database'])})")
        return one_line(health.get("version", ""))

    def find(self, what: str, path: str) -> dict[str, Any] | None:
        """Return an object; None if it does not exist, or this token may not see it."""
        try:
            return self.send(what, "GET", path)
        except GrafanaError as error:
            if error.status == 404:
                return None
            raise

    def objects(self, what: str, path: str, **query: object) -> list[dict[str, Any]]:
        """Return a list of objects."""
        reply = self.request(what, "GET", f"{path}?{urlencode(query)}")
        if not isinstance(reply, list) or not all(isinstance(each, dict) for each in reply):
            raise self.foreign_error()
        return reply

    def pages(self, what: str, path: str, **query: object) -> list[dict[str, Any]]:
        """Return the objects of all pages of a list."""
        gathered: list[dict[str, Any]] = []
        for page in range(1, _PAGES + 1):
            some = self.objects(what, path, **query, limit=_PAGE, page=page)
            gathered += some
            if len(some) < _PAGE:
                return gathered
        raise GrafanaError(f"{self.url}: more than {_PAGES * _PAGE} objects at {path}; is this the right folder?")

    def send(
        self, what: str, method: str, path: str, document: object = None, headers: Mapping[str, str] = _NOTHING
    ) -> dict[str, Any]:
        """Send a document and return the object that answers it."""
        reply = self.request(what, method, path, document, headers)
        if not isinstance(reply, dict):
            raise self.foreign_error()
        return reply

    def foreign_error(self) -> GrafanaError:
        """The error for a response that is not Grafana's."""
        return GrafanaError(f"{self.url}: {NO_GRAFANA}")

    def request(self, what: str, method: str, path: str, document: object = None, headers: Mapping[str, str] = _NOTHING) -> Any:
        """Return the JSON that answers a request."""
        access, url, body, kind = self._access, self.url, None, {}
        if document is not None:
            body, kind = json.dumps(document).encode(), {"Content-Type": "application/json"}
        try:
            response = self._http.request(method, path, self._headers | kind | dict(headers), body)
        except HttpTimeoutError:
            raise GrafanaError(f"{url}: no response in time ({access.timeout_s:g} s; --timeout)") from None
        except HttpCertificateError as error:
            hint = (
                f"its issuer is not in --ca-file {access.ca_file}"
                if access.ca_file
                else "pass the certificate of its issuer with --ca-file"
            )
            raise GrafanaError(f"{url}: {error.reason}; {hint}") from None
        except HttpTooLargeError:
            raise GrafanaError(f"{url}: the response is larger than {ANSWER_LIMIT_B >> 20} MiB; is this Grafana?") from None
        except HttpProtocolError:
            raise self.foreign_error() from None
        except HttpError as error:
            raise GrafanaError(f"{url}: cannot be reached ({error.reason}); check --url") from None
        if 300 <= response.status < 400:
            where = one_line(response.headers.get("location", "nowhere"))
            raise GrafanaError(f"{url}: redirects to {where}; give that address in --url")
        try:
            answer = json.loads(response.body)
        except (ValueError, RecursionError):
            if response.ok:
                raise self.foreign_error() from None
            answer = {}
        if not response.ok:
            raise _refused(access, what, response.status, answer if isinstance(answer, dict) else {})
        if not _shallow(answer):
            raise self.foreign_error()
        return answer


def _refused(access: GrafanaAccess, what: str, status: int, answer: Mapping[str, Any]) -> GrafanaError:
    url = access.url.rstrip("/")
    option = f"--token-file {access.token_file}"
    reply, word = one_line(answer.get("message", "") or ""), str(answer.get("status", ""))
    detail = f" (reply: {reply})" if reply else ""
    if status == 401:
        line = f"{url}: rejects the token in {option}{detail}; the token is wrong, expired or for another Grafana"
    elif status == 403:
        line = (
            f"{url}: the service account of {option} is not allowed to {what}{detail}; for the required role see "
            "docs/grafana.md"
        )
    elif status == 404 and not reply:
        line = f"{url}: not found (404) in the attempt to {what}; check that --url is the address of Grafana itself"
    elif status in (429, 502, 503, 504):
        line = f"{url}: is busy or not ready (HTTP {status}){detail}; try again"
    else:
        line = f"{url}: failed to {what} (HTTP {status}){detail}"
    return GrafanaError(line, status, word)


def _check_certificates(ca_file: Path) -> None:
    try:
        with ca_file.open("rb") as file:
            if b"-----BEGIN CERTIFICATE-----" not in file.read(1 << 20):
                raise UsageError(f"--ca-file {ca_file}: expected a certificate in PEM, found none")
    except OSError as error:
        raise UsageError(f"--ca-file {ca_file}: {error.strerror}") from None


def _shallow(value: Any) -> bool:
    """Whether JSON is as flat as Grafana's is: what walks through it later recurses."""
    level = [value]
    for _ in range(_DEPTH):
        if not level:
            return True
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return not level
