"""What a configuration asks of this node that is not there: found by looking, without a call to a driver or a server."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

import energy_agent.tokens.servers
from energy_agent.config import agent as configuration
from energy_agent.config.agent import Config, Web
from energy_agent.config.dvfs import matching
from energy_agent.config.node_meters import IN_THE_CLEAR
from energy_agent.core import plugin
from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from energy_agent.node.sensor_file import tick_ns_by_board
from energy_agent.otlp.sender import read_headers
from energy_agent.runtime.files.permissions import require_safe
from energy_agent.web.access import Seen, read
from wattlens.steering.build import configured, specs

Warned = tuple[str, str]
"""A key, and what will not work."""

_PROGRAMS = ("ipmitool",)  # paths that are looked up in $PATH
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SOCKET_PATH_B = 107
_DRIVER = Path("/proc/driver/nvidia/gpus")


def check(path: Path) -> list[Warned]:
    """What will not work on this node.

    Raises:
        UsageError: the file has errors; a line each, with file, key, expected and actual value.
    """
    config = configuration.load(path)
    checks: list[Callable[[], Iterable[Warned] | None]] = [
        partial(check_parts, config),
        partial(_check_sensors, config),
        partial(_owner, path),
        partial(_files, config, ""),
        partial(_socket, config.client.socket),
        partial(_web, config.web),
        *(partial(part, config) for part in (_listen, _otlp, _dvfs, _slow_pages, _tokens, _meters, _driver)),
    ]
    warnings: list[Warned] = []
    faults: list[str] = []
    for each in checks:
        try:
            warnings += each() or ()
        except UsageError as error:
            faults += str(error).splitlines()
    if faults:
        raise UsageError("\n".join(f"{path}: {line}" for line in faults))
    return warnings


def check_parts(config: Config) -> None:
    """Check names of servers and policies, which are files of their own; raises UsageError with a line for each wrong one."""
    server_names = plugin.names(energy_agent.tokens.servers)
    faults = [
        f"key 'tokens.{n}.server': expected one of {', '.join(server_names)}, got {source.server!r}"
        for n, source in enumerate(config.tokens)
        if source.server not in server_names
    ]
    try:
        configured(config.dvfs)
    except UsageError as error:
        faults += [line if line.startswith("key ") else f"key 'dvfs.options': {line}" for line in str(error).splitlines()]
    if faults:
        raise UsageError("\n".join(faults))


def _files(section: BaseModel, prefix: str) -> Iterator[Warned]:
    """Files and folders that are named and not there, or not for this user to read."""
    for name in type(section).model_fields:
        key, value = f"{prefix}{name}", getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _files(value, f"{key}.")
        elif isinstance(value, Path) and name not in _PROGRAMS and key not in ("client.socket", "dvfs.actuator"):
            if not value.exists():
                yield key, f"{value}: no such file or folder"
            elif not os.access(value, os.R_OK):
                yield key, f"{value} is not readable by uid {os.geteuid()}"


def _owner(path: Path) -> Iterator[Warned]:
    """Who else may change the file: an agent of this user refuses it then."""
    try:
        require_safe(path, "configuration")
    except UsageError as error:
        yield "(this file)", f"an agent of this user will refuse the file: {error}"


def _socket(path: Path | None) -> Iterator[Warned]:
    """The client's socket, which the agent makes, with its folder where that is missing.

    Raises:
        UsageError: no agent could make it.
    """
    if path is None:
        return
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    try:
        require_safe(folder, "client.socket")
    except UsageError as error:
        raise UsageError(f"key 'client.socket': {str(error).removeprefix('client.socket ')}") from None
    if len(os.fsencode(path)) > _SOCKET_PATH_B:
        raise UsageError(f"key 'client.socket': expected a path of at most {_SOCKET_PATH_B} bytes, got {path}")
    if path.exists() and not path.is_socket():
        raise UsageError(f"key 'client.socket': {path} exists and is not a socket: remove it or choose another path")
    if not os.access(folder, os.W_OK):
        if os.geteuid() == 0:
            raise UsageError(f"key 'client.socket': the folder {folder} is read-only, so {path} cannot be created")
        yield (
            "client.socket",
            f"uid {os.geteuid()} cannot write to {folder}: create {path.parent} and give it to the agent's user",
        )


def _web(web: Web) -> Iterator[Warned]:
    """The web-config file, its certificates and the token, read as the agent reads them at start.

    Raises:
        UsageError: one of them is wrong. One that is not there, or not for this user, is what this node lacks.
    """
    file_states: Seen = {}
    try:
        terms = read(web, file_states)
    except UsageError as error:
        key = "web.bearer_token_file" if web.bearer_token_file in file_states else "web.config_file"
        unreadable = [file for file in file_states if not os.access(file, os.R_OK)]
        if not unreadable:
            raise _of(key, error) from None
        if unreadable[0] not in (web.config_file, web.bearer_token_file):  # file keys have their own message
            yield key, str(error)
        return
    yield from (("web.config_file", note) for note in terms.notes)


def _check_sensors(config: Config) -> None:
    """Read the profile of the boards' sensors, where it is there; raises UsageError for one that is wrong."""
    profile = config.sources.nvml.sensor_profile
    if profile is not None and os.access(profile, os.R_OK):
        tick_ns_by_board(profile)


def _of(key: str, error: UsageError) -> UsageError:
    """The error with the key that it is about, where it does not say so itself."""
    return error if key in str(error) else UsageError(f"key '{key}': {error}")


def _listen(config: Config) -> Iterator[Warned]:
    for key in ("listen", "probe_listen"):
        listen = getattr(config.web, key, None)
        if listen is None:
            continue
        address, _, port = listen.rpartition(":")
        address = address.strip("[]")
        if 0 < int(port) < 1024 and os.geteuid() != 0:
            yield f"web.{key}", f"port {port} needs root: choose port 1024 or higher"
        try:
            family, kind, protocol, _, target = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(target)
        except OSError as error:
            yield f"web.{key}", f"{address} is not an address of this machine ({error.strerror})"


def _otlp(config: Config) -> Iterator[Warned]:
    """A missing package, and headers, which have credentials, over plain HTTP to another machine.

    Raises:
        UsageError: the file of headers has something else.
    """
    if config.otlp.endpoint is None:
        return
    try:
        import_module("opentelemetry.exporter.otlp.proto.http")
    except ImportError:
        yield "otlp.endpoint", f"nothing is exported without an extra: {install_hint('otlp')}"
    if config.otlp.headers_file is not None and os.access(config.otlp.headers_file, os.R_OK):
        read_headers(config.otlp.headers_file)
    parts = urlsplit(config.otlp.endpoint)
    if config.otlp.headers_file is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        yield "otlp.headers_file", f"its headers are sent to {parts.hostname} in clear text: use https"


def _slow_pages(config: Config) -> Iterator[Warned]:
    """Policy slo decides each second, and lets go where a page is older than its stale_s."""
    if not config.dvfs.steers:
        return
    stale_s = float(config.dvfs.options.get("slo", {}).get("stale_s", 5.0))
    by_slo = [(f"tokens.{n}.period_s", one.period_s) for n, one in enumerate(config.tokens) if _by_slo(config, one.workload)]
    for key, period_s in [*by_slo, *([("sampling.period_s", config.sampling.period_s)] if by_slo else [])]:
        if period_s > 1.0:
            does = (
                "treats them as stale and releases its settings" if period_s > stale_s else "reacts too late to rising latency"
            )
            yield key, f"policy slo decides every second: with {period_s:g} s between readings it {does}"


def _by_slo(config: Config, workload: str) -> bool:
    """Whether the file lets policy slo decide for a workload; what its pod's annotation says nobody knows beforehand."""
    from wattlens.steering.terms import terms_of

    dvfs = config.dvfs
    workload_groups = [group for group in dvfs.groups if group.workload == workload]
    words = [dvfs, *matching(dvfs.workloads, workload), *workload_groups]
    if (not workload_groups and not dvfs.auto_groups) or any(
        word.mode == "observe" for word in words
    ):  # its schedule does not matter
        return False
    return "slo" in terms_of(dvfs, workload_groups, {}, workload, 0)[0].policies


def _dvfs(config: Config) -> Iterator[Warned]:
    if not config.dvfs.steers:
        return
    dvfs, blocks = config.dvfs, config.dvfs.blocks
    slos = [terms.slo for terms in dvfs.levels.values() if terms.slo is not None]
    if not any(slo.ttft_ms or slo.itl_ms for slo in slos):
        keep_limits = {name for name, spec in specs()[0].items() if spec.kind == "slo"}
        for key, name in ((key, name) for key, name in dvfs.policies if name in keep_limits):
            yield key, f"policy {name} steers nothing without slo.ttft_ms or slo.itl_ms, here or in the annotation of a pod"
    if blocks is not None and blocks.settle_s <= 2 * config.sampling.period_s:
        yield "dvfs.blocks.settle_s", f"expected more than two sampling periods, {2 * config.sampling.period_s:g} s"
    if dvfs.mode != "enforce":
        return
    from dvfs.actuator.client import default_socket

    path = config.dvfs.actuator or default_socket()
    if not path.is_socket():
        yield "dvfs.actuator", f"no actuator listens on {path}; start one with: wattlens actuator"
    workloads = {source.workload for source in config.tokens}
    for n, group in enumerate(config.dvfs.groups):
        if group.workload and group.workload not in workloads and config.client.socket is None:
            yield (
                f"dvfs.groups.{n}.workload",
                f"workload {group.workload!r} has no entry in tokens, and without client.socket its training code cannot "
                "report steps: its progress is not measured",
            )


def _tokens(config: Config) -> Iterator[Warned]:
    """Pages that are given twice, under whatever name of the host."""
    by_endpoint: dict[tuple[str, int, str], str] = {}
    for n, source in enumerate(config.tokens):
        for url in source.endpoints:
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".")
            page = ("localhost" if host in _LOOPBACK else host, parts.port or 80, f"{parts.path or '/'}?{parts.query}")
            other = by_endpoint.get(page)
            if other == source.workload:
                yield f"tokens.{n}", f"{url} is listed twice for {source.workload}: its tokens would count twice"
            elif other is not None:
                yield f"tokens.{n}", f"{url} is also listed for {other}: its tokens would count for both"
            by_endpoint.setdefault(page, source.workload)


def _meters(config: Config) -> Iterator[Warned]:
    node = config.sources.node
    hidden = [p for p in (node.sysfs / "class/powercap").glob("intel-rapl:*/energy_uj") if not os.access(p, os.R_OK)]
    if node.rapl.enabled and hidden:
        yield "sources.node.rapl", f"{hidden[0]} is readable only by root: energy of processors and memory is not measured"
    if node.redfish is not None and node.redfish.in_the_clear:
        yield "sources.node.redfish.insecure", IN_THE_CLEAR
    if node.redfish is not None and node.redfish.auth != "none" and not node.redfish.verify and not node.redfish.in_the_clear:
        yield (
            "sources.node.redfish.verify",
            "the server's certificate is not verified: the password may be sent to the wrong server",
        )


def _driver(config: Config) -> Iterator[Warned]:
    if not _DRIVER.is_dir() and config.sources.nvml.on_start_failure == "fail":
        yield (
            "sources.nvml.on_start_failure",
            "this machine has no NVIDIA driver, so without --simulate the agent would exit at start: set 'retry' to wait for "
            "the driver, or 'skip' to run without it",
        )


def about_this_machine(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> list[str]:
    """A few facts for the head of a fresh configuration, from files alone."""

    def exists(*paths: str) -> bool:
        return any((root / p).exists() for p in paths)

    gpus = len(list((root / "proc/driver/nvidia/gpus").glob("*")))
    facts: dict[str, Any] = {
        f"NVIDIA GPUs: {gpus}"
        if gpus
        else "no NVIDIA driver: run the agent with --simulate, or set on_start_failure: retry": True,
        "RAPL is available (energy of processors and memory)": exists("sys/class/powercap/intel-rapl:0"),
        "a management controller is available over IPMI (/dev/ipmi0)": exists("dev/ipmi0", "dev/ipmi/0"),
        "the kubelet reports which pod has which GPU": exists("var/lib/kubelet/pod-resources/kubelet.sock"),
        "in a Kubernetes pod": "KUBERNETES_SERVICE_HOST" in environ,
        "in a container": exists(".dockerenv", "run/.containerenv"),
        "slurmd has run on this machine": exists("var/spool/slurmd", "var/spool/slurm/d"),
        "Prometheus is configured on this machine (/etc/prometheus): add the address in web.listen to its targets": exists(
            "etc/prometheus/prometheus.yml"
        ),
    }
    return ["", "Found on this machine:", *(f"- {fact}" for fact, is_so in facts.items() if is_so)]
