"""One reading of an agent's /metrics page for people: fetched, looked up by labels, and quantities as short text."""

import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from energy_agent.core.errors import UsageError

MAX_PAGE_B = 16 << 20
MAX_SECRET_B = 4096
Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Page:
    """One reading of /metrics: samples by name. `t_s` is the reader's monotonic time."""

    t_s: float
    samples: dict[str, dict[Labels, float]] = field(default_factory=dict)

    def one(self, name: str, **labels: str) -> float | None:
        """The sum of all samples that carry these labels; None where there is none."""
        want = labels.items()
        found = [v for k, v in self.samples.get(f"wattlens_{name}", {}).items() if want <= dict(k).items()]
        return sum(found) if found else None

    def rows(self, name: str) -> Iterable[tuple[dict[str, str], float]]:
        """Labels and value of each sample."""
        return ((dict(k), v) for k, v in self.samples.get(f"wattlens_{name}", {}).items())


@dataclass(frozen=True, slots=True)
class Access:
    """How an agent's page is reached. The files hold secrets, which so never stand on a command line."""

    url: str
    ca_file: Path | None = None  # whom to believe, instead of the system's authorities
    user_file: Path | None = None  # one line, user:password
    token_file: Path | None = None  # one line, a bearer token

    def opener(self) -> Callable[[float], bytes]:
        """What fetches the page's bytes within a time-out in seconds.

        Raises:
            UsageError: the address is none, or a file cannot be read.
        """
        if not self.url.startswith(("http://", "https://")):
            raise UsageError(f"--url {self.url!r} is not http://HOST:PORT or https://HOST:PORT")
        if self.user_file and self.token_file:
            raise UsageError("--user-file and --token-file: give one of them")
        bare = self.url.partition("://")[2].rstrip("/")
        request = urllib.request.Request(self.url if "/" in bare else f"{self.url.rstrip('/')}/metrics")  # noqa: S310
        if self.user_file:
            secret = b64encode(_secret(self.user_file, "--user-file").encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {secret}")
        if self.token_file:
            request.add_unredirected_header("Authorization", f"Bearer {_secret(self.token_file, '--token-file')}")
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # an agent is reached directly
        if self.url.startswith("https://"):
            try:
                context = ssl.create_default_context(cafile=self.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise UsageError(f"--ca-file {self.ca_file}: {error.strerror or error}") from None
            handlers.append(urllib.request.HTTPSHandler(context=context))
        director = urllib.request.build_opener(*handlers)

        def fetch(timeout_s: float) -> bytes:
            with director.open(request, timeout=timeout_s) as answer:
                body: bytes = answer.read(MAX_PAGE_B)
            return body

        return fetch


def _secret(path: Path, option: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_SECRET_B).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option} {path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    if not text or not text.isprintable():
        raise UsageError(f"{option} {path}: one line of printable text is wanted")
    return text


def parse(text: str, t_s: float) -> Page:
    """A page from its text.

    Raises:
        ValueError: it is no Prometheus text.
    """
    from prometheus_client.parser import text_string_to_metric_families

    page = Page(t_s)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            page.samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return page


def read_page(url: str, t_s: float) -> Page:
    """Read the page of our own agent.

    Raises:
        OSError: nobody answers, or not with a page.
    """
    return parse(Access(url).opener()(2.0).decode(), t_s)


def why_not(error: Exception) -> str:
    """Why a page could not be read, in words."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code in (401, 403):
            return f"HTTP {error.code}: it wants credentials; give --user-file or --token-file"
        said = printable(error.read(200).decode("utf-8", "replace").strip().partition("\n")[0]) if error.code == 503 else ""
        return said or f"HTTP {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}); give --ca-file"
    if isinstance(error, ValueError):
        return "what it answers is no metrics page"
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__


def printable(text: str) -> str:
    """Text of other people's processes: nothing in it may reach the terminal as a command."""
    return "".join(c if c.isprintable() else "?" for c in text)


def grown(first: Page, last: Page, name: str, **labels: str) -> float | None:
    """By how much a counter has grown; None where it has not, or was not there."""
    before, after = first.one(name, **labels), last.one(name, **labels)
    return None if before is None or after is None or after <= before else after - before


def fmt(width: int, form: str, per_unit: float = 1.0) -> Callable[[float | None], str]:
    """What writes a quantity into a column; `-` where there is none."""

    def show(value: float | None) -> str:
        return ("-" if value is None else form.format(value / per_unit)).rjust(width)

    return show


watts = fmt(6, "{:.0f} W")
celsius = fmt(5, "{:.0f} C")
megahertz = fmt(8, "{:.0f} MHz", 1e6)
percent = fmt(5, "{:.0f} %", 0.01)
_joules = fmt(10, "{:,.0f} J")
_kilojoules = fmt(10, "{:,.0f} kJ", 1e3)
_megajoules = fmt(10, "{:,.0f} MJ", 1e6)


def joules(value: float | None) -> str:
    """An energy in a column of ten."""
    if value is None or value < 999_999.5:
        return _joules(value)
    return _kilojoules(value) if value < 1e9 else _megajoules(value)
