"""Parts of `wattlens doctor --acceptance` that are about options and files."""

import re
from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from energy_agent.ledger.segments.segment import Signer
from energy_agent.ledger.signing import KEY_FILE, available, load_signer
from wattlens.doctor import capturing
from wattlens.doctor.acceptance.result import LABEL
from wattlens.state_folder import default_state_dir

LEAST_S: Final = 10.0
_ANY: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - the addresses of this machine that stand for them


def check(label: str, out: Path | None, seconds: float) -> None:
    """Check before minutes pass that the result can be written.

    Raises:
        UsageError: a value is wrong, or `out` exists or cannot be written.
    """
    if seconds < LEAST_S:
        raise UsageError(f"--for: expected at least {LEAST_S:g}s with --acceptance, got {seconds:g}s")
    if label and not re.fullmatch(LABEL, label):
        raise UsageError(f"--label: expected 1 to 64 letters, digits, spaces, '.', '_' and '-', got {label[:80]!r}")
    if out is not None:
        capturing.check_free(out)


def agent_url(listen: str) -> str:
    """The metrics endpoint of an agent of this machine that listens at ADDRESS:PORT."""
    host, _, port = listen.rpartition(":")
    return f"http://{_ANY.get(host, host)}:{port}/metrics"


def open_signer(key: Path | None, state: Path | None) -> tuple[Signer | None, str]:
    """The signer of `key` or of the node's own key in the state folder, or the reason for its absence.

    Raises:
        UsageError: `key` cannot sign.
    """
    if not available():
        if key is not None:
            raise UsageError(f"--key: signatures need the extra `signing`: {install_hint('signing')}")
        return None, f"{install_hint('signing')} for signatures"
    path = key if key is not None else (state or default_state_dir()) / KEY_FILE
    try:
        signer, _ = load_signer(path, follow=key is not None)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        if key is not None:
            raise UsageError(f"--key {key}: {why}") from None
        return None, f"{path}: {why}"
    return signer, ""
