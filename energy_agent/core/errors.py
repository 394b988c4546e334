"""The error tree, and what each branch means for the person at the terminal.

WattlensError            exit 1: it failed; the message is one line that says what and what to do
|- UsageError            exit 2: wrong usage or configuration; names the key or file
|- JournalError          the journal cannot be read or written (full disk, read-only folder, torn file)
|- ChainError            a segment is corrupted, missing or twice there
|- NvmlError             an NVML call answered with a code other than success (in hw/nvml_abi)
`- LeaseError            the actuator refused or lost a lease
"""


class WattlensError(Exception):
    """Something failed; `str(error)` is one line fit for a terminal."""

    exit_code = 1


class UsageError(WattlensError):
    """Wrong usage or configuration: the line names the key or file and what to do."""

    exit_code = 2


class JournalError(WattlensError):
    """The journal cannot be read or written; nothing already committed is lost."""


class ChainError(WattlensError):
    """A segment does not continue its chain, or its bytes do not match their hash."""


class LeaseError(WattlensError):
    """The actuator refused a lease, or a lease ended."""
