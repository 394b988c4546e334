"""Maximum age of a reading, as a bound for both ends of the interval between two readings. Pure."""

from decimal import Decimal


class EdgeAge:
    """What is recorded between two readings bears the age of the later one alone, so that has to cover the earlier one too.

    The earlier one is the last at which the register moved; where there is no register, simply the last.
    """

    def __init__(self) -> None:
        self._energy: Decimal | None = None
        self._since_s = 0.0

    def of(self, age_s: float, energy: Decimal | None) -> float:
        """The age to give a reading whose own is `age_s`."""
        both_s = max(age_s, self._since_s)
        stands = energy is not None and energy == self._energy
        self._energy, self._since_s = energy, both_s if stands else age_s
        return both_s
