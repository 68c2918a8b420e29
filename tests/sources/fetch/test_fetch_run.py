"""Whole runs through the real yt-dlp (its generic extractor) against a misbehaving server on loopback."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from http_server import LocalServer
from noise_video import encode

from whim.errors import UsageError, WhimError
from whim.shards.ledger import Entry, State
from whim.sources.fetch import item
from whim.sources.fetch.config import FetchConfig
from whim.sources.fetch.errors import FetchError
from whim.sources.fetch.pacing import Pacer
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


@pytest.mark.parametrize(
    ("status", "state", "reason", "requests"),
    [
        (404, State.QUARANTINED, "gone", 1),
        (410, State.QUARANTINED, "gone", 1),
        (401, State.QUARANTINED, "private", 1),
        (451, State.QUARANTINED, "geo", 1),
        (403, State.FAILED, "forbidden", 3),
        (429, State.FAILED, "session-limit", 3),
        (503, State.FAILED, "transient", 3),
    ],
)
def test_status_of_the_probe(
    server: LocalServer,
    manifest: Manifest,
    out: Path,
    config: FetchConfig,
    entry_of: EntryOf,
    status: int,
    state: State,
    reason: str,
    requests: int,
) -> None:
    server.add("/a.mp4", always_status=status)
    summary = fetch(manifest({"a": "/a.mp4"}), out=out, config=config)
    entry = entry_of("a")
    assert (entry.state, entry.reason, entry.attempts) == (state, reason, requests)
    assert str(status) in entry.detail
    assert server.hits("/a.mp4") == requests
    assert summary.exit_code == (state is State.FAILED)
    if state is State.FAILED:
        last = summary.render().splitlines()[-2:]
        assert last[0].startswith(f"  a: {reason}: ")
        assert f"whim fetch {summary.manifest} --only failed" in last[1]
    else:
        assert fetch(summary.manifest, out=out, config=config).worked == 0  # settled


@pytest.mark.parametrize(
    ("kind", "words", "state", "reason"),
    [
        ("GeoRestrictedError", "Not for you", State.QUARANTINED, "geo"),
        (
            "ExtractorError",
            "Private video. Sign in if you've been granted access",
            State.QUARANTINED,
            "private",
        ),
        ("ExtractorError", "Sign in to confirm your age", State.QUARANTINED, "age"),
        ("ExtractorError", "Video unavailable", State.QUARANTINED, "gone"),
        ("ExtractorError", "Sign in to confirm you’re not a bot", State.FAILED, "bot-check"),
        ("ExtractorError", "This content isn't available, try again later", State.FAILED, "session-limit"),
        ("ExtractorError", "Nobody has seen this before", State.FAILED, "unknown"),
    ],
)
def test_what_an_extractor_says(
    manifest: Manifest,
    out: Path,
    config: FetchConfig,
    entry_of: EntryOf,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    words: str,
    state: State,
    reason: str,
) -> None:
    from yt_dlp import utils
    from yt_dlp.extractor.generic import GenericIE

    def refuse(self: object, url: str) -> None:
        raise getattr(utils, kind)(words, **({} if kind == "GeoRestrictedError" else {"expected": True}))

    monkeypatch.setattr(GenericIE, "_real_extract", refuse)
    summary = fetch(manifest({"a": "/a.mp4"}), out=out, config=config)
    assert (entry_of("a").state, entry_of("a").reason) == (state, reason)
    assert words in entry_of("a").detail
    assert bool(summary.stopped) == (reason == "bot-check")


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_bad_moment_on_the_probe_is_retried(
    server: LocalServer,
    manifest: Manifest,
    out: Path,
    config: FetchConfig,
    clip: bytes,
    entry_of: EntryOf,
    status: int,
) -> None:
    server.add("/a.mp4", clip, fail_first=2, status=status, **MP4)
    assert fetch(manifest({"a": "/a.mp4"}), out=out, config=config).verdicts == {"match": 1}
    assert entry_of("a").attempts == 3


def test_a_limit_pauses_everything_for_as_long_as_the_server_says(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes
) -> None:
    server.add("/a.mp4", clip, fail_first=1, status=429, **MP4)
    server.add("/b.mp4", clip, fail_first=1, status=429, headers={"Retry-After": "77"}, **MP4)
    now, waits = [0.0], []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    config = config.model_copy(update={"pause_s": 900.0})
    pacer = Pacer(clock=lambda: now[0], wait=wait)
    summary = fetch(manifest({"a": "/a.mp4", "b": "/b.mp4"}), out=out, jobs=1, config=config, pacer=pacer)
    assert summary.verdicts == {"match": 2}
    assert waits == [900.0, 77.0]


@pytest.mark.parametrize("ignore_range", [False, True])
def test_a_connection_cut_midway(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes, ignore_range: bool
) -> None:
    # The probe reads a little and hangs up: it uses up the first cut.
    server.add("/a.mp4", clip, drop_after=100_000, drop_times=2, ignore_range=ignore_range, **MP4)
    assert fetch(manifest({"a": "/a.mp4"}), out=out, config=config).verdicts == {"match": 1}
    assert (out / "a.mp4").read_bytes() == clip
    resumed_at = server.requests[-1][2]
    assert resumed_at
    assert 0 < int(resumed_at.removeprefix("bytes=").removesuffix("-")) <= 100_000


def partial(out: Path, key: str, content: bytes) -> Path:
    path = out / ".partial" / key / "mp4.mp4.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("ignore_range", [False, True])
def test_a_part_of_an_earlier_run_is_continued(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes, ignore_range: bool
) -> None:
    server.add("/a.mp4", clip, ignore_range=ignore_range, **MP4)
    partial(out, "a", clip[:70_000])
    assert fetch(manifest({"a": "/a.mp4"}), out=out, config=config).verdicts == {"match": 1}
    assert (out / "a.mp4").read_bytes() == clip
    assert [span for _, _, span in server.requests] == [None, "bytes=70000-"]


@pytest.mark.parametrize("poison", [(0, 70_000), (30_000, 70_000)], ids=["head", "middle"])
def test_a_poisoned_part_is_found_out(
    server: LocalServer,
    manifest: Manifest,
    out: Path,
    config: FetchConfig,
    clip: bytes,
    entry_of: EntryOf,
    poison: tuple[int, int],
) -> None:
    server.add("/a.mp4", clip, **MP4)
    start, end = poison
    partial(out, "a", clip[:start] + bytes(end - start))
    assert fetch(manifest({"a": "/a.mp4"}), out=out, config=config).verdicts == {"match": 1}
    assert (out / "a.mp4").read_bytes() == clip
    assert entry_of("a").attempts == 2


def test_files_that_are_no_videos(
    server: LocalServer,
    manifest: Manifest,
    out: Path,
    config: FetchConfig,
    clip: bytes,
    sound: bytes,
    entry_of: EntryOf,
) -> None:
    server.add("/zero.mp4", b"", **MP4)
    server.add("/sound.mp4", sound, **MP4)
    server.add("/cut.mp4", clip[:60_000], **MP4)
    server.add("/page.mp4", b"<html><body>Please log in</body></html>", content_type="text/html")
    paths = {name: f"/{name}.mp4" for name in ("zero", "sound", "cut", "page")}
    summary = fetch(manifest(paths), out=out, config=config)
    assert (summary.verdicts, summary.exit_code) == ({"failed": 4}, 1)
    found = {key: (entry_of(key).reason, entry_of(key).attempts) for key in paths}
    assert found == {
        "zero": ("bad-file", 2),
        "sound": ("bad-file", 2),
        "cut": ("bad-file", 2),
        "page": ("not-a-video", 1),
    }
    assert "no-video-stream" in entry_of("sound").detail
    assert sorted(path.name for path in out.iterdir()) == [".partial", "ledger.jsonl"]


def test_nobody_listens(
    manifest: Manifest, out: Path, config: FetchConfig, tmp_path: Path, entry_of: EntryOf
) -> None:
    path = tmp_path / "dead.csv"
    path.write_text("video_id,split,url,height,width,frames,fps\na,,http://127.0.0.1:1/a.mp4,,,,\n")
    fetch(path, out=out, config=config)
    assert (entry_of("a").reason, entry_of("a").attempts) == ("transient", 3)


@pytest.mark.parametrize(
    ("expected", "chosen"),
    [((180, 320), (320, 180)), ((270, 480), (480, 270)), ((90, 160), (160, 90)), ((200, 356), (320, 180))],
)
def test_the_stream_of_the_manifests_height(
    server: LocalServer,
    manifest: Manifest,
    out: Path,
    config: FetchConfig,
    ladder: None,
    entry_of: EntryOf,
    expected: tuple[int, int],
    chosen: tuple[int, int],
) -> None:
    height, width = expected
    summary = fetch(
        manifest({"a": "/wide.m3u8"}, height=height, width=width, frames=26), out=out, config=config
    )
    facts = entry_of("a").data["facts"]
    assert (facts["width"], facts["height"]) == chosen
    assert summary.verdicts == ({"match": 1} if chosen == (width, height) else {"drifted": 1})


def test_the_stream_of_a_portrait_video(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, ladder: None, entry_of: EntryOf
) -> None:
    fetch(manifest({"a": "/tall.m3u8"}, height=320, width=180, frames=26), out=out, config=config)
    assert (entry_of("a").reason, entry_of("a").detail) == ("match", "")
    assert entry_of("a").data["facts"]["height"] == 320


def test_a_live_stream_is_left_for_later(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, ladder: None, entry_of: EntryOf
) -> None:
    playlist = server.resources["/320x180.m3u8"]
    playlist.body = playlist.body.replace(b"#EXT-X-ENDLIST", b"")
    fetch(manifest({"a": "/320x180.m3u8"}), out=out, config=config)
    assert (entry_of("a").state, entry_of("a").reason) == (State.FAILED, "live")


def test_a_fragment_that_comes_at_last(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, ladder: None, entry_of: EntryOf
) -> None:
    fragment = server.resources["/320x180.ts"]
    fragment.fail_first, fragment.status = 2, 503
    fetch(manifest({"a": "/320x180.m3u8"}, height=180, width=320, frames=26), out=out, config=config)
    assert (entry_of("a").reason, entry_of("a").attempts) == ("match", 1)


def test_a_fragment_that_never_comes_leaves_no_hole(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, ladder: None, entry_of: EntryOf
) -> None:
    playlist = server.resources["/320x180.m3u8"]
    playlist.body = playlist.body.replace(b"#EXT-X-ENDLIST", b"#EXTINF:1.04,\nnone.ts\n#EXT-X-ENDLIST")
    fetch(manifest({"a": "/320x180.m3u8"}), out=out, config=config)
    assert (entry_of("a").state, entry_of("a").reason) == (State.FAILED, "transient")
    assert sorted(path.name for path in out.iterdir()) == [".partial", "ledger.jsonl"]


@pytest.mark.parametrize(
    ("limits", "detail"),
    [({"socket_timeout_s": 0.2}, "timed out"), ({"attempt_s": 0.2}, "not complete after 0 s (attempt_s)")],
    ids=["silence", "trickle"],
)
def test_every_attempt_ends(
    server: LocalServer,
    manifest: Manifest,
    out: Path,
    config: FetchConfig,
    clip: bytes,
    entry_of: EntryOf,
    limits: dict[str, float],
    detail: str,
) -> None:
    server.add("/a.mp4", clip, delay=30 if "socket_timeout_s" in limits else 0.05, **MP4)
    fetch(manifest({"a": "/a.mp4"}), out=out, config=config.model_copy(update={"retries": 0, **limits}))
    entry = entry_of("a")
    assert (entry.state, entry.reason) == (State.FAILED, "transient")
    assert detail in entry.detail
    server.resources["/a.mp4"].delay = 0
    assert fetch(manifest({"a": "/a.mp4"}), out=out, config=config).verdicts == {"match": 1}
    assert server.requests[-1][2]  # went on where it stopped


def test_the_command_line_starts_without_yt_dlp() -> None:
    code = "import sys, whim.sources.fetch.run; print('yt_dlp' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


@pytest.fixture
def ladder(server: LocalServer, rungs: dict[tuple[int, int], bytes]) -> None:
    """HLS master playlists ``/wide.m3u8`` and ``/tall.m3u8`` with three sizes each."""
    masters = {"wide": ["#EXTM3U"], "tall": ["#EXTM3U"]}
    for (width, height), body in rungs.items():
        name = f"{width}x{height}"
        server.add(f"/{name}.ts", body, content_type="video/mp2t")
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.04,\n{name}.ts\n#EXT-X-ENDLIST\n"
        server.add(f"/{name}.m3u8", text.encode(), content_type="application/vnd.apple.mpegurl")
        master = masters["wide" if width > height else "tall"]
        master += [f"#EXT-X-STREAM-INF:BANDWIDTH={width * height * 20},RESOLUTION={name}", f"{name}.m3u8"]
    for kind, lines in masters.items():
        server.add(
            f"/{kind}.m3u8", "\n".join([*lines, ""]).encode(), content_type="application/vnd.apple.mpegurl"
        )


@pytest.fixture(scope="session")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], bytes]:
    folder = tmp_path_factory.mktemp("rungs")
    wide = [(160, 90), (320, 180), (480, 270)]
    return {
        size: encode(folder / f"{size[0]}x{size[1]}.ts", size=size, frames=26)
        for size in [*wide, *((height, width) for width, height in wide)]
    }


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


def test_a_bot_check_stops_the_run(
    server: LocalServer,
    manifest: Manifest,
    out: Path,
    config: FetchConfig,
    clip: bytes,
    entry_of: EntryOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = item.download

    def download(entry, folder, **rest):  # type: ignore[no-untyped-def]
        if entry.video_id == "b":
            raise FetchError("bot-check", "Sign in to confirm you’re not a bot")
        return real(entry, folder, **rest)

    monkeypatch.setattr(item, "download", download)
    for name in "acd":
        server.add(f"/{name}.mp4", clip, **MP4)
    path = manifest({name: f"/{name}.mp4" for name in "abcd"})
    summary = fetch(path, out=out, jobs=1, config=config)
    assert (summary.verdicts, summary.pending, summary.exit_code) == ({"match": 1, "bot-check": 1}, 2, 1)
    assert (entry_of("b").state, entry_of("b").reason) == (State.FAILED, "bot-check")
    assert "--cookies FILE" in summary.render().splitlines()[-1]
    assert server.hits("/c.mp4") == 0


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


def test_cookies_are_sent_and_never_kept(
    server: LocalServer,
    manifest: Manifest,
    out: Path,
    config: FetchConfig,
    clip: bytes,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.add("/a.mp4", clip, **MP4)
    server.add("/b.mp4", always_status=403)
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\thunter2\n")
    before = cookies.read_bytes()
    summary = fetch(
        manifest({"a": "/a.mp4", "b": "/b.mp4"}),
        out=out,
        config=config.model_copy(update={"cookies": cookies}),
    )
    assert summary.verdicts == {"match": 1, "failed": 1}
    assert "session=hunter2" in [headers.get("Cookie") for headers in server.headers]
    said = capfd.readouterr()
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert cookies.read_bytes() == before
    for text in (
        said.out,
        said.err,
        summary.render(),
        json.dumps(summary.to_json()),
        written.decode("latin-1"),
    ):
        assert "hunter2" not in text


def test_a_bad_cookies_file_is_not_quoted(
    manifest: Manifest, out: Path, config: FetchConfig, tmp_path: Path
) -> None:
    path = manifest({"a": "/a.mp4"})
    cookies = tmp_path / "cookies.txt"
    for content, what in (("{'session': 'hunter2'}\n", "Netscape"), (None, "No such file")):
        if content is None:
            cookies.unlink()
        else:
            cookies.write_text(content)
        with pytest.raises(UsageError, match=what) as refused:
            fetch(path, out=out, config=config.model_copy(update={"cookies": cookies}))
        assert "hunter2" not in str(refused.value)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__
    assert not out.exists()


def test_account_only_with_cookies(
    server: LocalServer, manifest: Manifest, out: Path, config: FetchConfig, clip: bytes, tmp_path: Path
) -> None:
    server.add("/a.mp4", clip, fail_first=1, status=401, **MP4)
    path = manifest({"a": "/a.mp4"})
    assert fetch(path, out=out, config=config).verdicts == {"private": 1}
    assert fetch(path, out=out, only="failed", config=config).worked == 0
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n")
    with_cookies = config.model_copy(update={"cookies": cookies})
    assert fetch(path, out=out, only="failed", config=with_cookies).verdicts == {"match": 1}


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
