"""Stopped at any moment, then run again: nothing lost, nothing twice, nothing finished fetched anew."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from http_server import LocalServer

from whim.shards.ledger import Entry, open_ledger, read_ledger
from whim.sources.fetch.config import FetchConfig
from whim.sources.fetch.run import fetch

MP4 = {"content_type": "video/mp4"}


@pytest.fixture
def command(tmp_path: Path, out: Path) -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """``whim fetch`` as a process of its own."""
    running: list[subprocess.Popen[str]] = []

    def start(manifest: Path) -> subprocess.Popen[str]:
        arguments = ["fetch", str(manifest), "--out", str(out), "--set", "sleep_s=0", "--jobs", "1"]
        code = "import sys; from whim.cli import main; sys.exit(main(sys.argv[1:]))"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_stopped_in_the_middle_of_a_download(
    server: LocalServer,
    manifest: Callable[..., Path],
    command: Callable[[Path], subprocess.Popen[str]],
    out: Path,
    config: FetchConfig,
    clip: bytes,
    signal_: signal.Signals,
) -> None:
    server.add("/a.mp4", clip, **MP4)
    server.add("/b.mp4", clip, delay=0.1, **MP4)
    server.add("/c.mp4", clip, **MP4)
    path = manifest({name: f"/{name}.mp4" for name in "abc"})
    part = out / ".partial" / "b" / "mp4.mp4.part"
    process = command(path)
    wait_for(lambda: size(part) > 50_000, process)
    process.send_signal(signal_)
    _, said = process.communicate(timeout=20)
    assert process.returncode == (130 if signal_ is signal.SIGINT else -signal.SIGKILL)
    if signal_ is signal.SIGINT:
        assert "run the same command again" in said
        assert "Traceback" not in said
    stage, entries = read_ledger(out)
    assert (stage, set(entries)) == ("fetch", {"a"})
    kept = size(part)
    assert 0 < kept < len(clip)

    server.resources["/b.mp4"].delay = 0
    assert fetch(path, out=out, config=config).verdicts == {"match": 3}
    assert [span for _, requested, span in server.requests if requested == "/b.mp4"][-1] == f"bytes={kept}-"
    assert server.hits("/a.mp4") == 2
    assert all((out / f"{name}.mp4").read_bytes() == clip for name in "abc")
    keys = [line for line in (out / "ledger.jsonl").read_text().splitlines() if '"key"' in line]
    assert len(keys) == 3


def test_killed_between_the_file_and_its_record(
    server: LocalServer,
    manifest: Callable[..., Path],
    out: Path,
    config: FetchConfig,
    clip: bytes,
    entry_of: Callable[[str], Entry],
) -> None:
    for name in ("a", "a.b", "ledger"):
        server.add(f"/{name}.mp4", clip, **MP4)
    path = manifest({name: f"/{name}.mp4" for name in ("a", "a.b", "ledger")})
    fetch(path, out=out, config=config)
    ledger = out / "ledger.jsonl"
    header, *lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text(header + lines[0][:25])  # the rest of the ledger, a torn line too, is lost
    summary = fetch(path, out=out, config=config)
    assert (summary.worked, summary.verdicts) == (3, {"match": 3})
    assert entry_of("a").data["bytes"] == len(clip)
    assert len(server.requests) == 6  # all from the first run


def test_an_unrecorded_file_that_is_damaged_is_replaced(
    server: LocalServer, manifest: Callable[..., Path], out: Path, config: FetchConfig, clip: bytes
) -> None:
    server.add("/a.mp4", clip, **MP4)
    out.mkdir()
    (out / "a.mkv").write_bytes(clip[:50_000])
    assert fetch(manifest({"a": "/a.mp4"}), out=out, config=config).verdicts == {"match": 1}
    assert sorted(file.name for file in out.iterdir()) == [".partial", "a.mp4", "ledger.jsonl"]


def test_two_runs_at_once_are_refused(
    server: LocalServer,
    manifest: Callable[..., Path],
    command: Callable[[Path], subprocess.Popen[str]],
    out: Path,
    clip: bytes,
) -> None:
    server.add("/a.mp4", clip, **MP4)
    with open_ledger(out, "fetch"):
        process = command(manifest({"a": "/a.mp4"}))
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "another `whim fetch` is writing here" in said
    assert [path.name for path in out.iterdir()] == ["ledger.jsonl"]
