"""URL of a Grafana, and the file with the token of a service account."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult

from energy_agent.core.address import is_readable, parse_address
from energy_agent.core.errors import UsageError
from energy_agent.core.text import quoted_address
from energy_agent.runtime.files.secret_file import read_secret


@dataclass(frozen=True, slots=True)
class GrafanaAccess:
    """URL and credentials of the server. The token is read from a file and never part of a message.

    Raises:
        UsageError: an address is not valid, or the token is in clear text; the message names the option.
    """

    url: str
    token_file: Path
    ca_file: Path | None = None
    insecure: bool = False
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        parts = self.parts()
        if is_readable(parts) and not self.insecure:
            raise UsageError("the token would be sent unencrypted: use https:// in --url, or --insecure")
        if self.ca_file is not None and parts.scheme == "http":
            raise UsageError(f"--ca-file: expected together with an https:// address, got --url {self.url}")

    def parts(self) -> SplitResult:
        """The address, taken apart."""
        return address(self.url, "--url")

    def token(self) -> str:
        """The token.

        Raises:
            UsageError: the file cannot be read or holds no token; the message never has its content.
        """
        text = read_secret(self.token_file, "--token-file").strip()
        if any(not 33 <= ord(c) <= 126 for c in text):
            raise UsageError(f"--token-file {self.token_file}: expected one line with the token of a Grafana service account")
        return text


def address(url: str, option: str) -> SplitResult:
    """Parse the value of an option.

    Raises:
        UsageError: the address is not valid, or contains a user name: secrets do not belong on a command line.
    """
    try:
        return parse_address(url)
    except ValueError as error:
        raise UsageError(f"{option}: {error}, got {quoted_address(url)}") from None
