"""The product's images for a cluster: built by its recipe without a network, in one archive that containerd imports."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.deploy.engine import engine, import_build_image, make_wheels
from wattlens import __version__

REGISTRY = "registry.example"
PAUSE = f"{REGISTRY}/pause:1"
"""What keeps a pod's namespaces: any image with a command that never ends."""
EXTRAS = ("auth", "kubernetes", "facility", "ledger", "reports")
_BUILD, _BASE = "wattlens-test/build", "wattlens-test/base"
_RECIPES = {
    _BASE: f"FROM {_BUILD}\nRUN apt-get purge -y gcc libc6-dev && apt-get autoremove -y\n",
    PAUSE: f'FROM {_BASE}\nENTRYPOINT ["sleep", "infinity"]\n',
}
TARGETS = {"agent": "", "site": "-site", "sim": "-sim", "report": "-report"}
"""Suffix of an image's tag, by its target in the recipe."""


def names(target: str) -> list[str]:
    """As the manifests name it, and as the documentation does with a registry."""
    return [f"{prefix}wattlens:{__version__}{TARGETS[target]}" for prefix in ("", f"{REGISTRY}/")]


def build(folder: Path) -> Path:
    """Build every image; the archive with all of them."""
    archive, wheels, data = folder / "images.tar", folder / "wheels", folder / "docker"
    data.mkdir()
    with engine(data, {}) as docker:
        with ThreadPoolExecutor() as pool:
            parts = [pool.submit(import_build_image, docker, folder, _BUILD), pool.submit(make_wheels, wheels, "3.13", *EXTRAS)]
            for part in parts:
                part.result()
        for tag, recipe in _RECIPES.items():
            context = folder / "context" / tag
            context.mkdir(parents=True)
            (context / "Dockerfile").write_text(recipe)
            docker.run("build", "--quiet", "--network", "none", "--tag", tag, context)
        for target in TARGETS:
            tags = [word for name in names(target) for word in ("--tag", name)]
            docker.run(
                "build", "--quiet", "--network", "none", "--file", "deploy/container/Dockerfile", "--target", target, *tags,
                "--build-context", f"wheels={wheels}", "--build-arg", f"BASE_IMAGE={_BASE}",
                "--build-arg", f"BUILD_IMAGE={_BUILD}", ".", timeout=600,
            )  # fmt: skip
        docker.run("save", "--output", archive, PAUSE, *(name for target in TARGETS for name in names(target)), timeout=300)
    return archive
