"""What becomes of health readings on the page: base units, a reason for what is absent, nothing of a device that is down."""

import dataclasses
import math
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families as parse_text

from energy_agent.core.catalogue.gpu import GPUS
from energy_agent.core.catalogue.gpu import HEALTH as CACHED
from energy_agent.core.health import GPM, GROUPS, PCIE_THROUGHPUT, HealthReading, HealthRecord
from energy_agent.core.snapshot import Snapshot
from energy_agent.exposition.openmetrics import Format, render
from tests.snapshots import HEALTH, Player, uuid


def page(snapshot: Snapshot) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in parse_text(render(snapshot, Format.TEXT).decode()):
        for sample in family.samples:
            yield sample.name.removeprefix("wattlens_"), sample.labels, sample.value


def with_records(*records: HealthRecord, lost: int | None = None) -> Snapshot:
    player = Player(gpus=2, lost=set() if lost is None else {lost})
    return dataclasses.replace(player.at(5), device_health=records)


def record(*readings: HealthReading, gpu: int = 0, **absent: str) -> HealthRecord:
    return HealthRecord(uuid(gpu), "ecc", 0, readings, absent)


def test_every_quantity_has_a_family_that_is_exported_and_an_example() -> None:
    quantities = {signal.value for signal in GPUS if signal.source is CACHED}
    assert {quantity for rows in HEALTH.values() for quantity, *_ in rows} == quantities
    assert set(HEALTH) == {*GROUPS, GPM}
    assert PCIE_THROUGHPUT not in GROUPS


def test_values_are_in_base_units() -> None:
    samples = {(name, *labels.values()): value for name, labels, value in page(Player(gpus=2).at(5))}
    ids = ("0", uuid(0))
    assert samples["gpu_encoder_utilization_ratio", *ids] == 0.05
    assert samples["gpu_fan_speed_ratio", *ids, "0"] == 0.4
    assert samples["gpu_bar1_used_bytes", *ids] == 4 * 1024**2
    assert samples["gpu_activity_ratio", *ids, "tensor"] == 0.625
    assert samples["gpu_traffic_bytes_per_second", *ids, "pcie", "transmit", "gpm"] == 1.5 * 1024**2
    assert samples["gpu_mig_info", *ids, "MIG-1", "1g.10gb", "1", "0"] == 1


def test_what_is_absent_has_its_reason_and_no_series() -> None:
    samples = list(page(with_records(record(HealthReading("ecc_errors", ("corrected",), 3), fan_percent="NOT_SUPPORTED"))))
    ((_, labels, _),) = [row for row in samples if row[0] == "gpu_absent_info"]
    assert (labels["uuid"], labels["field"], labels["reason"]) == (uuid(0), "fan_percent", "NOT_SUPPORTED")
    assert not [row for row in samples if row[0] == "gpu_fan_speed_ratio"]


def test_series_are_of_the_newest_numbers_of_devices_that_answer() -> None:
    def errors(count: int, gpu: int = 0) -> HealthRecord:
        return record(HealthReading("ecc_errors", ("corrected",), count), gpu=gpu)

    samples = page(with_records(errors(3), errors(3, gpu=1), lost=0))
    assert [labels["uuid"] for name, labels, _ in samples if name == "gpu_ecc_errors_total"] == [uuid(1)]
    for count in (3, 4, 4, 5):
        samples = page(with_records(errors(count)))
        assert [value for name, _, value in samples if name == "gpu_ecc_errors_total"] == [count]
    samples = page(
        with_records(record(HealthReading("activity", ("sm",), math.nan), HealthReading("activity", ("dram",), 0.5)))
    )
    assert [labels["part"] for name, labels, _ in samples if name == "gpu_activity_ratio"] == ["dram"]
