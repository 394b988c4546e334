"""The connection to a Grafana: grafana-client with bounds on what it reads, and one clear line for whatever goes wrong.

The only file that imports grafana-client, and niquests, which it sends its requests with.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from energy_agent.core.errors import UsageError, WattlensError
from wattlens.grafana.access import Access
from wattlens.page import printable

ANSWER_LIMIT_B: Final = 32 << 20
NO_GRAFANA: Final = "what answers there is no Grafana API; --url is Grafana's own address, with its path where it has one"
_CHUNK_B: Final = 1 << 16
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
    import niquests
    from grafana_client.client import GrafanaException

    url = access.url.rstrip("/")
    try:
        yield
    except GrafanaException as error:
        raise _refused(access, what, error) from None
    except niquests.exceptions.Timeout:
        raise GrafanaError(f"{url}: no answer in time ({access.timeout_s:g} s; --timeout)") from None
    except niquests.exceptions.SSLError as error:
        hint = f"--ca-file {access.ca_file} does not vouch for it" if access.ca_file else "name its issuer with --ca-file"
        raise GrafanaError(f"{url}: its certificate is not trusted ({_reason(error)}); {hint}") from None
    except (niquests.exceptions.JSONDecodeError, RecursionError):
        raise GrafanaError(f"{url}: {NO_GRAFANA}") from None
    except (niquests.exceptions.RequestException, OSError, ValueError) as error:
        if "timed out" in str(error).lower():
            raise GrafanaError(f"{url}: no answer in time ({access.timeout_s:g} s; --timeout)") from None
        raise GrafanaError(f"{url}: cannot be reached ({_reason(error)}); look at --url") from None


def _reason(error: BaseException) -> str:
    """What lies at the bottom: libraries wrap it many times."""
    seen: BaseException | None = error
    words = ""
    for _ in range(16):
        if seen is None:
            break
        words = getattr(seen, "strerror", None) or words
        reason = getattr(seen, "reason", None)
        first = seen.args[0] if seen.args and isinstance(seen.args[0], Exception) else None
        seen = reason if isinstance(reason, Exception) else first or seen.__cause__ or seen.__context__
    text = str(error)
    if not words and ("resolve" in text.lower() or "name or service" in text.lower()):
        return "no such host"
    if not words and "IncompleteRead" in text:
        return "its answer broke off"
    return said(words or text)


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
        import niquests
        from grafana_client.api import GrafanaApi
    except ModuleNotFoundError as error:
        raise UsageError(f"reaching Grafana needs {_package(error)}; install: pip install 'wattlens[grafana]'") from None

    class Bounded(niquests.Session):  # type: ignore[misc, unused-ignore]
        """One connection to one server: no redirect, no proxy, no HTTP/3 elsewhere, one deadline and one size for an answer."""

        def request(self, method: str, url: str, **more: Any) -> Any:  # type: ignore[override, unused-ignore]
            deadline_s = time.monotonic() + access.timeout_s
            answer = super().request(method, url, **{**more, "stream": True, "allow_redirects": False})  # type: ignore[misc, unused-ignore]
            with answer:
                if 300 <= int(answer.status_code or 0) < 400:
                    raise GrafanaError(
                        f"{access.url}: answers with a redirect to {said(answer.headers.get('Location', 'nowhere'))}; "
                        "give the address itself in --url"
                    )
                body = bytearray()
                for chunk in answer.iter_content(_CHUNK_B):
                    body += chunk
                    if len(body) > ANSWER_LIMIT_B:
                        raise GrafanaError(f"{access.url}: answers with more than {ANSWER_LIMIT_B >> 20} MiB; is it a Grafana?")
                    if time.monotonic() > deadline_s:
                        raise niquests.exceptions.ReadTimeout
            answer._content, answer._content_consumed = bytes(body), True
            return answer

    parts = access.parts()
    host = parts.hostname or ""
    api = GrafanaApi(
        access.token(),
        host=f"[{host}]" if ":" in host else host,
        port=parts.port,
        url_path_prefix=f"{parts.path.strip('/')}/" if parts.path.strip("/") else "",
        protocol=parts.scheme,
        verify=True if access.ca_file is None else _readable(access),
        timeout=access.timeout_s,
    )
    session = Bounded(disable_http3=True, revocation_configuration=None)
    session.headers.update(api.client.s.headers)
    session.trust_env = False
    api.client.s.close()
    api.client.s = session
    return api


def _package(error: ModuleNotFoundError) -> str:
    return (error.name or "grafana-client").partition(".")[0]


def _readable(access: Access) -> str:
    assert access.ca_file is not None
    try:
        with access.ca_file.open("rb") as file:
            if b"-----BEGIN CERTIFICATE-----" not in file.read(1 << 20):
                raise UsageError(f"--ca-file {access.ca_file}: holds no certificate in PEM")
    except OSError as error:
        raise UsageError(f"--ca-file {access.ca_file}: {error.strerror}") from None
    return str(access.ca_file)
