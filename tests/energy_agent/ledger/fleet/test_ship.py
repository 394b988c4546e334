import os

import fsspec
import pytest

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.ledger.fleet.ship import Shipment, ship
from energy_agent.ledger.segments import segment
from tests.energy_agent.ledger.cases import filled
from tests.support import free_port


@pytest.fixture
def files(tmp_path):
    filled(tmp_path, 6, seals=(1, 3, 5)).close()
    return segment.list_files(tmp_path / "segments")


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    target = f"file://{tmp_path}/shipped/here" if request.param == "file" else "memory://ledger/here"
    system, root = fsspec.core.url_to_fs(target)
    yield target
    if system.exists(root):
        system.rm(root, recursive=True)


def stored_files(url):
    system, root = fsspec.core.url_to_fs(url)
    return {path.rsplit("/", 1)[1]: system.cat_file(path) for path in system.ls(root, detail=False)}


def test_every_byte_arrives_once_and_nothing_else(files, url):
    assert ship(files, url) == Shipment(3, 0)
    assert stored_files(url) == {p.name: p.read_bytes() for p in files}
    done = ship(files, url)
    assert (done.copied, done.unchanged) == (0, 3)


def test_other_content_is_never_overwritten(files, url):
    ship(files[:1], url)
    system, root = fsspec.core.url_to_fs(url)
    target = f"{root}/{files[0].name}"
    for data in (files[1].read_bytes(), b"damaged"):
        system.pipe_file(target, data)
        (line,) = ship(files, url).refused
        assert "already exists, with other content" in line
        assert system.cat_file(target) == data
    assert {p.name for p in files[1:]} <= set(stored_files(url))  # the others are copied all the same


def test_half_a_copy_left_by_a_crash_is_no_obstacle(files, url):
    system, root = fsspec.core.url_to_fs(url)
    system.makedirs(root, exist_ok=True)
    system.pipe_file(f"{root}/{files[0].name}.tmp", files[0].read_bytes()[:20])
    assert ship(files, url).copied == 3
    assert set(stored_files(url)) == {p.name for p in files}


def test_a_link_in_a_shared_folder_is_never_written_through(files, tmp_path):
    share, victim = tmp_path / "share", tmp_path / "victim"
    share.mkdir()
    victim.write_bytes(b"of the host")
    for name in (f"{files[0].name}.tmp", files[1].name):
        (share / name).symlink_to(victim)
    (line,) = ship(files, f"file://{share}").refused
    assert f"{files[1].name}: cannot be read: Too many levels of symbolic links" in line
    assert victim.read_bytes() == b"of the host"
    for path in (files[0], files[2]):
        copy = share / path.name
        assert (copy.is_symlink(), copy.read_bytes()) == (False, path.read_bytes())


def test_a_fifo_in_a_shared_folder_is_refused_at_once(files, tmp_path):
    share = tmp_path / "share"
    share.mkdir()
    for name in (f"{files[0].name}.tmp", files[1].name):
        os.mkfifo(share / name)
    done = ship(files, f"file://{share}")
    assert (done.copied, len(done.refused)) == (2, 1)
    assert "is not a regular file" in done.refused[0]


def test_a_damaged_segment_is_not_shipped(files, url):
    files[1].write_bytes(files[1].read_bytes()[:-4])
    done = ship(files, url)
    assert (done.copied, len(done.refused), files[1].name in done.refused[0]) == (2, 1, True)
    assert set(stored_files(url)) == {files[0].name, files[2].name}


def test_a_target_that_cannot_be(files, tmp_path):
    with pytest.raises(UsageError, match="nonsense"):
        ship(files, "nonsense://x")
    (tmp_path / "file").write_text("")
    with pytest.raises(WattlensError, match="shipping failed"):
        ship(files, f"file://{tmp_path}/file/below")


@pytest.mark.parametrize("url", ["s3://me:secret@bucket/x", "ftp://me:sec/ret@host/x", "sftp://me:secret@host:22/x"])
def test_a_url_with_a_password_is_refused_and_not_printed(files, url):
    with pytest.raises(UsageError, match="with a password") as refused:
        ship(files, url)
    assert "ret@" not in str(refused.value)


def test_a_server_that_does_not_answer_is_named(files):
    url = f"ftp://127.0.0.1:{free_port()}/ledger"
    with pytest.raises(WattlensError, match=f"^{url}: connection refused$"):
        ship(files, url)
