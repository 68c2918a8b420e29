"""Settings of ``whim fetch``; each can be changed with ``--set``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from whim.config import Config


class FetchConfig(Config):
    """How patiently, how politely and as whom to download."""

    retries: int = Field(default=4, ge=0)
    """Further attempts after one that may be luck: time-outs, 5xx, cut connections, session limits."""
    backoff_s: float = Field(default=2.0, ge=0)
    """Wait before the first further attempt; doubles with each, and half of it is random."""
    backoff_max_s: float = Field(default=60.0, ge=0)
    """Longest wait before a further attempt."""
    pause_s: float = Field(default=900.0, ge=0)
    """Pause of all jobs after a 429 or a session limit, unless the server names a time.

    YouTube's limit lasts up to an hour: the four pauses that ``retries`` allows cover it."""
    sleep_s: float = Field(default=12.0, ge=0)
    """Least time between the starts of two videos, over all jobs. YouTube lets a guest take about 300 an
    hour; 0 for a server of your own."""
    sleep_requests_s: float = Field(default=0.75, ge=0)
    """Pause between the page requests of one video."""
    socket_timeout_s: float = Field(default=30.0, gt=0)
    """Longest silence of a connection."""
    attempt_s: float = Field(default=7200.0, gt=0)
    """Longest download of one attempt; the next one goes on where it stopped."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Larger videos are left out (state ``filtered``)."""
    cookies: Path | None = None
    """Netscape cookies file. Read once, never written, logged or recorded."""
    extractor_args: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    """Passed to yt-dlp, for example ``{youtube: {player_client: [web]}}``."""
