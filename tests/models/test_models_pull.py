"""Catalogue entries through failures into the cache, checked and checked again."""

import errno
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
from whim.models.pull import list_models, pull, render_models, render_results, verify

pytestmark = pytest.mark.usefixtures("cache")


def test_pull_then_pull_again_without_network(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    path = make_catalog(entry("w", https(server)))
    assert [r.status for r in pull(None, catalog=path)] == ["pulled"]
    assert (cache / "models" / "w" / "w.bin").read_bytes() == WEIGHTS
    asked = len(server.requests)
    assert [r.status for r in pull(None, catalog=path)] == ["ready"]
    assert len(server.requests) == asked
    assert not (cache / "downloads").exists()


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
    assert not (cache / "models" / "w" / "w.bin").exists()


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
    assert not list((cache / "models").rglob("*.bin"))
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


def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["status"] for row in rows} == {"not pulled"}
    assert "pedestrian-ssdlite" in render_models(list_models())
    assert cli.main(["models", "verify", "pedestrian-ssdlite"]) == 0
    assert "whim models pull pedestrian-ssdlite" in capsys.readouterr().out
    assert cli.main(["models", "pull", "no-such"]) == 2
