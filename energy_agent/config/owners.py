"""Configuration of the owners of devices: process lists and Kubernetes pods."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from energy_agent.config.formats import text_format
from energy_agent.config.section import Fact, Off, Section
from energy_agent.config.slurm import Slurm

_DOMAIN = "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_NAME = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
LabelKey = Annotated[
    str, text_format(f"({_DOMAIN}/)?{_NAME}", "the key of a label or annotation, such as team or example.com/team")
]
Resource = Annotated[str, text_format(f"{_DOMAIN}/{_NAME}", "an extended resource with its domain, such as example.com/gpu")]
OwnerKind = Annotated[
    str,
    text_format(
        rf"[A-Z][A-Za-z0-9]{{0,62}}\.{_DOMAIN}/v[a-z0-9]{{1,30}}",
        "a kind with its group and version, such as ModelTrainingJob.ai.example/v1",
    ),
]


class KubernetesConfig(Section):
    """Pods of this node, from the kubelet and the API server (docs/attribution.md)."""

    pod_resources: Annotated[Literal["auto", "off"] | Path, Off] = Field(
        "auto", description="socket of the kubelet's PodResources API; auto: the usual path, if it exists"
    )
    resources: tuple[Resource, ...] = Field(
        (), description="extended resources that are GPUs, in addition to nvidia.com/gpu and mig-*"
    )
    informer: Annotated[Literal["off", "auto"], Off] = Field(
        "off",
        description="watch the pods of this node at the API server; auto: if the service account may (overlay informer)",
    )
    labels: dict[Fact, LabelKey] = Field(
        default_factory=dict,
        description=(
            "Wattlens label (team, project, model, precision, class, group) -> pod label "
            "that has its value, or pod annotation if there is no such label"
        ),
    )
    owner_kinds: tuple[OwnerKind, ...] = Field(
        (),
        description="further kinds that own pods indirectly, as Kind.group/version, such as TrainingJob.ai.example/v1",
    )


class OwnersConfig(Section):
    """Owners of devices."""

    period_s: float = Field(
        5.0,
        ge=1,
        le=300,
        description=(
            "seconds between readings of the process lists of shared GPUs, three times that of others; each takes milliseconds"
        ),
    )
    retention_s: int = Field(
        900,
        ge=60,
        le=7 * 86400,
        description="seconds that an ended workload stays in /metrics; longer than Prometheus may be unavailable",
    )
    kubernetes: KubernetesConfig = KubernetesConfig()
    slurm: Slurm = Slurm()
