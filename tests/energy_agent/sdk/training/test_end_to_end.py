"""A training loop with a real agent that is killed twice: every step, token and joule is recorded once."""

import pytest

from tests.energy_agent.sdk.training import training_run
from tests.energy_agent.sdk.training.training_worker import PLAIN, TOKENS

STEPS = 450


@pytest.mark.timeout(360)
@pytest.mark.smoke
def test_an_agent_that_is_killed_loses_and_doubles_nothing():
    result = training_run.train(PLAIN, STEPS, kill=True)
    assert result["killed"] == training_run.KILLS
    assert (result["told_steps"], result["told_tokens"]) == (STEPS, STEPS * TOKENS)
    # A workload gets the whole second in which it releases a GPU, and a loaded machine notices the release late. A loss or a
    # duplicate around a kill would be many seconds; tests/peers/test_training.py measures the accuracy otherwise.
    assert result["joules"] == pytest.approx(result["true_joules"], abs=2 * result["power_w"])
    (rank,) = result["last"]["ranks"]
    assert rank["model"] == "none"
    assert rank["waits"]["checkpoint"] >= 1.2
    assert rank["loss"] == pytest.approx(1 / STEPS)
    assert f"status {STEPS} {STEPS * TOKENS} " in result["stderr"]  # the same as the process itself sees it
