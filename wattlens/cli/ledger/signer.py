"""The key that an option of `wattlens ledger` names, to sign with."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from wattlens.cli._command import warn

if TYPE_CHECKING:
    from energy_agent.ledger.segments.segment import Signer

NEED_SIGNING: Final = f"signatures need the extra `signing`: {install_hint('signing')}"


def open_signer(option: str, path: Path) -> "Signer":
    """The signer of a private key in a file.

    Raises:
        UsageError: it cannot sign; the line names the option.
    """
    from energy_agent.ledger.signing import available, load_signer

    if not available():
        raise UsageError(f"{option}: {NEED_SIGNING}")
    try:
        signer, notice = load_signer(path, follow=True)
    except FileNotFoundError:
        make = f"openssl genpkey -algorithm ed25519 -out {path}"
        raise UsageError(f"{option} {path}: no such file; create a key with: {make}") from None
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{option} {path}: {error}") from None
    if notice:
        warn(notice)
    return signer
