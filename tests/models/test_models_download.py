"""One file over HTTP: resumed, verified, whole or absent."""

import hashlib
from pathlib import Path

import pytest
from http_server import LocalServer

from whim.models.download import TRIES, ChecksumError, DownloadError, download

BODY = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(BODY).hexdigest()


def no_wait(seconds: float) -> None:
    pass


def test_a_plain_download(server: LocalServer, tmp_path: Path) -> None:
    download(server.add("/w.bin", BODY), tmp_path / "sub" / "w.bin", sha256=DIGEST)
    assert (tmp_path / "sub" / "w.bin").read_bytes() == BODY
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["w.bin"]


def test_a_part_is_continued(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "w.bin.part").write_bytes(BODY[:5000])
    download(server.add("/w.bin", BODY), tmp_path / "w.bin", sha256=DIGEST)
    assert (tmp_path / "w.bin").read_bytes() == BODY
    assert [request[2] for request in server.requests] == ["bytes=5000-"]


def test_a_finished_part_needs_no_bytes(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "w.bin.part").write_bytes(BODY)
    download(server.add("/w.bin", BODY), tmp_path / "w.bin", sha256=DIGEST)
    assert (tmp_path / "w.bin").read_bytes() == BODY


@pytest.mark.parametrize("part", [b"poison" * 100, BODY + b"too long", b"x" * len(BODY)])
def test_a_wrong_part_is_thrown_away_once(server: LocalServer, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "w.bin.part").write_bytes(part)
    download(server.add("/w.bin", BODY), tmp_path / "w.bin", sha256=DIGEST)
    assert (tmp_path / "w.bin").read_bytes() == BODY
    assert server.requests[-1][2] is None


def test_a_server_without_ranges(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "w.bin.part").write_bytes(BODY[:5000])
    download(server.add("/w.bin", BODY, ignore_range=True), tmp_path / "w.bin", sha256=DIGEST)
    assert (tmp_path / "w.bin").read_bytes() == BODY


def test_a_broken_line_is_taken_up_where_it_broke(server: LocalServer, tmp_path: Path) -> None:
    url = server.add("/w.bin", BODY, drop_after=300_000, drop_times=2)
    download(url, tmp_path / "w.bin", sha256=DIGEST, sleep=no_wait)
    assert (tmp_path / "w.bin").read_bytes() == BODY
    assert server.requests[1][2] is not None


def test_a_body_that_ends_early_without_a_word_is_noticed(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So does requests over urllib3 1, which does not compare with Content-Length.
    pieces = [[BODY[:1000]], [BODY[1000:]]]
    monkeypatch.setattr("requests.Response.iter_content", lambda *arguments: iter(pieces.pop(0)))
    download(server.add("/w.bin", BODY), tmp_path / "w.bin", sha256=DIGEST, sleep=no_wait)
    assert [request[2] for request in server.requests] == [None, "bytes=1000-"]
    assert (tmp_path / "w.bin").read_bytes() == BODY


def test_a_busy_server_is_asked_again_with_growing_pauses(server: LocalServer, tmp_path: Path) -> None:
    pauses: list[float] = []
    url = server.add("/w.bin", BODY, fail_first=2, status=503)
    download(url, tmp_path / "w.bin", sha256=DIGEST, sleep=pauses.append)
    assert pauses == [2.0, 4.0]


def test_a_line_that_always_breaks_keeps_the_part(server: LocalServer, tmp_path: Path) -> None:
    url = server.add("/w.bin", BODY, drop_after=100_000, drop_times=99)
    with pytest.raises(DownloadError, match="the part is kept"):
        download(url, tmp_path / "w.bin", sha256=DIGEST, sleep=no_wait)
    assert server.hits("/w.bin") == TRIES
    assert 0 < (tmp_path / "w.bin.part").stat().st_size < len(BODY)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_not_asked_again(server: LocalServer, tmp_path: Path, status: int) -> None:
    url = server.add("/w.bin", BODY, always_status=status)
    with pytest.raises(DownloadError, match=str(status)):
        download(url, tmp_path / "w.bin", sha256=DIGEST, sleep=no_wait)
    assert server.hits("/w.bin") == 1


def test_a_wrong_checksum_deletes_the_file_and_says_both(server: LocalServer, tmp_path: Path) -> None:
    with pytest.raises(ChecksumError) as stop:
        download(server.add("/w.bin", BODY), tmp_path / "w.bin", sha256="0" * 64)
    assert DIGEST in str(stop.value)
    assert "0" * 64 in str(stop.value)
    assert server.hits("/w.bin") == 1  # no part was to blame
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_stays_busy_keeps_the_part(server: LocalServer, tmp_path: Path) -> None:
    pauses: list[float] = []
    (tmp_path / "w.bin.part").write_bytes(BODY[:5000])
    url = server.add("/w.bin", BODY, always_status=503)
    with pytest.raises(DownloadError, match="503"):
        download(url, tmp_path / "w.bin", sha256=DIGEST, sleep=pauses.append)
    assert server.hits("/w.bin") == TRIES
    assert pauses == [2.0, 4.0, 8.0]
    assert (tmp_path / "w.bin.part").read_bytes() == BODY[:5000]


def test_a_kept_part_serves_the_next_call(server: LocalServer, tmp_path: Path) -> None:
    url = server.add("/w.bin", BODY, drop_after=100_000, drop_times=TRIES)
    with pytest.raises(DownloadError):
        download(url, tmp_path / "w.bin", sha256=DIGEST, sleep=no_wait)
    have = (tmp_path / "w.bin.part").stat().st_size
    download(url, tmp_path / "w.bin", sha256=DIGEST, sleep=no_wait)
    assert server.requests[-1][2] == f"bytes={have}-"
    assert (tmp_path / "w.bin").read_bytes() == BODY


def test_a_wrong_part_of_a_wrong_file_is_tried_once_more_only(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "w.bin.part").write_bytes(b"poison")
    with pytest.raises(ChecksumError):
        download(server.add("/w.bin", BODY), tmp_path / "w.bin", sha256="0" * 64, sleep=no_wait)
    assert [request[2] for request in server.requests] == ["bytes=6-", None]
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_asked_for_again(server: LocalServer, tmp_path: Path) -> None:
    url = server.add("/w.bin", BODY)
    (tmp_path / "w.bin").write_bytes(BODY)
    download(url, tmp_path / "w.bin", sha256=DIGEST)
    assert server.requests == []
    (tmp_path / "w.bin").write_bytes(BODY[:-1] + b"?")
    download(url, tmp_path / "w.bin", sha256=DIGEST)
    assert (tmp_path / "w.bin").read_bytes() == BODY
