"""The recorded run is made once for all tests on it."""

import pytest

from tests.golden.node_run import results


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """State of the agent after the run."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def texts(folder):
    """What the run gave, by file name; `folder` is full then."""
    return results(folder)
