"""The connection to a Grafana: grafana-client over the bounded HTTP client, and one clear line for whatever goes wrong.

The only file that imports grafana-client.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import printable
from energy_agent.runtime.http import (
    HttpCertificateError,
    HttpClient,
    HttpError,
    HttpProtocolError,
    HttpResponse,
    HttpTimeoutError,
    HttpTooLargeError,
)
from energy_agent.runtime.tls import TlsFiles
from wattlens.grafana.access import Access

ANSWER_LIMIT_B: Final = 32 << 20
NO_GRAFANA: Final = "what answers there is no Grafana API; --url is Grafana's own address, with its path where it has one"
_CPU_LIMIT_S: Final = 10.0
_PATH_SAFE: Final = "!$%&'()*+,/:;=@~"
_SAID: Final = 300


class GrafanaError(WattlensError):
    """Grafana did not do what was asked. `status` is that of HTTP, 0 where there was no answer; `word` what it calls it."""

    def __init__(self, message: str, status: int = 0, word: str = "") -> None:
        super().__init__(message)
        self.status, self.word = status, word


def said(text: object) -> str:
    """What a server says, as one line fit for a terminal."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= _SAID else f"{line[: _SAID - 3]}..."


@contextmanager
def told_in_words(access: Access, what: str) -> Iterator[None]:
    """Whatever goes wrong within becomes a GrafanaError; `what` was being done."""
    from grafana_client.client import GrafanaException

    url = access.url.rstrip("/")
    try:
        yield
    except GrafanaException as error:
        raise _refused(access, what, error) from None
    except HttpTimeoutError:
        raise GrafanaError(f"{url}: no answer in time ({access.timeout_s:g} s; --timeout)") from None
    except HttpCertificateError as error:
        hint = f"--ca-file {access.ca_file} does not vouch for it" if access.ca_file else "name its issuer with --ca-file"
        raise GrafanaError(f"{url}: {error.reason}; {hint}") from None
    except HttpTooLargeError:
        raise GrafanaError(f"{url}: answers with more than {ANSWER_LIMIT_B >> 20} MiB; is it a Grafana?") from None
    except (HttpProtocolError, ValueError):
        raise GrafanaError(f"{url}: {NO_GRAFANA}") from None
    except HttpError as error:
        raise GrafanaError(f"{url}: cannot be reached ({error.reason}); look at --url") from None


def _refused(access: Access, what: str, error: Any) -> GrafanaError:
    url, status = access.url.rstrip("/"), int(error.status_code or 0)
    answer = error.response if isinstance(error.response, dict) else {}
    option = f"--token-file {access.token_file}"
    told_by_it, word = said(answer.get("message", "") or ""), str(answer.get("status", ""))
    told = f" (it says: {told_by_it})" if told_by_it else ""
    if status == 0:
        return GrafanaError(f"{url}: no answer in time ({access.timeout_s:g} s; --timeout)")
    if status == 401:
        line = f"{url}: refuses the token in {option}{told}; it is wrong, expired or of another Grafana"
    elif status == 403:
        line = f"{url}: the service account of {option} may not {what}{told}; docs/grafana.md says which role it needs"
    elif status == 404 and not told_by_it:
        line = f"{url}: knows no such thing (404) when asked to {what}; --url is the address of Grafana itself"
    elif status in (429, 502, 503, 504):
        line = f"{url}: is busy or not ready (HTTP {status}){told}; try again"
    else:
        line = f"{url}: did not {what} (HTTP {status}){told}"
    return GrafanaError(line, status, word)


def connect(access: Access) -> Any:
    """A `GrafanaApi` whose session is bounded.

    Raises:
        UsageError: grafana-client is not installed, or a file of `access` cannot be read.
    """
    try:
        from grafana_client.api import GrafanaApi
    except ModuleNotFoundError as error:
        raise UsageError(f"reaching Grafana needs {_package(error)}; install: pip install 'wattlens[grafana]'") from None

    parts = access.parts()
    host = parts.hostname or ""
    api = GrafanaApi(
        access.token(),
        host=f"[{host}]" if ":" in host else host,
        port=parts.port,
        url_path_prefix=f"{parts.path.strip('/')}/" if parts.path.strip("/") else "",
        protocol=parts.scheme,
    )
    api.client.s.close()
    if access.ca_file is not None:
        _check_certificates(access)
    api.client.s = _Session(access)  # type: ignore[assignment, unused-ignore]
    return api


@dataclass(frozen=True, slots=True)
class _Answer:
    """A response as grafana-client reads it."""

    response: HttpResponse

    @property
    def status_code(self) -> int:
        return self.response.status

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": self.response.headers.get("content-type", "")}

    @property
    def text(self) -> str:
        return self.response.body.decode("utf-8", "replace")

    def json(self) -> Any:
        from grafana_client.client import JSONDecodeError  # type: ignore[attr-defined, unused-ignore]

        try:
            return json.loads(self.response.body)
        except (ValueError, RecursionError):
            raise JSONDecodeError("not JSON", "", 0) from None


class _Session:
    """What grafana-client sends its requests with, in place of a session of niquests."""

    def __init__(self, access: Access) -> None:
        parts = access.parts()
        self._access, self._headers = access, {"Authorization": f"Bearer {access.token()}", "Accept": "application/json"}
        self._http = HttpClient(
            f"{parts.scheme}://{parts.netloc}",
            access.timeout_s,
            TlsFiles(access.ca_file),
            body_limit_b=ANSWER_LIMIT_B,
            cpu_limit_s=_CPU_LIMIT_S,
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        data: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> _Answer:
        """Send a request; `url` is absolute, of this Grafana."""
        parts = urlsplit(url)
        query = [parts.query] if parts.query else []
        query += [urlencode({k: v for k, v in (params or {}).items() if v is not None}, doseq=True)] if params else []
        target = quote(parts.path, safe=_PATH_SAFE) + ("?" + "&".join(query) if query else "")
        body, kind = None, {}
        if json is not None:
            body, kind = _encode(json), {"Content-Type": "application/json"}
        elif data is not None:
            body, kind = urlencode(data, doseq=True).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        response = self._http.request(method.upper(), target, self._headers | kind | dict(headers or {}), body)
        if 300 <= response.status < 400:
            raise GrafanaError(
                f"{self._access.url}: answers with a redirect to {said(response.headers.get('location', 'nowhere'))}; "
                "give the address itself in --url"
            )
        return _Answer(response)

    def close(self) -> None:
        """Nothing is open between requests."""


def _encode(document: object) -> bytes:
    return json.dumps(document).encode()


def _package(error: ModuleNotFoundError) -> str:
    return (error.name or "grafana-client").partition(".")[0]


def _check_certificates(access: Access) -> None:
    assert access.ca_file is not None
    try:
        with access.ca_file.open("rb") as file:
            if b"-----BEGIN CERTIFICATE-----" not in file.read(1 << 20):
                raise UsageError(f"--ca-file {access.ca_file}: holds no certificate in PEM")
    except OSError as error:
        raise UsageError(f"--ca-file {access.ca_file}: {error.strerror}") from None
