"""What several files of tests take from one ledger."""

import fcntl
import os
from pathlib import Path

import pytest

from tests.reports import golden


@pytest.fixture(scope="session")
def golden_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compacted days of the golden quarter and of the one before: one copy for all workers, which is never written to."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "golden-days"
    with (shared / "golden-days.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            golden.days(tmp_path_factory.mktemp("golden")).rename(folder)
    return folder
