"""One attempt to download one video. The only file that knows yt-dlp."""

from __future__ import annotations

import errno
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from whim.errors import UsageError, require
from whim.sources.fetch.config import FetchConfig
from whim.sources.fetch.errors import Evidence, FetchError, classify, plain_text
from whim.sources.fetch.pacing import Cancelled, Pacer, backoff
from whim.sources.manifest import ManifestEntry


class TooLargeError(Exception):
    """The video is larger than ``max_bytes`` of the configuration."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """A finished download, not yet checked."""

    path: Path
    format_id: str
    resumed: bool
    """An earlier attempt had left part of it."""


def yt_dlp_version() -> str:
    """Version of the installed yt-dlp; records carry it.

    Raises:
        MissingExtraError: it is not installed.
    """
    return str(require("yt_dlp.version", extra="fetch").__version__)


def read_cookies(path: Path) -> str:
    """Content of a Netscape cookies file, checked.

    Raises:
        UsageError: it cannot be read or is of another kind. The message never quotes the file.
    """
    jar = require("yt_dlp.cookies", extra="fetch").YoutubeDLCookieJar
    try:
        text = path.read_text(encoding="utf-8")
        jar(io.StringIO(text)).load()
    except OSError as error:
        # http.cookiejar.LoadError is an OSError and quotes the offending line: no text, no chain.
        what = error.strerror or "not a Netscape cookies file (tab-separated, as browser add-ons export it)"
        raise UsageError(f"cookies {path}: {what}") from None
    except UnicodeDecodeError:
        raise UsageError(f"cookies {path}: not a text file") from None
    return text


def download(
    entry: ManifestEntry,
    folder: Path,
    *,
    config: FetchConfig,
    pacer: Pacer,
    cookies: str | None,
    chance: Callable[[], float],
) -> Download:
    """Download ``entry`` into ``folder``, going on where an earlier attempt stopped.

    Raises:
        FetchError: it did not work, with the reason.
        TooLargeError: it is larger than the configuration allows.
        Cancelled: the run is being stopped.
    """
    yt_dlp = require("yt_dlp", extra="fetch")
    address = entry.page
    if address is None:
        raise FetchError("unknown", "no address to fetch from")
    folder.mkdir(parents=True, exist_ok=True)
    resumed = any(folder.iterdir())
    watch = _Watch(yt_dlp, config, pacer)

    def nap(n: int) -> float:
        # yt-dlp would sleep in a way that nothing can interrupt, so the pacer sleeps and yt-dlp gets a zero.
        try:
            pacer.sleep(backoff(n, base_s=config.backoff_s, longest_s=config.backoff_max_s, chance=chance()))
        except Cancelled as error:
            raise yt_dlp.utils.DownloadCancelled from error
        return 0.0

    options = _options(entry, folder, config=config, cookies=cookies, watch=watch, nap=nap)
    try:
        with yt_dlp.YoutubeDL(options) as session:
            info = session.extract_info(address)
    except yt_dlp.utils.DownloadCancelled:
        pacer.check()
        raise (watch.verdict or FetchError("unknown", "yt-dlp cancelled the download")) from None
    except (yt_dlp.utils.YoutubeDLError, OSError) as error:
        raise _explain(error, watch.warnings) from error
    if watch.verdict:
        raise watch.verdict
    done: dict[str, Any] = next(iter((info or {}).get("requested_downloads") or []), {})
    if "filepath" not in done:
        if config.max_bytes is not None:
            raise TooLargeError
        raise FetchError("unknown", "yt-dlp ended without a file and without an error")
    return Download(path=Path(done["filepath"]), format_id=str(done.get("format_id") or ""), resumed=resumed)


class _Watch:
    """What yt-dlp calls back: its logger, its filter, its progress hook."""

    def __init__(self, yt_dlp: Any, config: FetchConfig, pacer: Pacer) -> None:
        self._cancelled: type[Exception] = yt_dlp.utils.DownloadCancelled
        self._config = config
        self._pacer = pacer
        self._deadline = time.monotonic() + config.attempt_s
        self.verdict: FetchError | TooLargeError | None = None
        self.warnings: list[str] = []

    def debug(self, text: str) -> None:
        """Screen output: dropped."""

    def warning(self, text: str) -> None:
        """Kept, because it often names the cause of the error that follows."""
        self.warnings.append(plain_text(text))

    def error(self, text: str) -> None:
        """The same text comes as an exception."""

    def filter(self, info: dict[str, Any], *, incomplete: bool = False) -> str | None:
        """yt-dlp's match filter: a text rejects."""
        if (info.get("n_entries") or 1) > 1:
            self.verdict = FetchError("not-a-video", "the page holds several videos; give the address of one")
        elif info.get("is_live"):
            self.verdict = FetchError("live", "still on air; the next run tries again")
        return None if self.verdict is None else str(self.verdict)

    def progress(self, status: dict[str, Any]) -> None:
        """Called for every block: the place to stop from."""
        if self._pacer.stop.is_set():
            raise self._cancelled
        if time.monotonic() > self._deadline:
            self.verdict = FetchError(
                "transient", f"not complete after {self._config.attempt_s:.0f} s (attempt_s)"
            )
            raise self._cancelled
        if (
            self._config.max_bytes is not None
            and (status.get("downloaded_bytes") or 0) > self._config.max_bytes
        ):
            self.verdict = TooLargeError()
            raise self._cancelled


def _options(
    entry: ManifestEntry,
    folder: Path,
    *,
    config: FetchConfig,
    cookies: str | None,
    watch: _Watch,
    nap: Callable[[int], float],
) -> dict[str, Any]:
    options: dict[str, Any] = {
        # The picture stream alone where there is one: no audio, so nothing to merge and no ffmpeg needed.
        "format": "bv*/b",
        "format_sort": _preference(entry),
        # One name per format: a .part of one format is never continued with another.
        "outtmpl": _literal(folder) + "/%(format_id)s.%(ext)s",
        "continuedl": True,
        "noplaylist": True,
        "cachedir": False,
        "fixup": "never",  # would depend on whether ffmpeg happens to be installed
        "updatetime": False,
        "quiet": True,
        "noprogress": True,
        "no_color": True,
        "logger": watch,
        "progress_hooks": [watch.progress],
        "match_filter": watch.filter,
        "socket_timeout": config.socket_timeout_s,
        "retries": config.retries,
        "fragment_retries": config.retries,
        "extractor_retries": config.retries,
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor", "file_access"), nap),
        "skip_unavailable_fragments": False,  # a hole in the video would shift every frame after it
        "sleep_interval_requests": config.sleep_requests_s,
        "extractor_args": config.extractor_args,
    }
    if config.max_bytes is not None:
        options["max_filesize"] = config.max_bytes
    if cookies is not None:
        # yt-dlp writes back: into this copy in memory, never into the user's file.
        options["cookiefile"] = io.StringIO(cookies)
    if _is_loopback(entry.page or ""):
        options["proxy"] = ""  # a proxy from the environment cannot reach this machine's own server
    return options


def _preference(entry: ManifestEntry) -> list[str]:
    """yt-dlp's sort: the manifest's size first, then its rate, then the codec every decoder reads."""
    order = []
    if entry.height:
        # YouTube and yt-dlp label a portrait video by its shorter side.
        order.append(f"res:{min(entry.height, entry.width or entry.height)}")
    if entry.fps:
        order.append(f"fps~{entry.fps:.3f}")
    return [*order, "vcodec:h264"]


def _literal(folder: Path) -> str:
    """``folder`` in an output template, where ``%`` starts a field and ``$`` an environment variable.

    A dollar becomes the default value of a field that never exists, because yt-dlp expands ``$HOME`` even in
    ``$$HOME``.
    """
    return str(folder.absolute()).replace("%", "%%").replace("$", "%(nothing|$)s")


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _explain(error: BaseException, warnings: list[str]) -> FetchError:
    """yt-dlp's exception as a reason and a readable detail."""
    chain = list(_chain(error))
    kinds = frozenset(kind.__name__ for link in chain for kind in type(link).__mro__)
    http = next(
        (link for link in chain if type(link).__name__ == "HTTPError" and hasattr(link, "status")), None
    )
    full = any(isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT) for link in chain)
    text = next((str(link) for link in chain if str(link)), type(error).__name__)
    evidence = Evidence(
        kinds=kinds,
        status=getattr(http, "status", None),
        text=f"{text} No space left on device" if full else text,
        direct=any(str(getattr(link, "ie", "")).lower() == "generic" for link in chain),
    )
    reason = classify(evidence)
    detail = plain_text(text)
    if reason in ("unknown", "no-format") and warnings:
        detail += f" (yt-dlp warned: {warnings[0]})"
    return FetchError(reason, detail, retry_after_s=_retry_after(http))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and everything it came from, each once, nearest first."""
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        link = queue.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        info = getattr(link, "exc_info", None) or (None, None, None)
        queue += [info[1], getattr(link, "cause", None), link.__cause__, link.__context__]


def _retry_after(http: Any) -> float | None:
    """Seconds of a Retry-After header, at most an hour; dates are not honoured."""
    headers = getattr(getattr(http, "response", None), "headers", None) or {}
    text = str(headers.get("Retry-After") or "")
    return min(float(text), 3600.0) if text.isdigit() else None
