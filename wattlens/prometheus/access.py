"""URL of a Prometheus, and the files with its credentials."""

from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.address import is_readable, parse_address
from energy_agent.core.errors import UsageError
from energy_agent.core.text import quoted_address
from energy_agent.runtime.files.secret_file import read_secret
from energy_agent.runtime.network.http import basic_authorization


@dataclass(frozen=True, slots=True)
class PrometheusAccess:
    """URL and credentials of the server. Secrets are in files, which are read again for each request.

    `user_file` holds user:password.

    Raises:
        UsageError: an address that is not one, half of a secret, or a secret in the clear; the line names the option.
    """

    url: str
    timeout_s: float = 120.0
    ca_file: Path | None = None
    token_file: Path | None = None
    user_file: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        try:
            parts = parse_address(self.url)
        except ValueError as error:
            raise UsageError(f"--prometheus: {error}, got {quoted_address(self.url)}") from None
        if self.token_file and self.user_file:
            raise UsageError("--token-file: cannot be combined with --user-file")
        if (self.token_file or self.user_file) and is_readable(parts) and not self.insecure:
            raise UsageError("the secret would be sent unencrypted: use https:// or --insecure")

    def headers(self) -> dict[str, str]:
        """The header with the secret, if there is one."""
        if self.token_file is not None:
            return {"Authorization": f"Bearer {read_secret(self.token_file, '--token-file')}"}
        if self.user_file is not None:
            name, colon, password = read_secret(self.user_file, "--user-file").partition(":")
            if not colon:
                raise UsageError(f"--user-file {self.user_file}: expected one line user:password, got a line without a colon")
            return {"Authorization": basic_authorization(name, password)}
        return {}
