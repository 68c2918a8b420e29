"""What went wrong with a download, and what to do about it: one table of patterns.

Most causes reach us as one exception class with only words to tell them apart, so the table is tested row by
row. yt-dlp itself is not imported here: ``download.py`` turns its exceptions into :class:`Evidence`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import parse_qs, urlsplit


class Action(Enum):
    """What a fetch does next."""

    GIVE_UP = auto()
    """Quarantine: retrying as things stand is useless."""
    RETRY = auto()
    """Again after a back-off; ``failed`` when the retries are used up."""
    RESTART = auto()
    """Delete what was downloaded and try once more from the first byte."""
    PAUSE = auto()
    """Pause all jobs, then again."""
    FAIL = auto()
    """``failed`` at once; the next run tries again."""
    STOP = auto()
    """End the run: every further request would meet the same wall."""


ACTIONS: dict[str, Action] = {
    "gone": Action.GIVE_UP,
    "private": Action.GIVE_UP,
    "age": Action.GIVE_UP,
    "geo": Action.GIVE_UP,
    "bot-check": Action.STOP,
    "disk-full": Action.STOP,
    "session-limit": Action.PAUSE,
    "transient": Action.RETRY,
    "forbidden": Action.RETRY,
    "bad-file": Action.RESTART,
    "live": Action.FAIL,
    "no-format": Action.FAIL,
    "not-a-video": Action.FAIL,
    "unknown": Action.FAIL,
}
"""Reason code -> action."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of an error: names of the exception classes in its chain, HTTP status, words."""

    kinds: frozenset[str] = frozenset()
    status: int | None = None
    text: str = ""
    direct: bool = False
    """The failing request was for the address in the manifest itself, so a 404 is about the video. On a
    platform's page it may be about any of the inner requests, and only the words say that a video is gone."""


class FetchError(Exception):
    """One attempt that did not bring a video."""

    def __init__(self, reason: str, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s
        """What the server asks for, in seconds."""

    @property
    def action(self) -> Action:
        """What to do about it."""
        return ACTIONS[self.reason]


_KINDS: tuple[tuple[str, str], ...] = (
    ("GeoRestrictedError", "geo"),
    ("UnsupportedError", "not-a-video"),
)

# The order matters: "This content isn't available, try again later" is a limit, not a missing video, and
# "Private video. Sign in if ..." is private before it is anything else.
_WORDS: tuple[tuple[str, str], ...] = (
    ("disk-full", r"no space left on device|disk quota exceeded"),
    ("bot-check", r"not a bot|\bcaptcha\b"),
    (
        "session-limit",
        r"rate-limited by youtube|isn.t available, try again later|too many requests|http error 429",
    ),
    ("age", r"confirm your age|age-restricted|inappropriate for some users"),
    (
        "private",
        r"private video|video is private|members-only|members only|available to this channel.s members"
        r"|join this channel|requires payment|only available for registered users|login required|log in to",
    ),
    ("geo", r"in your country|in your region|from your location|geo.?restrict"),
    ("no-format", r"requested format is not available|only images are available|no video formats found"),
    (
        "gone",
        r"video unavailable|video is unavailable|no longer available|has been removed|been terminated"
        r"|is not available|isn.t available|does not exist|incomplete youtube id|copyright",
    ),
    ("not-a-video", r"unsupported url|no video could be found|several videos"),
    ("bad-file", r"did not get any data blocks|downloaded file is empty"),
    ("forbidden", r"http error 403"),
    (
        "transient",
        r"http error (?:404|408|410|416|425|5\d\d)|timed out|content too short|incomplete ?read|more expected"
        r"|connection (?:reset|refused|aborted)|failed to extract any player response"
        r"|page needs to be reloaded|unable to download",
    ),
)
_COMPILED = tuple((reason, re.compile(words, re.IGNORECASE)) for reason, words in _WORDS)

_NETWORK = frozenset(
    {"TransportError", "IncompleteRead", "ContentTooShortError", "TimeoutError", "ConnectionError"}
)


def classify(evidence: Evidence) -> str:
    """Reason code of an error: class and status first, then words, then ``unknown``."""
    for kind, reason in _KINDS:
        if kind in evidence.kinds:
            return reason
    if evidence.direct and (reason := _by_status(evidence.status)):
        return reason
    for reason, words in _COMPILED:
        if words.search(evidence.text):
            return reason
    if evidence.kinds & _NETWORK or evidence.status is not None:
        return "transient"
    return "unknown"


def _by_status(status: int | None) -> str:
    if status is None:
        return ""
    known = {401: "private", 403: "forbidden", 404: "gone", 410: "gone", 429: "session-limit", 451: "geo"}
    if status in known:
        return known[status]
    return "transient" if status in (408, 425) or status >= 500 else "unknown"


def public_url(url: str) -> str:
    """``url`` without anything that may be a credential: no user, password, query or fragment.

    The query of a YouTube page is kept as far as it names the video.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    youtube = host == "youtube.com" or host.endswith(".youtube.com")
    video = parse_qs(parts.query).get("v", [""])[0] if youtube else ""
    return f"{parts.scheme}://{host}{port}{parts.path}{f'?v={video}' if video else ''}"


def plain_text(text: str) -> str:
    """An error message of yt-dlp without the id, advice about its own flags, and URLs' secrets."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"^(?:ERROR: )?(?:\[[^\]]+\] (?:\S+: )?)?", "", text.strip())
    text = re.split(
        r"; please report this issue on|\s*\(caused by |\.? Use --cookies|\.? It is recommended to", text
    )[0]
    text = re.sub(r"https?://[^\s'\"<>]+", lambda found: _public_or_blank(found.group()), text)
    return " ".join(text.split())[:300]


def _public_or_blank(url: str) -> str:
    try:
        return public_url(url)
    except ValueError:
        return "(address)"
