"""Helm and kubectl for tests of manifests."""

from pathlib import Path

from deploy import manifests
from tests.support import need_file


def need_tools() -> tuple[Path, Path]:
    """Helm and kubectl; skips, or fails in CI, where they are not on PATH and cannot be fetched."""
    try:
        return manifests.tools()
    except OSError as error:
        need_file(manifests.cache_dir() / "helm", str(error))
        raise
