"""Configuration of the Slurm source of owners."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from energy_agent.config.formats import Host, text_format
from energy_agent.config.section import Fact, Off, Section

JobWord = Annotated[
    str,
    Field(max_length=50),
    text_format(
        r"account|user|partition|qos|wckey|job_name|(comment|job_name)\.[A-Za-z_][\w.-]*",
        "account, user, partition, qos, wckey, job_name, comment.KEY or job_name.KEY",
    ),
]


class Slurm(Section):
    """Jobs of this node, from Slurm (docs/attribution.md)."""

    scontrol: Annotated[Literal["auto", "off"] | Path, Off] = Field(
        "auto",
        description=(
            "path of scontrol, with squeue in the same folder; auto: enabled if scontrol is installed and a slurmd runs here"
        ),
    )
    conf: Path | None = Field(None, description="path of slurm.conf, if it is not the one that scontrol reports")
    gres_conf: Path | None = Field(None, description="path of gres.conf, if it is not in the folder of slurm.conf")
    node: Host | None = Field(None, description="NodeName of this node, if it is not the short host name")
    period_s: float = Field(
        5.0, ge=1, le=300, description="seconds between requests; each sends one for the node and one per job"
    )
    timeout_s: float = Field(8.0, ge=0.5, le=60, description="timeout of a response")
    labels: dict[Fact, JobWord] = Field(
        default_factory=dict,
        description="Wattlens label (team, project, model, precision, class, group) -> account, user, partition, qos, wckey, "
        "job_name, or comment.KEY or job_name.KEY for the value of KEY=VALUE in that field",
    )
    accounts: dict[str, dict[Fact, str]] = Field(
        default_factory=dict, description="account -> its labels, such as {ml: {team: research, project: llm}}"
    )

    @field_validator("scontrol", "conf", "gres_conf")
    @classmethod
    def _check_absolute_path(cls, value: object) -> object:
        if isinstance(value, Path) and not value.is_absolute():
            raise ValueError(f"expected an absolute path, got {str(value)[:80]!r}")
        return value
