"""What several files of tests take from one ledger."""

from pathlib import Path

import pytest

from tests.reports import golden


@pytest.fixture(scope="session")
def golden_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compacted days of the golden quarter and of the one before, which are read and never written."""
    return golden.days(tmp_path_factory.mktemp("golden"))
