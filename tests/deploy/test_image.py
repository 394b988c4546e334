"""What the image's recipe promises, read from its text."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy/container/Dockerfile").read_text()
STAGES = {match[2]: match[0] for match in re.finditer(r"^FROM (\S+) AS (\S+)\n(?:(?!^FROM ).*\n?)*", TEXT, re.M)}


def test_it_builds_without_a_network() -> None:
    assert "syntax=" not in TEXT  # a front end would be pulled
    assert "--from=ghcr" not in TEXT
    assert "--no-index --find-links /wheels" in STAGES["build"]
    assert STAGES["wheels"].startswith("FROM scratch")  # what --build-context wheels=DIR replaces


def test_only_the_library_stage_has_a_compiler() -> None:
    assert [name for name, text in STAGES.items() if re.search(r"\bgcc\b", text)] == ["library"]
    assert "FROM site AS sim" in TEXT  # the simulated node takes the built library and no compiler
    assert STAGES["site"].startswith("FROM shape")


def test_the_image_of_the_jobs_is_not_root_and_has_no_pip() -> None:
    report = STAGES["report"]
    assert report.startswith("FROM ${BASE_IMAGE}")
    assert "USER 65532:65532" in report
    assert "HEALTHCHECK" not in report  # a job answers nobody
    assert "/opt/pip" not in report
    assert "--no-index --find-links /wheels" in STAGES["report-build"]
    assert STAGES["report-build"].count("wattlens[ledger,reports]") == 1


def test_what_reads_meters_is_in_the_images_of_a_building_alone() -> None:
    assert [name for name, text in STAGES.items() if "[facility]" in text] == ["facility-build"]
    assert [name for name, text in STAGES.items() if "--from=facility-build" in text] == ["site"]
    assert "/opt/pip" not in STAGES["site"]
    assert "/healthz" in STAGES["site"]


def test_packages_from_the_index_have_the_versions_of_the_constraints() -> None:
    commands = re.findall(r"install --no-cache-dir(?:[^;&]|\\\n)*", TEXT)
    assert len(commands) == 6
    assert all("--no-index" in command or "--constraint /source/constraints.txt" in command for command in commands)


def test_a_volume_can_be_written_by_whoever_runs() -> None:
    assert "install -d -m 1777 /var/lib/wattlens /var/lib/wattlens-site\n" in STAGES["shape"]
    assert "install -d -m 1777 /var/lib/wattlens-report\n" in STAGES["report"]


def test_a_build_without_a_target_makes_the_agent() -> None:
    assert list(STAGES)[-1] == "agent"
    assert STAGES["agent"].startswith("FROM agent-files")
    files = STAGES["agent-files"]
    assert "/healthz" in files
    assert 'CMD ["agent", "--state", "/var/lib/wattlens", "--listen", "0.0.0.0:9479"]' in files


def test_the_context_is_only_the_product() -> None:
    lines = (ROOT / "deploy/container/Dockerfile.dockerignore").read_text().split("\n")
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = {name for line in re.findall(r"^COPY (?!--)(.+) \S+$", TEXT, re.M) for name in line.split()}
    assert kept == copied
    assert all((ROOT / name).exists() for name in kept)


def test_every_environment_is_sealed_after_its_last_installation() -> None:
    for name, text in STAGES.items():
        assert text.count("seal.sh /opt/wattlens") == (1 if " install --no-cache-dir" in text else 0), name
        assert text.rfind("seal.sh /opt/wattlens") >= text.rfind("pip install"), name
        assert text.count(" install --no-cache-dir") == text.count(" install --no-cache-dir --no-compile"), name
        assert ("ARG SOURCE_DATE_EPOCH" in text) == ("seal.sh /opt/wattlens" in text), name
