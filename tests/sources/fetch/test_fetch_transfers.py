"""The bytes of a video: cuts, parts of earlier runs, files that are no videos, HLS streams, time limits."""

from collections.abc import Callable
from pathlib import Path

import pytest
from http_server import LocalServer
from noise_video import encode

from whim.shards.ledger import Entry, State
from whim.sources.fetch.config import FetchConfig
from whim.sources.fetch.run import fetch

MP4 = {"content_type": "video/mp4"}
Manifest = Callable[..., Path]
EntryOf = Callable[[str], Entry]


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


@pytest.fixture(scope="session")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], bytes]:
    folder = tmp_path_factory.mktemp("rungs")
    wide = [(160, 90), (320, 180), (480, 270)]
    return {
        size: encode(folder / f"{size[0]}x{size[1]}.ts", size=size, frames=26)
        for size in [*wide, *((height, width) for width, height in wide)]
    }


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
