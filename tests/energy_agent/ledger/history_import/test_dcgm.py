"""The meaning of dcgm-exporter labels. The label sets are from responses that users posted: a GPU alone and in a pod
(NVIDIA/gpu-monitoring-tools issue 138, dcgm-exporter issue 58), in MIG mode (issue 317), and renamed by Prometheus (issue 277).
"""

from decimal import Decimal

import pytest

from energy_agent.core.energy import WorkloadFacts
from energy_agent.ledger.history_import.dcgm import board_of, facts_of, own_pods, owner_of, readings, source_of
from energy_agent.ledger.history_import.samples import ExporterReading

V100 = "GPU-6bf47ca9-ad3e-15db-beed-1079a7d74116"
A30 = "GPU-265c9814-6156-355b-e589-ff2064894f16"
BARE = {"gpu": "0", "UUID": V100, "device": "nvidia0", "modelName": "NVIDIA TITAN V", "Hostname": "dcgm-exporter-lcxpl"}
SCRAPED = {"instance": "10.0.0.7:9400", "job": "dcgm"}
TARGET = {"namespace": "gpu-operator", "pod": "nvidia-dcgm-exporter-x7", "container": "exporter", "endpoint": "metrics"}
POD = {"namespace": "ml", "pod": "train-0", "container": "main"}
OWN = own_pods([{"__name__": "up", **SCRAPED, **TARGET}])


@pytest.mark.parametrize(
    ("labels", "owner"),
    [
        (BARE | {"pod": "", "namespace": "", "container": ""}, ""),
        (BARE | SCRAPED, ""),
        (BARE | SCRAPED | POD, "import:ml/train-0"),
        (BARE | SCRAPED | POD | {"pod_uid": "0123abcd-4567-89ab-cdef-0123456789ab"}, "import:ml/train-0@0123abcd"),
        # honor_labels: false: the target's own labels and those of the exporter, or only the former if it names no pod
        (BARE | SCRAPED | TARGET | {f"exported_{k}": v for k, v in POD.items()}, "import:ml/train-0"),
        (BARE | SCRAPED | TARGET, ""),
        # honor_labels: true: where the exporter names nobody, the target's own labels stand in their place
        (BARE | SCRAPED | POD | {"endpoint": "metrics"}, "import:ml/train-0"),
    ],
)
def test_owner_is_the_pod_that_the_exporter_names(labels, owner):
    assert owner_of(labels, OWN) == owner
    assert owner_of(BARE | TARGET | {"container": "nvidia-dcgm-exporter"}, set()) == ""  # also if `up` does not show it
    assert own_pods([SCRAPED]) == set()  # a target outside of Kubernetes


def test_a_name_gives_back_its_facts():
    facts = WorkloadFacts("import:ml/train-0@0123abcd", 7, "pod", {"namespace": "ml", "pod": "train-0", "imported": "dcgm"})
    assert facts_of("import:ml/train-0@0123abcd", 7) == facts


def test_mig_devices_of_a_board_are_one_reading_with_all_their_holders():
    mig = {"gpu": "0", "UUID": A30, "device": "nvidia0", "modelName": "NVIDIA A30", "GPU_I_PROFILE": "1g.6gb"}
    series = [
        (mig | {"GPU_I_ID": "3"} | POD, [(10, Decimal("5000")), (20, Decimal("6000"))]),
        (mig | {"GPU_I_ID": "4"}, [(10, Decimal("5000")), (20, Decimal("6001"))]),
    ]
    by_device = readings(series, 1_000, set(), "replica")
    both = frozenset({"import:ml/train-0", ""})
    assert by_device == {A30: {"": [ExporterReading(10, 5_000_000, both), ExporterReading(20, 6_001_000, both)]}}


def test_a_pod_that_comes_is_another_series_of_the_same_board():
    series = [(BARE | SCRAPED, [(10, Decimal(1))]), (BARE | SCRAPED | POD, [(20, Decimal(2)), (30, Decimal(3))])]
    ((source, points),) = readings(series, 1_000, set(), "replica")[V100].items()
    assert source == "dcgm 10.0.0.7:9400"
    owner = {"import:ml/train-0"}
    assert [(r.t_ns, r.value, set(r.owners)) for r in points] == [(10, 1_000, set()), (20, 2_000, owner), (30, 3_000, owner)]


def test_replicas_and_exporters_are_distinguished_and_power_keeps_its_fractions():
    one, two = ({**SCRAPED, "replica": name} for name in ("prometheus-0", "prometheus-1"))
    assert source_of(one, "replica") != source_of(two, "replica")
    assert source_of(one, "prometheus_replica") == source_of(two, "prometheus_replica")
    by_device = readings(
        [(BARE | one, [(10, Decimal("52.636"))]), (BARE | two, [(11, Decimal("52.746"))])], 1_000, set(), "replica"
    )
    assert sorted(r.value for each in by_device[V100].values() for r in each) == [52_636, 52_746]


def test_a_series_without_a_uuid_or_with_the_name_of_another_device_is_left_out():
    assert board_of({"gpu": "0"}) == ""
    for strange in ("host:lab:node-1", "meter:fra1:main", "a/b", "", "x" * 200):
        assert board_of({"UUID": strange}) == ""
    assert readings([({"gpu": "0"}, [(10, Decimal(1))])], 1_000, set(), "replica") == {}
