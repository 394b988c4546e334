"""Input of an offline image build: wheels of the product and its dependencies, and their bill of materials.

    python deploy/container/bundle.py wheels [--target agent|site|report] [--arch amd64 --arch arm64] [--python 3.13]

Versions are those of constraints.txt, so that the same commit fetches the same wheels. For each architecture
`sbom-ARCH.cdx.json` (CycloneDX 1.6) lists every wheel with its SHA-256, licence and dependencies; the image carries it.
`requirements.txt` has the same versions and hashes, for `pip install --require-hashes -r`.
"""

import argparse
import email.parser
import email.policy
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = {
    "agent": ("wattlens[auth,kubernetes,query-node,signing]", "fsspec"),
    "site": ("wattlens[auth,facility,kubernetes,signing]", "fsspec"),
    "report": ("wattlens[auth,kubernetes,ledger,reports,signing]", "fsspec"),
}
"""What is installed into an image; `sim` is `site`."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
_DEPENDENCY = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True, slots=True)
class Wheel:
    """Metadata of a wheel."""

    path: Path
    name: str
    version: str
    sha256: str
    licence: str
    needs: frozenset[str]

    def runs_on(self, arch: str) -> bool:
        """By the platform in its name."""
        platform = self.path.stem.rsplit("-", 1)[1]
        return platform == "any" or platform.endswith(MACHINES[arch])


def fetch(folder: Path, target: str, archs: Iterable[str], python: str) -> None:
    """Build the product's wheel and fetch the others; the folder gets all of them or none.

    Raises:
        OSError: pip failed, or the folder has wheels already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("*.whl")):
        raise OSError(f"{folder} already contains wheels, which the image would include: choose an empty folder")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        draft = Path(name)
        _pip("wheel", "--no-deps", "--wheel-dir", name, str(ROOT))
        abi = f"cp{python.replace('.', '')}"
        for arch in archs:
            platforms = [word for p in _PLATFORMS for word in ("--platform", f"{p}_{MACHINES[arch]}")]
            tags = [word for tag in (abi, "abi3", "none") for word in ("--abi", tag)]
            words = ["--python-version", python, "--implementation", "cp", *tags, *platforms, "--only-binary=:all:"]
            _pip("download", "--dest", name, "--find-links", name, "--constraint", str(ROOT / "constraints.txt"),
                 *words, *EXTRAS[target])  # fmt: skip
        for wheel in draft.glob("*.whl"):
            wheel.rename(folder / wheel.name)


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    environ = os.environ | {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "315532800")}  # the first that a zip knows
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise OSError(f"pip {words[0]}: {done.stderr.strip()[-2000:]}")


def wheels(folder: Path) -> list[Wheel]:
    """Every wheel of a folder, by name."""
    return sorted(map(_read, folder.glob("*.whl")), key=lambda wheel: (wheel.name, wheel.path.name))


def _read(path: Path) -> Wheel:
    with zipfile.ZipFile(path) as archive:
        (name,) = [n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
        about = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(archive.read(name), headersonly=True)
    needs = frozenset(canonical(match[1]) for text in about.get_all("Requires-Dist", []) if (match := _DEPENDENCY.match(text)))
    licence = about["License-Expression"] or next(_classified(about.get_all("Classifier", [])), "") or about["License"] or ""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Wheel(path, canonical(about["Name"]), about["Version"], digest, licence.strip().split("\n")[0][:200], needs)


def _classified(classifiers: Iterable[str]) -> Iterator[str]:
    for classifier in classifiers:
        if classifier.startswith("License :: OSI Approved :: "):
            yield classifier.rpartition(" :: ")[2]


def canonical(name: str) -> str:
    """A project's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def bill(packages: list[Wheel], target: str, arch: str) -> str:
    """CycloneDX 1.6 as JSON: the same text for the same wheels."""
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    mine = [wheel for wheel in packages if wheel.runs_on(arch)]
    components = {wheel.name: _component(wheel) for wheel in mine}
    product = components.pop("wattlens")
    root = Component(
        name="wattlens", version=product.version, type=ComponentType.CONTAINER, bom_ref=f"image:{target}-{arch}",
        properties=[Property(name="wattlens:target", value=target), Property(name="wattlens:arch", value=arch)],
    )  # fmt: skip
    everything = {**components, "wattlens": product}
    bom = Bom(components=everything.values())
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    bom.serial_number = uuid5(NAMESPACE_URL, "\n".join([f"{target}-{arch}", *(wheel.sha256 for wheel in mine)]))
    _join(bom, root, everything, mine)
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _join(bom: "Bom", root: "Component", components: dict[str, "Component"], packages: list[Wheel]) -> None:
    bom.register_dependency(root, components.values())
    for wheel in packages:
        bom.register_dependency(components[wheel.name], [components[n] for n in sorted(wheel.needs) if n in components])


def _component(wheel: Wheel) -> "Component":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    return Component(
        name=wheel.name, version=wheel.version, bom_ref=f"pkg:{wheel.name}@{wheel.version}", licenses=_licences(wheel.licence),
        purl=PackageURL("pypi", None, wheel.name, wheel.version, {"file_name": wheel.path.name}),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
    )  # fmt: skip


def _licences(text: str) -> "list[License]":
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(text)] if text else []


def requirements(packages: list[Wheel]) -> str:
    """Every project with its version and the SHA-256 of each of its wheels, for pip's hash-checking mode.

    pip takes hashes from a requirements file alone: hashes in a constraints file make it refuse every dependency.
    """
    hashes: dict[str, set[str]] = {}
    for wheel in packages:
        hashes.setdefault(f"{wheel.name}=={wheel.version}", set()).add(wheel.sha256)
    lines = (
        " \\\n    ".join([name, *(f"--hash=sha256:{sha256}" for sha256 in sorted(hashes[name]))]) for name in sorted(hashes)
    )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="output folder, for docker build --build-context wheels=FOLDER")
    parser.add_argument("--target", choices=tuple(EXTRAS), default="agent", help="image of the wheels (for sim: site)")
    parser.add_argument("--arch", choices=tuple(MACHINES), action="append", help="architectures (amd64)")
    parser.add_argument("--python", default="3.13", metavar="X.Y", help="Python of the base image (%(default)s)")
    args = parser.parse_args()
    if find_spec("cyclonedx") is None:
        sys.stderr.write("the bill of materials requires a library: pip install -c constraints.txt cyclonedx-python-lib\n")
        return 1
    try:
        fetch(args.folder, args.target, args.arch or ["amd64"], args.python)
        packages = wheels(args.folder)
        (args.folder / "requirements.txt").write_text(requirements(packages))
        for arch in args.arch or ["amd64"]:
            path = args.folder / f"sbom-{arch}.cdx.json"
            path.write_text(bill(packages, args.target, arch))
            sys.stdout.write(f"{path}: {sum(wheel.runs_on(arch) for wheel in packages)} wheels\n")
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
