"""What the requests of a server are like: prompt and output length, and times between tokens. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log

from energy_agent.core.workloads.tokens import Latencies

_FAST, _SLOW = 60.0, 600.0  # requests that a mean of now, and one to compare it with, go back
_OTHER = 2.5  # prompts, or steps at the same load and clock, that are so much longer or shorter: other work
_ROUNDS, _GAPS = 3, 200  # periods in which steps are, and gaps of each: a long prompt alone is no other work


@dataclass(frozen=True, slots=True)
class WorkMeans:
    """Means over the last requests.

    Args:
        gaps: times between tokens of a request.
        prompt: computed tokens of a prompt, in the last requests and in more of them; 0: not known.
        parts: observed gaps of this request's time and of the one before, in the mean.
        part_s: time that the first of `parts` covers.
        pace_s: mean gap by load and level.
        odd: periods in turn whose gaps were other than remembered.
        is_other: whether the work changed in the last period.
    """

    gaps: float = 100.0
    prompt: tuple[float, float] = (0.0, 0.0)
    parts: tuple[Latencies, ...] = ()
    part_s: float = 0.0
    pace_s: Mapping[tuple[int, int], float] = field(default_factory=dict)
    odd: int = 0
    is_other: bool = False

    @property
    def recent(self) -> Latencies:
        """Gaps of about as long as a request takes."""
        if not self.parts:
            return Latencies((), (0,), 0.0)
        return self.parts[0] if len(self.parts) == 1 else self.parts[0].plus(self.parts[1])

    def add(
        self, requests: int, prompt_tokens: int, gaps: Latencies | None, seconds: float, at: tuple[int, int]
    ) -> "WorkMeans":
        """With a period at a load and level: first tokens, computed prompt tokens, and times between tokens."""
        mean, (fast, slow) = self.gaps, self.prompt
        if requests:
            mean += min(1.0, requests / _FAST) * ((gaps.count / requests if gaps is not None else mean) - mean)
            prompt = prompt_tokens / requests
            fast += (min(1.0, requests / _FAST) if fast else 1.0) * (prompt - fast)
            slow += (min(1.0, requests / _SLOW) if slow else 1.0) * (prompt - slow)
        parts, part_s, pace_s, odd = self.parts, self.part_s, self.pace_s, self.odd
        if gaps is not None and gaps.count:
            same = bool(parts) and parts[0].edges == gaps.edges
            if same and part_s < mean * parts[0].sum_s / parts[0].count:
                parts, part_s = (parts[0].plus(gaps), *parts[1:]), part_s + seconds
            else:
                parts, part_s = (gaps, *(parts[:1] if same else ())), seconds
            if gaps.count >= _GAPS and gaps.sum_s > 0:
                pace = gaps.sum_s / gaps.count
                usual = pace_s.get(at, pace)
                odd = 0 if 1 / _OTHER < pace / usual < _OTHER else odd + 1
                pace_s = {**pace_s, at: usual + 0.1 * (pace - usual)}
        is_other = odd >= _ROUNDS or bool(slow and not 1 / _OTHER < fast / slow < _OTHER)
        if is_other:
            odd, pace_s, slow, parts = 0, {}, fast, ()
        return replace(
            self,
            gaps=max(1.0, mean),
            prompt=(fast, slow),
            parts=parts,
            part_s=part_s,
            pace_s=pace_s,
            odd=odd,
            is_other=is_other,
        )

    def expected_gap_s(self, load: int, level: int, grid: Sequence[int]) -> float:
        """Mean gap at a level below those seen: it grows as between the last two, or in proportion. 0 if none was seen."""
        seen = sorted((i, abs(b - load), gap_s) for (b, i), gap_s in self.pace_s.items() if i > level and i < len(grid))
        if not seen:
            return 0.0
        i, _, last_s = seen[0]
        power = 1.0
        if (other := next((one for one in seen if one[0] > i), None)) is not None:
            power = min(1.0, max(0.0, log(last_s / other[2]) / log(grid[other[0]] / grid[i])))
        return last_s * float((grid[i] / grid[level]) ** power)
