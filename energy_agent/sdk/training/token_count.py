"""Validate the token counts that training code reports, because one absurd number would distort every total. Pure.

The agent rejects a process with more tokens than a training can process; such counts are rejected here too.
"""

from energy_agent.core.workloads.training_report import RATE_MAX

STEP_MAX = 10_000 * RATE_MAX
"""Tokens of one step: nearly three hours at a rate that no rank has."""


def parse_token_count(tokens: object, total: int, age_s: float) -> int:
    """Tokens of a step as an int.

    Args:
        tokens: as the caller passed them; of any type.
        total: what was counted before.
        age_s: for how long it has been counted, s.

    Raises:
        ValueError: they are not a valid count; the text has the reason.
    """
    if type(tokens) is int:
        count = tokens
    else:
        device = getattr(tokens, "device", None)
        if getattr(device, "type", "cpu") != "cpu":
            raise ValueError("tokens=: expected a value on the CPU, because reading it from a GPU would synchronize")
        if isinstance(tokens, str | bytes):
            raise ValueError(f"tokens=: expected a number, got {type(tokens).__name__}")
        try:
            count = int(tokens)  # type: ignore[call-overload]
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise ValueError(f"tokens=: expected an integer, got {type(tokens).__name__} {str(tokens)[:40]!r}") from None
    if count < 0:
        raise ValueError("tokens=: expected at least 0")
    if count > STEP_MAX or total + count > RATE_MAX * (age_s + 1):
        raise ValueError(f"tokens=: more than a rank can train ({RATE_MAX} per second)")
    return count
