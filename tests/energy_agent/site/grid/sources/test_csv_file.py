"""A CSV file as a source: known since its bytes were first seen, read again when they change."""

import hashlib
import os
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from energy_agent.site.grid.sources.csv_file import SPEC, IntensityCsvConfig
from tests.energy_agent.site.grid.sources.test_electricity_maps import Clock

HEAD = "ts_utc,zone,g_per_kwh,kind,estimated,method,source\n"


def opened(path: Path, clock: Clock, **more: object):  # type: ignore[no-untyped-def]
    section = {"zone": "DE", "boundary": "life-cycle", "path": path, "publisher": "us", "licence": "ours"} | more
    return SPEC.open(IntensityCsvConfig(**section), clock)


def test_a_file_is_known_since_it_was_first_seen_and_anew_when_it_changes(tmp_path: Path) -> None:
    path, clock = tmp_path / "grid of mine.csv", Clock(100)
    path.write_text(HEAD + "2026-01-01T00:00:00Z,DE,300,life-cycle,true,M,\n")
    source = opened(path, clock)
    (first,) = source.read()
    clock.now_ns = 200
    assert source.read() == (first,)
    assert (first.known_ns, first.raw_sha256) == (100, hashlib.sha256(path.read_bytes()).hexdigest())
    path.write_text(HEAD + "2026-01-01T00:00:00Z,DE,310,life-cycle,false,,\n")
    (second,) = source.read()
    assert (second.known_ns, int(second.g_per_kwh), second.estimated) == (200, 310, False)
    assert source.about.id == "csv_file.grid_of_mine"
    source.close()


def test_residual_mix_of_co2_alone_has_that_basis(tmp_path: Path) -> None:
    source = opened(tmp_path / "x.csv", Clock(), gases="CO2", accounting="residual-mix", boundary="direct", quality=1)
    assert source.about.basis == Basis(EmissionBoundary.DIRECT, Accounting.RESIDUAL, Gases.CO2)
    assert (source.about.publisher, source.about.licence, source.about.quality) == ("us", "ours", 1)


def test_unreadable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        opened(tmp_path / "x.csv", Clock()).read()
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UsageError, match="expected a regular file"):
        opened(tmp_path / "pipe.csv", Clock()).read()
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(200 << 20)
    with pytest.raises(UsageError, match="larger than"):
        opened(tmp_path / "huge.csv", Clock()).read()


def test_a_file_that_broke_keeps_nothing_old_silently(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(HEAD + "2026-01-01T00:00:00Z,DE,300,life-cycle,,,\n")
    source = opened(path, Clock())
    source.read()
    path.write_text("nonsense\n")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"x\.csv, line 1"):
            source.read()
