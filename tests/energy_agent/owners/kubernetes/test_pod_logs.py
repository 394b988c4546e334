"""Uids of pods by the kubelet's folders of logs."""

import os

import pytest

from energy_agent.owners.kubernetes.pod_logs import PodLogs

U1, U2 = "1a2b3c4d-0000-4000-8000-000000000001", "99998888-0000-4000-8000-000000000002"


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o755)
    return tmp_path


def uid(folder, namespace="ml", pod="a"):
    logs = PodLogs(folder)
    logs.read()
    return logs.uid(namespace, pod)


def test_a_folder_names_a_pod_and_its_uid(folder):
    (folder / f"ml_a_{U1}").mkdir()
    (folder / f"ml_a.b-c_{U2}").mkdir()
    (folder / f"kube-system_static-node-1_{'0123456789abcdef' * 2}").mkdir()
    assert uid(folder) == U1
    assert uid(folder, pod="a.b-c") == U2
    assert uid(folder, "kube-system", "static-node-1") == "0123456789abcdef" * 2
    assert uid(folder, "other", "a") == ""


def test_the_pod_of_a_uid_is_known_from_when_its_folder_is_there(folder):
    logs = PodLogs(folder)
    assert logs.pod_of(U1) is None
    (folder / f"ml_a_{U1}").mkdir()
    assert logs.pod_of(U1) == ("ml", "a")


@pytest.mark.parametrize(
    "name", ["ml_a", f"ml_a_{U1}x", f"ml_a_b_{U1}", f"_a_{U1}", f"ml_A_{U1}", f"ml_a_{U1}\n", "ml_a_uid-1"]
)
def test_any_other_name_is_no_pods(folder, name):
    (folder / name).mkdir()
    assert {uid(folder, *key) for key in (("ml", "a"), ("ml", "a_b"), ("", "a"), ("ml", "A"))} == {""}


@pytest.mark.parametrize("order", [(U1, U2), (U2, U1)])
def test_the_last_of_two_lives_of_a_name_counts(folder, order):
    for second, each in enumerate(order):
        (folder / f"ml_a_{each}").mkdir()
        os.utime(folder / f"ml_a_{each}", (second, second))
    assert uid(folder) == order[1]


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
def test_a_folder_that_others_may_write_to_proves_nothing(folder, mode):
    (folder / f"ml_a_{U1}").mkdir()
    folder.chmod(mode)
    assert uid(folder) == ""


def test_a_missing_folder_is_logged_once_with_its_reason_and_counts_once_it_is_there(folder, caplog):
    logs = PodLogs(folder / "pods")
    logs.read()
    logs.read()
    assert [str(folder / "pods") in record.getMessage() for record in caplog.records] == [True]
    (folder / f"pods/ml_a_{U1}").mkdir(parents=True)
    logs.read()
    assert logs.uid("ml", "a") == U1
