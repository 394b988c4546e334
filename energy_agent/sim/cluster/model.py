"""The pods of a simulated node as a scenario has them: which workload each is, what it was given, who owns it."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from energy_agent.sim.scenario_model import GPUS_MAX, ScenarioSection, Seconds

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
_LABELS_MAX = 64


class Owner(ScenarioSection):
    """Who made the pod: its first ownerReference."""

    kind: str = Field(min_length=1, max_length=63)
    name: Name
    api_version: str = "batch/v1"


class Pod(ScenarioSection):
    """A pod. Of a workload, it has that one's GPUs and lives as long; else it holds `gpus` without any process."""

    name: str = Field(min_length=1, max_length=1024)  # a hostile kubelet may say anything
    namespace: str = Field(default="default", max_length=1024)
    workload: str | None = None
    gpus: tuple[int, ...] = Field(default=(), max_length=GPUS_MAX)
    start_s: Seconds = 0.0  # without a workload
    end_s: Seconds | None = None
    lead_s: Seconds = 0.0  # how long before its process it is given its GPUs
    lingers_s: Seconds = 0.0  # how long the kubelet still lists it after its end
    given: Literal["plugin", "dra", "dra-cdi"] = "plugin"
    resource: str = "nvidia.com/gpu"
    replica: int | None = Field(default=None, ge=0, le=10_000)  # of GPUs shared by time: which share of them
    device_ids: tuple[str, ...] = ()  # in place of the GPUs' own: MIG devices, names of other plugins
    address: str = Field(default="127.0.0.1", max_length=64)  # while it runs
    host_network: bool = False
    ports: tuple[int, ...] = Field(default=(), max_length=64)  # that its container declares
    labels: dict[str, str] = Field(default_factory=dict, max_length=_LABELS_MAX)
    annotations: dict[str, str] = Field(default_factory=dict, max_length=_LABELS_MAX)
    owner: Owner | None = None

    @field_validator("gpus")
    @classmethod
    def _check_gpus(cls, gpus: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(gpus)) != len(gpus) or any(gpu < 0 for gpu in gpus):
            raise ValueError("expected different GPU indices of at least 0")
        return gpus

    @model_validator(mode="after")
    def _check_workload_keys(self) -> "Pod":
        if self.workload is not None and (self.gpus or self.start_s or self.end_s is not None):
            raise ValueError(f"pod {self.name!r} is a workload: set gpus, start_s and end_s in the workload")
        return self


class ClusterModel(ScenarioSection):
    """The node as one of Kubernetes: a kubelet's PodResources socket and, for the informer, an API server."""

    pods: tuple[Pod, ...] = Field(default=(), max_length=256)
    other_pods: int = Field(default=0, ge=0, le=200_000)  # further pods without GPUs
    api_server: bool = False
