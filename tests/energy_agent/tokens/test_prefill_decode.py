"""The split of a serving engine's energy. Truth: energies made from known costs, and an engine on the simulated plant."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.tokens.prefill_decode import ALIKE, LEAST_WINDOWS, NO_STEPS, NO_WORK, TOO_FEW, PhaseWindow, split
from tests.energy_agent.tokens.serving_lockstep import ServingLoad, serve
from tests.support import examples


def _windows(
    random: Random, n: int, prefill: float, step: float, token: float, idle_w: float, noise_j: float = 0.0
) -> list[PhaseWindow]:
    windows = []
    for _ in range(n):
        computed, idle_s = random.randrange(0, 20_000), random.uniform(0, 5)
        steps = random.randrange(100, 1000)
        generated = round(steps * random.uniform(1, 30))
        joules = prefill * computed + step * steps + token * generated + idle_w * idle_s + random.gauss(0, noise_j)
        windows.append(PhaseWindow(joules, computed, generated, steps, idle_s))
    return windows


@given(
    st.integers(0, 2**32),
    st.floats(0.01, 0.3),
    st.floats(0.5, 5.0),
    st.floats(0.005, 0.05),
    st.floats(50.0, 150.0),
)
@settings(max_examples=examples(60), deadline=None)
def test_known_costs_are_found_and_the_parts_sum_to_the_energy(
    seed: int, prefill: float, step: float, token: float, idle_w: float
) -> None:
    windows = _windows(Random(seed), 60, prefill, step, token, idle_w)
    result = split(windows)
    computed, generated = sum(w.computed for w in windows), sum(w.generated for w in windows)
    total = sum(w.energy_j for w in windows)
    decode = (step * sum(w.steps or 0 for w in windows) + token * generated) / generated
    if result.prefill is None or result.decode is None:
        # Absent only where one part is small against the whole.
        assert min(prefill * computed, decode * generated) < 0.2 * total
        return
    assert result.prefill.value == pytest.approx(prefill, rel=1e-3)
    assert result.decode.value == pytest.approx(decode, rel=1e-3)
    assert result.prefill.low < prefill < result.prefill.high
    whole = result.prefill.value * computed + result.decode.value * generated + result.idle_j
    assert whole == pytest.approx(total, rel=1e-9)


def test_absent_with_the_reason() -> None:
    windows = _windows(Random(1), 60, 0.1, 2.0, 0.02, 100.0)
    assert split(windows[: LEAST_WINDOWS - 1]).reason == TOO_FEW
    assert split([PhaseWindow(w.energy_j, w.computed, w.generated, None, w.idle_s) for w in windows]).reason == NO_STEPS
    assert split([PhaseWindow(w.energy_j, 0, w.generated, w.steps, w.idle_s) for w in windows]).reason == NO_WORK
    assert split([PhaseWindow(w.energy_j, w.computed, 0, w.steps, w.idle_s) for w in windows]).reason == NO_WORK


def test_constant_load_has_no_estimate() -> None:
    random = Random(3)
    windows = [PhaseWindow(5000 + random.gauss(0, 5), 4000, 6000, 500, 0.0) for _ in range(60)]
    result = split(windows)
    assert (result.prefill, result.decode, result.reason) == (None, None, ALIKE)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("seed", "load"),
    [
        (1, ServingLoad(rate_per_s=4.0)),
        (2, ServingLoad(rate_per_s=7.0, prompt=1500, output=200)),
        (3, ServingLoad(rate_per_s=2.0, prompt=4000, output=80, bursty=False)),
    ],
)
def test_split_holds_for_an_engine_with_nonlinear_cost(tmp_path: Path, seed: int, load: ServingLoad) -> None:
    served = serve(tmp_path / "plant", load, seed, 600)
    result = split(served.windows)
    for band, truth in zip((result.prefill, result.decode), served.truth, strict=True):
        assert band is not None
        assert band.value == pytest.approx(truth, rel=0.1)
        assert band.low <= truth <= band.high
