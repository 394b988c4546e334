"""An estimate with its interval."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """An estimate and its 95 % interval; its unit is that of what it stands for."""

    value: float
    low: float
    high: float
