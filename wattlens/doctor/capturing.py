"""`wattlens doctor --capture FILE`: every NVML answer of this node, read-only, as a fixture of the contract tests."""

import os
import secrets
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import wattlens
from energy_agent.core.errors import UsageError
from energy_agent.devices.nvml import capture as nvml_capture
from wattlens.doctor import child


def check_free(path: Path) -> None:
    """Check, before a measurement takes its time, that a new file can be written at `path`.

    Raises:
        UsageError: the file exists, or cannot be written.
    """
    if path.exists():
        raise UsageError(f"{path} already exists; choose another file")
    if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"cannot write {path}: its folder does not exist or is not writable")


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist. Raises UsageError."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def write(path: Path, environ: Mapping[str, str], seconds: float, *, pseudonyms: bool) -> dict[str, Any]:
    """Take it and write `path`, which must not be there; says what it holds.

    Raises:
        UsageError: the file is there, or cannot be written.
        WattlensError: NVML does not answer as a whole.
    """
    check_free(path)

    def take(exclude: list[str]) -> dict[str, child.Message]:
        task = ["capture", f"--seconds={seconds}", *exclude]
        return {message["k"]: message for message in child.measure(task, environ, "reading all NVML values", seconds)}

    messages, hung = child.without_hung_gpus(take)
    capture = messages["capture"]["capture"]
    if pseudonyms:
        capture = nvml_capture.with_pseudonyms(capture, secrets.token_bytes(32))
    for index, failed in hung.items():
        capture["devices"][index] = {"left_out": f"{failed.call}: HANG"}
    capture |= {
        "wattlens": wattlens.__version__,
        "pynvml": metadata.version("nvidia-ml-py"),
        "library": Path(messages["nvml"]["library"]).name,
        "simulated": bool(environ.get("WATTLENS_SIM")),
        "pseudonyms": pseudonyms,
    }
    write_new(path, nvml_capture.dumps(capture).encode())
    return _summarize(path, capture)


def _summarize(path: Path, capture: Mapping[str, Any]) -> dict[str, Any]:
    whole = [d for d in capture["devices"] if "left_out" not in d]
    calls = [c for d in whole for part in ("calls", "raw") for c in d[part].values()]
    fields = [f for d in whole for f in d["fields"]]
    return {
        "file": str(path),
        "gpus": len(whole),
        "left_out": {str(i): d["left_out"] for i, d in enumerate(capture["devices"]) if "left_out" in d},
        "calls": len(calls),
        "calls_answered": sum("value" in c for c in calls),
        "fields": len(fields),
        "fields_answered": sum(f[1] == 0 for f in fields),
        "pseudonyms": capture["pseudonyms"],
    }


def text(summary: Mapping[str, Any]) -> str:
    """For people."""
    lines = [
        f"{summary['file']}: {summary['gpus']} GPUs; {summary['calls_answered']} of {summary['calls']} calls and "
        f"{summary['fields_answered']} of {summary['fields']} fields returned a value, the others an error code"
    ]
    lines += [f"GPU {index} is missing: {why}" for index, why in summary["left_out"].items()]
    if not summary["pseudonyms"]:
        lines.append("the file contains UUIDs and serial numbers; use --pseudonyms before you share it")
    return "\n".join(lines)
