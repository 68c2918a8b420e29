"""What servers and extractors refuse, and how: status codes, words, limits, bot checks, cookies."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from http_server import LocalServer

from whim.errors import UsageError
from whim.shards.ledger import Entry, State
from whim.sources.fetch import item
from whim.sources.fetch.config import FetchConfig
from whim.sources.fetch.errors import FetchError
from whim.sources.fetch.pacing import Pacer
from whim.sources.fetch.run import fetch

MP4 = {"content_type": "video/mp4"}
Manifest = Callable[..., Path]
EntryOf = Callable[[str], Entry]


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
