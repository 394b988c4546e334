"""The release workflow: it names files and options that exist, and gives no job more permissions than it needs.

The workflow itself runs on a hosted runner only, so nothing here proves that a release succeeds.
"""

import re
import shutil
from pathlib import Path

import yaml

from deploy.container import bundle
from tools import release
from wattlens import __version__

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
JOBS = WORKFLOW["jobs"]
COMMANDS = "\n".join(step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step)


def test_files_and_targets_in_commands_exist() -> None:
    for path in re.findall(r"\bdeploy/[\w./-]+", COMMANDS):
        assert (ROOT / path).exists(), path
    stages = set(re.findall(r"(?m)^FROM \S+ AS (\S+)$", (ROOT / "deploy/container/Dockerfile").read_text()))
    images = JOBS["images"]["strategy"]["matrix"]["include"]
    assert {image["target"] for image in images} <= stages
    assert set(JOBS["wheels"]["strategy"]["matrix"]["target"]) == set(bundle.EXTRAS) == {image["wheels"] for image in images}
    suffixes = {image["suffix"] for image in images}
    assert suffixes == {"", "-site", "-sim", "-report"}, "those that the chart appends to the tag"


def test_only_a_tag_publishes_and_each_job_has_the_least_permissions() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    for name, job in JOBS.items():
        writes = {key for key, value in job.get("permissions", {}).items() if value == "write"}
        expected = {"images": {"packages", "id-token"}, "chart": {"packages", "id-token"}, "publish": {"contents", "id-token"}}
        assert writes == expected.get(name, set())
        assert bool(writes) == (job.get("if") == "github.ref_type == 'tag'")
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text(), "signatures and uploads have no stored key"
    # Texts of an event in a command would be run as one; matrix values are ours.
    assert set(re.findall(r"\$\{\{ *([\w.]+)", COMMANDS)) <= {"matrix.target"}


def test_each_published_file_is_signed() -> None:
    assert COMMANDS.count("cosign sign --yes") == 2
    assert "cosign sign-blob --yes --bundle" in COMMANDS
    assert "cosign attest --yes --type cyclonedx" in COMMANDS


def test_versions_have_to_agree(tmp_path: Path) -> None:
    for name in ("wattlens/__init__.py", "deploy/helm/wattlens/Chart.yaml", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    tag = f"v{__version__}"
    assert release.mismatches(tag, tmp_path) == [f"CHANGELOG.md: expected version {__version__}"]
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {__version__} (2027-01-31)\n")
    assert release.mismatches(tag, tmp_path) == []
    assert len(release.mismatches(f"{tag}1", tmp_path)) == 3
