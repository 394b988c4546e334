"""The connection to a Grafana: JSON over the bounded HTTP client, and one clear line for whatever goes wrong."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

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


class GrafanaError(WattlensError):
    """A request to Grafana failed. `status` is the HTTP status, 0 without a response; `word` is Grafana's name of the error."""

    def __init__(self, message: str, status: int = 0, word: str = "") -> None:
        super().__init__(message)
        self.status, self.word = status, word


def one_line(text: object) -> str:
    """Format a server's message as one line for a terminal."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= _SAID else f"{line[: _SAID - 3]}..."


class GrafanaConnection:
    """Sends requests to the HTTP API of a Grafana.

    Raises:
        UsageError: a file of `access` cannot be read.
    """

    def __init__(self, access: GrafanaAccess) -> None:
        if access.ca_file is not None:
            _check_certificates(access.ca_file)
        parts = access.parts()
        self._access, self._headers = access, {"Authorization": f"Bearer {access.token()}", "Accept": "application/json"}
        self._http = HttpClient(
            f"{parts.scheme}://{parts.netloc}{quote(parts.path.rstrip('/'), safe=_PATH_SAFE)}/api",
            access.timeout_s,
            TlsFiles(access.ca_file),
            body_limit_b=ANSWER_LIMIT_B,
            cpu_limit_s=_CPU_LIMIT_S,
        )

    def request(self, what: str, method: str, path: str, document: object, headers: Mapping[str, str]) -> Any:
        """The JSON that answers a request; `what` is being done, and `path` comes after /api.

        Raises:
            GrafanaError: whatever goes wrong.
        """
        access, url = self._access, self._access.url.rstrip("/")
        body, kind = None, {}
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
            raise GrafanaError(f"{url}: {NO_GRAFANA}") from None
        except HttpError as error:
            raise GrafanaError(f"{url}: cannot be reached ({error.reason}); check --url") from None
        if 300 <= response.status < 400:
            where = one_line(response.headers.get("location", "nowhere"))
            raise GrafanaError(f"{url}: redirects to {where}; give that address in --url")
        try:
            answer = json.loads(response.body)
        except (ValueError, RecursionError):
            if response.ok:
                raise GrafanaError(f"{url}: {NO_GRAFANA}") from None
            answer = {}
        if not response.ok:
            raise _refused(access, what, response.status, answer if isinstance(answer, dict) else {})
        return answer


def _refused(access: GrafanaAccess, what: str, status: int, answer: Mapping[str, Any]) -> GrafanaError:
    url = access.url.rstrip("/")
    option = f"--token-file {access.token_file}"
    told_by_it, word = one_line(answer.get("message", "") or ""), str(answer.get("status", ""))
    detail = f" (reply: {told_by_it})" if told_by_it else ""
    if status == 401:
        line = f"{url}: rejects the token in {option}{detail}; the token is wrong, expired or for another Grafana"
    elif status == 403:
        line = (
            f"{url}: the service account of {option} is not allowed to {what}{detail}; for the required role see "
            "docs/grafana.md"
        )
    elif status == 404 and not told_by_it:
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
