"""The pattern table, row by row, with the words that sites and yt-dlp really use."""

import pytest

from whim.sources.fetch.errors import ACTIONS, Action, Evidence, FetchError, classify, plain_text, public_url

HINT = (
    ". Use --cookies-from-browser or --cookies for the authentication. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ"
    "  for how to manually pass cookies"
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[youtube] x: Video unavailable. This video has been removed by the uploader", "gone"),
        ("[youtube] x: This video is not there: the account has been terminated.", "gone"),
        (
            "[youtube] x: Video unavailable. Removed due to a copyright claim",
            "gone",
        ),
        ("[youtube] x: Video unavailable. This video is not available", "gone"),
        ("[youtube] x: This video isn't available anymore", "gone"),
        ("[youtube] x: Private video. Sign in if you've been granted access to this video" + HINT, "private"),
        ("[youtube] x: This video is private", "private"),
        ("[youtube] x: Join this channel to get access to members-only content", "private"),
        (
            "[youtube] x: This video is available to this channel's members on level: A",
            "private",
        ),
        ("[vimeo] 1: This video is only available for registered users", "private"),
        (
            "[youtube] x: Sign in to confirm your age. This video may be inappropriate for some users" + HINT,
            "age",
        ),
        ("[youtube] x: Sorry, this content is age-restricted", "age"),
        ("[youtube] x: Sign in to confirm you’re not a bot" + HINT, "bot-check"),
        ("[youtube] x: Sign in to confirm you're not a bot" + HINT, "bot-check"),
        ("[youtube] x: Oops. YouTube is requiring a captcha challenge before playback", "bot-check"),
        (
            "[youtube] x: Video unavailable. This content isn't available, try again later. The current "
            "session has been rate-limited by YouTube for up to an hour. It is recommended to use `-t sleep`",
            "session-limit",
        ),
        ("[youtube] x: This content isn’t available, try again later", "session-limit"),
        ("unable to download video data: HTTP Error 429: Too Many Requests", "session-limit"),
        ("[youtube] x: The uploader has not made this video available in your country", "geo"),
        (
            "[youtube] x: Content from Z, who has blocked it in your country",
            "geo",
        ),
        ("[youtube] x: Requested format is not available. Use --list-formats for a list", "no-format"),
        ("[youtube] x: Only images are available for download", "no-format"),
        ("[generic] Unsupported URL: http://h/page", "not-a-video"),
        ("unable to download video data: HTTP Error 403: Forbidden", "forbidden"),
        ("unable to download video data: HTTP Error 404: Not Found", "transient"),
        ("unable to download video data: HTTP Error 503: Service Unavailable", "transient"),
        ("content too short (expected 100 bytes and served 10)", "transient"),
        ("[youtube] x: Failed to extract any player response", "transient"),
        ("[youtube] x: The page needs to be reloaded", "transient"),
        ("Read timed out.", "transient"),
        ("Did not get any data blocks", "bad-file"),
        ("unable to write data: [Errno 28] No space left on device", "disk-full"),
        ("[Errno 122] Disk quota exceeded", "disk-full"),
        ("something that nobody has seen before", "unknown"),
        ("", "unknown"),
    ],
)
def test_words(text: str, reason: str) -> None:
    assert classify(Evidence(text=text)) == reason


@pytest.mark.parametrize(
    ("status", "direct", "reason"),
    [
        (404, True, "gone"),
        (410, True, "gone"),
        (401, True, "private"),
        (451, True, "geo"),
        (403, True, "forbidden"),
        (429, True, "session-limit"),
        (408, True, "transient"),
        (500, True, "transient"),
        (400, True, "unknown"),
        # On a platform an inner request may fail with any status: that never settles a video's case.
        (404, False, "transient"),
        (410, False, "transient"),
        (451, False, "transient"),
        (429, False, "session-limit"),
        (403, False, "forbidden"),
    ],
)
def test_status(status: int, direct: bool, reason: str) -> None:
    evidence = Evidence(
        status=status, direct=direct, text=f"[x] y: Unable to download webpage: HTTP Error {status}: Words"
    )
    assert classify(evidence) == reason


def test_the_class_comes_before_the_words() -> None:
    kinds = frozenset({"GeoRestrictedError", "ExtractorError", "Exception"})
    assert classify(Evidence(kinds=kinds, text="This video is not available")) == "geo"
    assert (
        classify(Evidence(kinds=frozenset({"IncompleteRead", "TransportError"}), text="odd words"))
        == "transient"
    )


def test_every_reason_has_an_action() -> None:
    assert {reason for reason, action in ACTIONS.items() if action is Action.STOP} == {
        "bot-check",
        "disk-full",
    }
    assert {reason for reason, action in ACTIONS.items() if action is Action.GIVE_UP} == {
        "gone",
        "private",
        "age",
        "geo",
    }
    assert FetchError("transient", "x").action is Action.RETRY


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:hunter2@host.org:8443/a/b.mp4?token=hunter2#hunter2", "https://host.org:8443/a/b.mp4"),
        ("https://www.youtube.com/watch?v=abc&t=3&pp=hunter2", "https://www.youtube.com/watch?v=abc"),
        ("https://notyoutube.com/watch?v=hunter2", "https://notyoutube.com/watch"),
    ],
)
def test_addresses_lose_their_secrets(url: str, shown: str) -> None:
    assert public_url(url) == shown
    assert plain_text(f"ERROR: [generic] b: failed at {url} (caused by <X>)") == f"failed at {shown}"


def test_messages_lose_yt_dlp_advice() -> None:
    assert plain_text("\x1b[0;31mERROR:\x1b[0m [youtube] x: Private video. Sign in if you may" + HINT) == (
        "Private video. Sign in if you may"
    )
    assert plain_text("a; please report this issue on  https://h/x , filling out") == "a"
