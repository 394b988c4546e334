"""The jobs of the report, with the very arguments of their manifests and units: two nodes' segments become a signed report."""

import json
import shutil
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from energy_agent.core.units import NS_PER_S
from reports.audit.folder import is_private
from reports.period import PeriodRequest
from tests.reports import ledgers
from tests.support import need_module, stay_within_a_day
from wattlens.cli import main

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "deploy/kubernetes/report"


def words_of(name: str) -> list[str]:
    """Arguments of a CronJob."""
    job = yaml.safe_load((REPORT / f"{name}.yaml").read_text())
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    words: list[str] = container["args"]
    return words


def moved(words: list[str], folder: Path) -> list[str]:
    """Arguments with the container's folders somewhere else, and what the ConfigMap holds in its place there."""
    etc = folder / "etc"
    etc.mkdir(exist_ok=True)
    for name, text in yaml.safe_load((REPORT / "config.yaml").read_text())["data"].items():
        (etc / name).write_text(text)
    return [w.replace("/data/", f"{folder}/data/").replace("/etc/wattlens/", f"{etc}/") for w in words]


def quarter_of(day: date) -> str:
    return f"{day.year}Q{(day.month + 2) // 3}"


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Segments of yesterday."""
    stay_within_a_day()
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monkeypatch.setattr(ledgers, "START_NS", int((midnight - timedelta(days=1)).timestamp()) * NS_PER_S)
    ledgers.write(tmp_path / "state")
    shutil.copytree(tmp_path / "state/segments", tmp_path / "data/segments/node-1")
    return tmp_path


def test_a_night_is_compacted_and_reported(volume: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(moved(words_of("compact"), volume)) == 0
    (day,) = (volume / "data/days/main").iterdir()
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    assert day.name == yesterday.isoformat()
    assert main(moved(words_of("compact"), volume)) == 0
    assert "unchanged (statement 0)" in capsys.readouterr().out
    quarter = quarter_of(yesterday)
    words = moved(words_of("weekly"), volume)
    words[words.index("--quarter=current")] = f"--quarter={quarter}"  # on the first day the running quarter has no day yet
    assert main([*words, "--formats", "csv", "--accept-coverage", "0"]) == 0
    facts = json.loads((volume / f"data/reports/{quarter}-interim/facts.json").read_text())
    # The days reach the end of the quarter, which makes the report final, where yesterday was its last day.
    status = "interim" if quarter_of(yesterday + timedelta(days=1)) == quarter else "final"
    assert (facts["status"], facts["label"]) == (status, quarter)


def test_on_the_first_day_there_is_nothing_to_compact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stay_within_a_day()
    segments = tmp_path / "data/segments"
    segments.mkdir(parents=True)
    assert main(moved(words_of("compact"), tmp_path)) == 0, "no node has shipped a segment"
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monkeypatch.setattr(ledgers, "START_NS", int(midnight.timestamp()) * NS_PER_S)
    ledgers.write(tmp_path / "state")
    shutil.copytree(tmp_path / "state/segments", segments / "node-1")
    assert main(moved(words_of("compact"), tmp_path)) == 0, "the first day is not over"
    assert not (tmp_path / "data/days").exists()
    assert capsys.readouterr().out.count("nothing to compact yet") == 2


def test_a_folder_without_segments_is_not_the_first_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data/segments").mkdir(parents=True)
    (tmp_path / "data/segments/notes.txt").write_text("not a segment")
    assert main(moved(words_of("compact"), tmp_path)) == 2
    assert "has no segments" in capsys.readouterr().err


def test_compact_skips_old_days_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledgers.write(tmp_path / "state")  # of 2026-07-01
    shutil.copytree(tmp_path / "state/segments", tmp_path / "data/segments/node-1")
    assert main(moved(words_of("compact"), tmp_path)) == 2
    assert "no segments of a complete UTC day" in capsys.readouterr().err


@pytest.mark.smoke
def test_the_quarter_that_ended_is_found_and_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need_module("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    stay_within_a_day(timedelta(hours=12))  # a quarter is over once it is over in UTC-12
    last = PeriodRequest("last").resolved(int(datetime.now(UTC).timestamp()) * NS_PER_S)
    start_ns = last.period(UTC).start_ns
    assert start_ns is not None
    monkeypatch.setattr(ledgers, "START_NS", start_ns)
    segments = ledgers.write(tmp_path / "state")
    assert main(["ledger", "compact", str(segments), "--out", f"{tmp_path}/data/days", "--site", "main"]) == 0
    key = tmp_path / "signing.pem"
    key.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    key.chmod(0o400)
    words = [*moved(words_of("quarterly"), tmp_path), "--formats", "html", "--sign-key", str(key)]
    assert main(words) == 1, "no job passes an unfinished quarter off as a finished one"
    assert last.label in capsys.readouterr().err
    assert not (tmp_path / "data/reports").exists()
    end_ns = last.period(UTC).end_ns
    assert end_ns is not None
    monkeypatch.setattr(ledgers, "START_NS", end_ns - 60 * NS_PER_S)
    segments = ledgers.write(tmp_path / "later", node="gpu-node-2")
    assert main(["ledger", "compact", str(segments), "--out", f"{tmp_path}/data/days", "--site", "main"]) == 0
    assert main(words) == 1, "two minutes of a quarter are little"
    assert "coverage is" in capsys.readouterr().err
    assert main([*words, "--accept-coverage", "0"]) == 0
    files = sorted(p.name for p in (tmp_path / "data/reports" / last.label).iterdir())
    assert files == ["facts.json", "manifest.json", "manifest.sig", "report.html"]


def test_a_folder_by_quarter_needs_a_quarter(volume: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--ledger", f"{volume}/data/segments", "--out", f"{volume}/{{quarter}}"]) == 2
    assert "{quarter} requires a named period such as --quarter 2026Q3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "owner", "reader", "private"),
    [
        (0o400, 65532, 65532, True),
        (0o440, 0, 65532, True),  # a Secret by fsGroup
        (0o640, 0, 65532, True),
        (0o440, 65532, 65532, False),
        (0o440, 0, 0, False),
        (0o460, 0, 65532, False),
        (0o444, 0, 65532, False),
        (0o600, 0, 0, True),
    ],
)
def test_key_is_private_by_mode_and_owner(mode: int, owner: int, reader: int, private: bool) -> None:
    assert is_private(stat.S_IFREG | mode, owner, reader) is private
