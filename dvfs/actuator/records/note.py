"""Why a setting was made, for history and ledger. The actuator keeps a note and acts on nothing of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from dvfs.actuator.wire import cut

MAX_CHARACTERS = 256
"""Of each text in a request; a longer one is refused."""
REASON_BYTES = 64
_BYTES = {"policy": 96, "reason": REASON_BYTES, "workload": 256}
"""What is kept of each text, so that a row of the history fits the wire."""


@dataclass(frozen=True, slots=True)
class SettingNote:
    """Origin of a setting and its reason.

    Args:
        policy: names of the policies, joined by "+".
        reason: one word.
        workload: whose devices they are.
    """

    policy: str = ""
    reason: str = ""
    workload: str = ""

    @classmethod
    def parse(cls, raw: object) -> "SettingNote":
        """Parse the note of an untrusted JSON object into printable text, cut to the size that fits in a row.

        Raises:
            ValueError: not an object, or a field is not a string or is too long.
        """
        if not isinstance(raw, Mapping):
            raise ValueError("note: expected an object with policy, reason and workload")
        texts = {key: raw.get(key, "") for key in _BYTES}
        if not all(isinstance(text, str) and len(text) <= MAX_CHARACTERS for text in texts.values()):
            raise ValueError(f"note: policy, reason and workload: expected texts of at most {MAX_CHARACTERS} characters")
        return cls(**{key: printable_text(text, _BYTES[key]) for key, text in texts.items()})

    def as_json(self) -> dict[str, str]:
        """For the wire and the journal, cut as `parse` cuts it."""
        return {key: printable_text(getattr(self, key), longest) for key, longest in _BYTES.items()}


def read_note(raw: object) -> SettingNote | None:
    """The note of a stored line; None if it is missing or damaged."""
    try:
        return SettingNote.parse(raw)
    except ValueError:
        return None


def printable_text(text: str, longest: int) -> str:
    """A peer's text for a row: at most `longest` bytes of UTF-8, without control characters."""
    return cut("".join(c for c in text if c.isprintable()), longest)
