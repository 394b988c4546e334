"""The requests that arrive at a simulated LLM engine: when, how long a prompt, how long an answer. Pure but for the trace file.

Lengths are lognormal. The defaults have the median and the mean of the Azure LLM inference trace 2023, conversation part
(CC-BY-4.0, github.com/Azure/AzurePublicDataset, from "Splitwise", ISCA 2024): prompts 1020 and 1155 tokens, answers 129 and
211. So sigma = sqrt(2 ln(mean / median)), 0.50 and 0.99, and answers end at 1000 as there.
"""

import csv
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random

from energy_agent.core.errors import UsageError

PROMPT_LIMIT = 14_050  # the longest prompt and answer of that trace
OUTPUT_LIMIT = 1_000
TRACE_ROWS_LIMIT = 1_000_000

# Bursty: calm and burst phases of random length, whose rates average to the one asked for.
_CALM_S, _CALM_FACTOR = 30.0, 0.4
_BURST_S, _BURST_FACTOR = 10.0, 2.8


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request, `at_s` after the engine started."""

    at_s: float
    prompt: int
    output: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lognormal lengths in tokens: medians, and sigmas of the logarithm."""

    prompt_median: int
    prompt_sigma: float
    output_median: int
    output_sigma: float

    def draw(self, random: Random) -> tuple[int, int]:
        """Prompt and output length of one request, at least 1 and at most those of the trace (or the median, if larger)."""
        prompt = random.lognormvariate(math.log(self.prompt_median), self.prompt_sigma)
        output = random.lognormvariate(math.log(self.output_median), self.output_sigma)
        return (
            max(1, min(round(prompt), max(PROMPT_LIMIT, self.prompt_median))),
            max(1, min(round(output), max(OUTPUT_LIMIT, self.output_median))),
        )


def poisson(random: Random, rate_per_s: float, lengths: Lengths) -> Iterator[Arrival]:
    """Independent requests, `rate_per_s` of them on average, without end."""
    at_s = 0.0
    while True:
        at_s += random.expovariate(rate_per_s)
        yield Arrival(at_s, *lengths.draw(random))


def bursty(random: Random, rate_per_s: float, lengths: Lengths) -> Iterator[Arrival]:
    """Poisson requests whose rate switches between calm and burst (a two-state modulated Poisson process), without end."""
    begin_s = 0.0
    for mean_s, factor in itertools.cycle(((_CALM_S, _CALM_FACTOR), (_BURST_S, _BURST_FACTOR))):
        end_s = begin_s + random.expovariate(1.0 / mean_s)
        at_s = begin_s + random.expovariate(rate_per_s * factor)
        while at_s < end_s:
            yield Arrival(at_s, *lengths.draw(random))
            at_s += random.expovariate(rate_per_s * factor)
        begin_s = end_s


def trace(path: Path) -> Iterator[Arrival]:
    """The requests of a CSV with the columns TIMESTAMP, ContextTokens and GeneratedTokens, from the first on, again and again.

    Raises:
        UsageError: unreadable, not of this form, not in order of time, empty or too long.
    """
    rows = _read_trace(path)
    period_s = rows[-1].at_s + 1.0
    for turn in itertools.count():
        for row in rows:
            yield Arrival(turn * period_s + row.at_s, row.prompt, row.output)


def _read_trace(path: Path) -> list[Arrival]:
    rows: list[Arrival] = []
    first: datetime | None = None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                if number > TRACE_ROWS_LIMIT:
                    raise UsageError(f"trace {path} has more than {TRACE_ROWS_LIMIT} rows")
                at = datetime.fromisoformat(row["TIMESTAMP"])
                first = first or at
                at_s = (at - first).total_seconds()
                prompt, output = int(row["ContextTokens"]), int(row["GeneratedTokens"])
                if prompt < 1 or output < 1 or (rows and at_s < rows[-1].at_s):
                    raise UsageError(f"trace {path}, line {number}: tokens must be positive, and times ascending")
                rows.append(Arrival(at_s, prompt, output))
    except OSError as error:
        raise UsageError(f"trace {path} cannot be read: {error.strerror}") from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise UsageError(f"trace {path}: expected CSV columns TIMESTAMP, ContextTokens, GeneratedTokens: {error}") from error
    if not rows:
        raise UsageError(f"trace {path} has no rows")
    return rows
