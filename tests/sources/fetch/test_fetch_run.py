"""Whole runs through the real yt-dlp (its generic extractor) and a server on loopback: verdicts, order, resuming."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from http_server import LocalServer

from whim.errors import UsageError, WhimError
from whim.shards.ledger import Entry, State
from whim.sources.fetch.config import FetchConfig
from whim.sources.fetch.run import fetch

MP4 = {"content_type": "video/mp4"}
Manifest = Callable[..., Path]
EntryOf = Callable[[str], Entry]


def test_match_with_its_record(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes, entry_of: EntryOf
) -> None:
    server.add("/a.mp4", clip, **MP4)
    summary = fetch(manifest({"-a %(id)s $HOME": "/a.mp4?token=secret"}), out=out, config=config)
    assert summary.exit_code == 0
    assert summary.verdicts == {"match": 1}
    entry = entry_of("-a %(id)s $HOME")
    assert (entry.state, entry.reason, entry.attempts) == (State.DONE, "match", 1)
    assert entry.data["file"] == "-a %(id)s $HOME.mp4"
    assert (out / entry.data["file"]).read_bytes() == clip
    assert entry.data["bytes"] == len(clip)
    assert entry.data["sha256"] == hashlib.sha256(clip).hexdigest()
    assert entry.data["split"] == "train"
    assert entry.data["url"] == server.url("/a.mp4")
    assert entry.data["facts"]["codec"] == "h264"
    assert entry.data["format_id"]
    assert entry.data["yt_dlp"]
    assert not list((out / ".partial").iterdir())

    again = fetch(summary.manifest, out=out, config=config)
    assert (again.worked, again.verdicts, again.exit_code) == (0, {"match": 1}, 0)
    assert server.hits("/a.mp4") == 2  # the probe and the download of the first run


def test_drifted_says_by_how_much(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes, entry_of: EntryOf
) -> None:
    server.add("/a.mp4", clip, **MP4)
    summary = fetch(
        manifest({"a": "/a.mp4"}, fps=30.0, frames=60, width=320, height=192), out=out, config=config
    )
    assert (summary.verdicts, summary.exit_code) == ({"drifted": 1}, 0)
    entry = entry_of("a")
    assert entry.state is State.DONE
    drift = {
        part["what"]: (part["expected"], part["found"], part["difference"]) for part in entry.data["drift"]
    }
    assert drift == {
        "fps": (30.0, 25.0, -5.0),
        "frames": (60, 50, -10),
        "size": ([320, 192], [160, 96], [-160, -96]),
    }
    assert entry.data["same_duration"] is True
    assert "labels fit by time" in entry.detail
    assert "drifted" in summary.render()

    # A corrected manifest corrects the verdict without a new download.
    assert fetch(manifest({"a": "/a.mp4"}), out=out, config=config).verdicts == {"match": 1}
    assert server.hits("/a.mp4") == 2


def test_the_command_line_starts_without_yt_dlp() -> None:
    code = "import sys, whim.sources.fetch.run; print('yt_dlp' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_two_jobs_share_the_work(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes, entry_of: EntryOf
) -> None:
    for index in range(5):
        server.add(f"/{index}.mp4", clip, **MP4)
    paths = {f"v{index}": f"/{index}.mp4" for index in range(5)}
    assert fetch(manifest(paths), out=out, jobs=2, config=config).verdicts == {"match": 5}
    assert all((out / f"v{index}.mp4").read_bytes() == clip for index in range(5))
    lines = (out / "ledger.jsonl").read_text().splitlines()
    assert len(lines) == 6  # the header and one line each


def test_limit_and_only_failed(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes, entry_of: EntryOf
) -> None:
    server.add("/a.mp4", clip, always_status=503, **MP4)
    server.add("/b.mp4", clip, **MP4)
    server.add("/c.mp4", clip, **MP4)
    path = manifest({"a": "/a.mp4", "b": "/b.mp4", "c": "/c.mp4"})
    first = fetch(path, out=out, limit=1, config=config)
    assert (first.worked, first.pending, first.exit_code) == (1, 2, 1)
    assert "not yet tried" in first.render()
    second = fetch(path, out=out, limit=1, config=config)  # a new one before the one that failed
    assert second.verdicts == {"match": 1, "failed": 1}
    server.resources["/a.mp4"].always_status = None
    third = fetch(path, out=out, only="failed", config=config)
    assert (third.worked, third.verdicts, third.pending) == (1, {"match": 2}, 1)
    assert entry_of("a").attempts == 4  # three in the first run
    assert fetch(path, out=out, config=config).verdicts == {"match": 3}


def test_a_file_that_vanished_or_changed_is_fetched_again(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes
) -> None:
    for name in "abc":
        server.add(f"/{name}.mp4", clip, **MP4)
    path = manifest({name: f"/{name}.mp4" for name in "abc"})
    fetch(path, out=out, config=config)
    (out / "a.mp4").unlink()
    (out / "b.mp4").write_bytes(clip[:1000])
    summary = fetch(path, out=out, config=config)
    assert (summary.worked, summary.verdicts) == (2, {"match": 3})
    assert all((out / f"{name}.mp4").read_bytes() == clip for name in "abc")
    assert server.hits("/c.mp4") == 2


def test_malformed_ids_never_touch_the_network(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, entry_of: EntryOf
) -> None:
    summary = fetch(manifest({"look_and_see": None}), out=out, config=config)
    assert (entry_of("look_and_see").state, entry_of("look_and_see").reason) == (
        State.QUARANTINED,
        "malformed-id",
    )
    assert (summary.verdicts, summary.exit_code) == ({"malformed-id": 1}, 0)
    assert fetch(summary.manifest, out=out, config=config).worked == 0
    # An address in the manifest gives it another chance.
    assert fetch(manifest({"look_and_see": "/none.mp4"}), out=out, config=config).verdicts == {"gone": 1}


def test_too_large(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes, entry_of: EntryOf
) -> None:
    server.add("/a.mp4", clip, **MP4)
    path = manifest({"a": "/a.mp4"})
    small = config.model_copy(update={"max_bytes": 50_000})
    assert fetch(path, out=out, config=small).verdicts == {"filtered": 1}
    assert (entry_of("a").state, entry_of("a").reason) == (State.FILTERED, "too-large")
    assert fetch(path, out=out, config=small).worked == 0
    assert fetch(path, out=out, config=config).verdicts == {"match": 1}  # another rule, another try


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes, entry_of: EntryOf
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which only Linux has")
    for name in "abc":
        server.add(f"/{name}.mp4", clip, **MP4)
    path = manifest({name: f"/{name}.mp4" for name in "abc"})
    folder = out / ".partial" / "b"
    folder.mkdir(parents=True)
    (folder / "mp4.mp4.part").symlink_to("/dev/full")
    with pytest.raises(WhimError, match="the disk is full") as stopped:
        fetch(path, out=out, jobs=1, config=config)
    assert stopped.value.code == "disk-full"
    assert entry_of("a").reason == "match"
    assert server.hits("/c.mp4") == 0
    (folder / "mp4.mp4.part").unlink()
    assert fetch(path, out=out, config=config).verdicts == {"match": 3}
    assert server.hits("/a.mp4") == 2


def test_an_output_folder_that_cannot_be(manifest: Manifest, tmp_path: Path, config: FetchConfig) -> None:
    (tmp_path / "file").write_text("in the way")
    path = manifest({"a": "/a.mp4"})
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="choose a folder"):
            fetch(path, out=out, config=config)


def test_json_has_the_same_content(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes
) -> None:
    server.add("/a.mp4", clip, **MP4)
    server.add("/b.mp4", always_status=503)
    report = fetch(manifest({"a": "/a.mp4", "b": "/b.mp4", "c": "/c.mp4"}), out=out, config=config).to_json()
    assert json.loads(json.dumps(report)) == report
    assert report["verdicts"] == {"match": 1, "gone": 1, "failed": 1}
    assert report["states"] == {"done": 1, "empty": 0, "filtered": 0, "failed": 1, "quarantined": 1}
    assert [(item["video_id"], item["reason"], item["attempts"]) for item in report["failed"]] == [
        ("b", "transient", 3)
    ]
