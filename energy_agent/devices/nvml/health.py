"""Health of one device: the calls of each group, and how each failure is handled.

A call that returns NOT_SUPPORTED or NO_PERMISSION is retried rarely; its quantity is absent with that reason. A failure affects
its own quantity only; the readings of every second find out whether the device responds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from energy_agent.core.health import GPM, MARK_PREFIX, PCIE_THROUGHPUT, HealthReading, HealthRecord
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml import health_abi as ids
from energy_agent.devices.nvml.abi import OFF, FieldValue, NvmlError
from energy_agent.devices.nvml.library import Gpm, RealNvml
from energy_agent.devices.port import Mark

RETRY_OFF_NS = 600 * NS_PER_S
GPM_LEAST_NS = NS_PER_S
"""GPM needs this much between two samples for its metrics to mean something."""
MAX_LINKS = 64
_PCIE_LINK = ("pcie_link_generation", "pcie_link_max_generation", "pcie_link_lanes", "pcie_link_max_lanes")


class _Visit:
    """What one visit has found."""

    def __init__(self) -> None:
        self.readings: list[HealthReading] = []
        self.absent: dict[str, str] = {}

    def put(self, quantity: str, value: float, *labels: str) -> None:
        self.readings.append(HealthReading(quantity, labels, value))

    def missing(self, quantity: str, code: int) -> None:
        self.absent.setdefault(quantity, abi.CODE_NAMES.get(code, str(code)))

    def record(self, uuid: str, group: str, boot_ns: int) -> HealthRecord:
        read_quantities = {r.quantity for r in self.readings}  # a quantity that is there in part is there
        absent = {quantity: reason for quantity, reason in self.absent.items() if quantity not in read_quantities}
        return HealthRecord(uuid, group, boot_ns, tuple(self.readings), absent)


class HealthReader:
    """Reads the health of one device, remembering what it does not support. `close` releases what GPM holds."""

    def __init__(self, nvml: RealNvml, handle: object, uuid: str, clock: Clock, mark: Mark) -> None:
        self.uuid = uuid
        self._nvml, self._handle, self._clock, self._mark = nvml, handle, clock, mark
        self._off: dict[object, tuple[int, int]] = {}  # call or field -> NVML code, CLOCK_BOOTTIME ns of the next try
        self._error_kinds: set[tuple[str, str]] = set()
        self._gpm: Gpm | None = None
        self._gpm_ns = 0
        self._groups: Mapping[str, Callable[[_Visit], None]] = {
            "ecc": self._ecc, "memory": self._memory, "pcie": self._pcie, "nvlink": self._nvlink, "state": self._state,
            "mig": self._mig, PCIE_THROUGHPUT: self._pcie_throughput, GPM: self._read_gpm,
        }  # fmt: skip

    def read(self, group: str) -> HealthRecord:
        """Read one group; never raises for what NVML answers."""
        visit = _Visit()
        self._groups[group](visit)
        return visit.record(self.uuid, group, self._clock.boot_ns())

    def close(self) -> None:
        """Free the GPM samples."""
        gpm, self._gpm = self._gpm, None
        if gpm is not None:
            gpm.close()

    def _ask(self, visit: _Visit, quantities: Iterable[str], ask: Callable[..., Any], *arguments: object) -> Any:
        """Return the result of a call. If it fails, return None and record the reason under each of `quantities`."""
        off = self._off.get((ask.__name__, arguments))
        code = abi.SUCCESS
        if off is not None and self._clock.boot_ns() < off[1]:
            code = off[0]
        else:
            self._mark(MARK_PREFIX + ask.__name__)
            try:
                return ask(self._handle, *arguments)
            except NvmlError as error:
                code = error.code
                if code in OFF:
                    self._off[ask.__name__, arguments] = code, self._clock.boot_ns() + RETRY_OFF_NS
        for quantity in quantities:
            visit.missing(quantity, code)
        return None

    def _fields(self, visit: _Visit, fields: Sequence[tuple[int, int]], quantity: Callable[[int], str]) -> list[FieldValue]:
        """Return the values that NVML provides. Record the others as absent under their quantity, and retry them later."""
        now_ns = self._clock.boot_ns()
        off = {field: self._off[field][0] for field in fields if field in self._off and now_ns < self._off[field][1]}
        for field, code in off.items():
            visit.missing(quantity(field[0]), code)
        asked = [field for field in fields if field not in off] if off else fields
        if not asked:
            return []
        self._mark(MARK_PREFIX + "GetFieldValues")
        try:
            answers = self._nvml.scoped_field_values(self._handle, asked)
        except NvmlError as error:
            answers = [FieldValue(field, error.code, 0) for field, _ in asked]
        for field, answer in zip(asked, answers, strict=True):
            if answer.code == abi.SUCCESS:
                continue
            visit.missing(quantity(field[0]), answer.code)
            if answer.code in OFF or answer.code == abi.INVALID_ARGUMENT:  # an older driver does not know the field
                self._off[field] = answer.code, now_ns + RETRY_OFF_NS
        return [answer for answer in answers if answer.code == abi.SUCCESS]

    def _ecc(self, visit: _Visit) -> None:
        table = ids.ECC_FIELDS
        for answer in self._fields(visit, [(f, 0) for f in table], lambda f: table[f][0]):
            quantity, labels = table[answer.field_id]
            visit.put(quantity, answer.value, *labels)
        for aggregate, quantity in enumerate(("ecc_volatile_location_errors", "ecc_location_errors")):
            for severity, name in enumerate((ids.CORRECTED, ids.UNCORRECTED)):
                errors = self._ask(visit, [quantity], self._nvml.ecc_errors, severity, aggregate, ids.LOCATION_SRAM)
                if errors is not None:
                    visit.put(quantity, errors, name, "sram")

    def _memory(self, visit: _Visit) -> None:
        table = ids.MEMORY_FIELDS
        for answer in self._fields(visit, [(f, 0) for f in table], lambda f: table[f][0]):
            quantity, labels = table[answer.field_id]
            if labels or answer.value:  # those without labels are conditions, absent while they do not hold
                visit.put(quantity, answer.value, *labels)
        if "remapped_rows" not in visit.absent:  # such a board remaps rows instead of retiring pages
            for quantity in ("retired_pages", "page_retirement_pending"):
                visit.absent.pop(quantity, None)

    def _pcie(self, visit: _Visit) -> None:
        table = ids.PCIE_FIELDS
        for answer in self._fields(visit, [(f, 0) for f in table], lambda f: table[f][0]):
            quantity, labels = table[answer.field_id]
            visit.put(quantity, answer.value, *labels)
        if "pcie_replays" in visit.absent:
            replays = self._ask(visit, ["pcie_replays"], self._nvml.pcie_replays)
            if replays is not None:
                visit.put("pcie_replays", replays)
        link = self._ask(visit, _PCIE_LINK, self._nvml.pcie_link)
        for quantity, value in zip(_PCIE_LINK, link or (), strict=False):
            visit.put(quantity, value)

    def _nvlink(self, visit: _Visit) -> None:
        counted = self._fields(visit, [(ids.FIELD_NVLINK_COUNT, 0)], lambda _: "nvlink_links")
        links = min(counted[0].value, MAX_LINKS) if counted else 0
        if counted and not links:
            visit.missing("nvlink_links", abi.NOT_SUPPORTED)
        if not links:
            return
        self._links(visit, links)
        totals, table = ids.NVLINK_TOTAL_FIELDS, ids.NVLINK_LINK_FIELDS
        summed: dict[tuple[str, str], int] = {}
        for answer in self._fields(visit, [(f, 0) for f in totals], lambda _: "nvlink_kind_errors"):
            summed["nvlink_kind_errors", totals[answer.field_id]] = answer.value
        counted_kinds = set(summed)  # a total stands; its links would count it twice
        if counted_kinds & {("nvlink_kind_errors", "crc_flit"), ("nvlink_kind_errors", "crc_data")}:
            counted_kinds.add(("nvlink_kind_errors", "crc"))
        scoped = [(f, link) for f in table if table[f] not in counted_kinds for link in range(links)]
        for answer in self._fields(visit, scoped, lambda f: table[f][0].replace("kib", "b")):
            quantity, label = table[answer.field_id]
            factor = 1024 if quantity == "nvlink_kib" else 1
            key = quantity.replace("kib", "b"), label
            summed[key] = summed.get(key, 0) + answer.value * factor
        for (quantity, label), value in summed.items():
            visit.put(quantity, value, label)
        errors = {key: n for key, n in summed.items() if key[0] == "nvlink_kind_errors" and key[1] not in ids.CORRECTED_BITS}
        self._error_kinds |= errors.keys()
        if errors and errors.keys() == self._error_kinds:
            visit.put("nvlink_errors", sum(errors.values()))
        elif errors:  # without one of its kinds the sum would fall, as if it had been reset
            visit.absent["nvlink_errors"] = "one of its kinds of errors could not be read"

    def _links(self, visit: _Visit, links: int) -> None:
        """Which links are down, and how many are up. Links that are in no use count as down."""
        states = self._fields(visit, [(ids.FIELD_NVLINK_STATE, link) for link in range(links)], lambda _: "nvlink_links")
        up: list[bool | None] = [answer.value == 1 for answer in states]
        if len(up) < links:
            up = [self._ask(visit, ["nvlink_links"], self._nvml.nvlink_up, link) for link in range(links)]
        if None in up:
            return
        for link in (link for link, state in enumerate(up) if not state):
            visit.put("nvlink_down", 1, str(link))
        visit.put("nvlink_links", sum(map(bool, up)), "up")
        visit.put("nvlink_links", links - sum(map(bool, up)), "down")

    def _state(self, visit: _Visit) -> None:
        for answer in self._fields(visit, [(ids.FIELD_RECOVERY_ACTION, 0)], lambda _: "recovery_action"):
            is_known = answer.value < len(ids.RECOVERY_ACTIONS)
            visit.put("recovery_action", 1, ids.RECOVERY_ACTIONS[answer.value] if is_known else f"action_{answer.value}")
        modes = ["ecc_enabled", "ecc_pending_enabled"]
        for quantity, value in zip(modes, self._ask(visit, modes, self._nvml.ecc_mode) or (), strict=False):
            visit.put(quantity, value)
        nvml = self._nvml
        self._one(visit, "persistence_enabled", (), nvml.persistence_mode)
        self._one(visit, "encoder_percent", (), nvml.encoder_percent)
        self._one(visit, "decoder_percent", (), nvml.decoder_percent)
        self._one(visit, "memory_reserved_b", (), nvml.memory_reserved_b)
        bar1 = self._ask(visit, ["bar1_used_b", "bar1_total_b"], nvml.bar1_b)
        for quantity, value in zip(("bar1_used_b", "bar1_total_b"), bar1 or (), strict=False):
            visit.put(quantity, value)
        fans = self._ask(visit, ["fan_percent"], nvml.fans_percent)
        for fan, percent in enumerate(fans or ()):
            visit.put("fan_percent", percent, str(fan))

    def _one(self, visit: _Visit, quantity: str, labels: tuple[str, ...], ask: Callable[[object], int]) -> None:
        value = self._ask(visit, [quantity], ask)
        if value is not None:
            visit.put(quantity, int(value), *labels)

    def _mig(self, visit: _Visit) -> None:
        modes = ["mig_enabled", "mig_pending_enabled"]
        mode = self._ask(visit, [*modes, "mig_device"], self._nvml.mig_mode)
        for quantity, value in zip(modes, mode or (), strict=False):
            visit.put(quantity, value)
        if mode is None or mode[0] != 1:
            return
        for mig in self._ask(visit, ["mig_device"], self._nvml.mig_devices) or ():
            visit.put("mig_device", 1, mig.uuid, mig.profile, str(mig.gpu_instance), str(mig.compute_instance))

    def _pcie_throughput(self, visit: _Visit) -> None:
        for receive, direction in enumerate(("transmit", "receive")):
            rate = self._ask(visit, ["traffic"], self._nvml.pcie_throughput_kib_s, receive)
            if rate is not None:
                visit.put("traffic", rate * 1024, "pcie", direction, "sampled")

    def _read_gpm(self, visit: _Visit) -> None:
        quantities = ("activity", "traffic")
        now_ns = self._clock.boot_ns()
        if self._gpm is None:
            self._gpm, self._gpm_ns = self._ask(visit, quantities, self._nvml.gpm), now_ns
        if self._gpm is None or now_ns - self._gpm_ns < GPM_LEAST_NS:
            for quantity in quantities:  # the next visit has a sample to measure from
                visit.absent.setdefault(quantity, "requires two samples")
            return
        self._mark(MARK_PREFIX + "GpmMetricsGet")
        try:
            metrics = self._gpm.read((*ids.GPM_ACTIVITIES, *ids.GPM_TRAFFIC))
        except NvmlError as error:
            self.close()  # begin again: MIG mode may have changed
            for quantity in quantities:
                visit.missing(quantity, error.code)
            return
        self._gpm_ns = now_ns
        for metric, value in metrics.items():
            if metric in ids.GPM_ACTIVITIES:
                visit.put("activity", value / 100, ids.GPM_ACTIVITIES[metric])
            else:
                visit.put("traffic", value * (1 << 20), *ids.GPM_TRAFFIC[metric], "gpm")
