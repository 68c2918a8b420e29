"""``whim fetch``: which videos need work, several at a time, every result on record before the next."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal

from whim.errors import UsageError, WhimError
from whim.progress import Progress
from whim.shards.ledger import Entry, Ledger, State, open_ledger
from whim.sources.fetch.config import FetchConfig
from whim.sources.fetch.download import read_cookies, yt_dlp_version
from whim.sources.fetch.errors import public_url
from whim.sources.fetch.item import Fetcher
from whim.sources.fetch.pacing import Cancelled, Pacer
from whim.sources.fetch.summary import FetchSummary
from whim.sources.fetch.verdict import done_entry, verdict_of
from whim.sources.manifest import ManifestEntry, read_manifest

GRACE_S = 3.0
"""How long a stopped run waits for each job. One that hangs in a read ends with the process."""


def fetch(
    manifest: Path,
    *,
    out: Path,
    jobs: int = 2,
    limit: int | None = None,
    only: Literal["failed"] | None = None,
    config: FetchConfig,
    pacer: Pacer | None = None,
) -> FetchSummary:
    """Download the videos of ``manifest`` into ``out/<video_id>.<ext>`` and record a verdict on each.

    Videos that are in place are left alone, and so are those whose case is settled (gone, blocked). New ones
    come before those that failed; ``only="failed"`` takes the failed ones alone, and with cookies also those
    that need an account. ``limit`` counts videos that need work. ``pacer`` is replaced in tests.

    Raises:
        UsageError: manifest, cookies file or output folder not usable, or yt-dlp missing.
        WhimError: ``disk-full``, or another run is writing there. What was finished is kept.
        KeyboardInterrupt: passed on once the ledger is up to date.
    """
    entries = read_manifest(manifest)
    pacer = pacer or Pacer(spacing_s=config.sleep_s)
    fetcher = Fetcher(
        out=out,
        config=config,
        pacer=pacer,
        yt_dlp=yt_dlp_version(),
        cookies=read_cookies(config.cookies) if config.cookies else None,
    )
    try:
        with open_ledger(out, "fetch") as ledger:
            for entry in entries:
                if (fresh := _renewed(entry, ledger.get(entry.video_id))) is not None:
                    ledger.record(fresh)
            todo = plan(entries, ledger.get, out, only=only, config=config)[:limit]
            stopped = _run(todo, ledger, fetcher, jobs)
            known = [found for entry in entries if (found := ledger.get(entry.video_id))]
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(out) from error
        if error.filename is not None and Path(error.filename) in (out, *out.parents, out / "ledger.jsonl"):
            raise UsageError(f"--out {out}: {error.strerror}; choose a folder that can be written") from error
        raise
    return FetchSummary(
        manifest=manifest, out=out, total=len(entries), entries=known, worked=len(todo), stopped=stopped
    )


def plan(
    entries: Iterable[ManifestEntry],
    previous: Callable[[str], Entry | None],
    out: Path,
    *,
    only: Literal["failed"] | None,
    config: FetchConfig,
) -> list[ManifestEntry]:
    """The entries that need work. New ones first: ``--limit`` must not starve them behind stubborn ones."""
    needs = [(entry, _need(entry, previous(entry.video_id), out, config)) for entry in entries]
    kinds = ("failed", "account") if only == "failed" else ("new", "failed")
    return [entry for kind in kinds for entry, need in needs if need == kind]


def _need(entry: ManifestEntry, previous: Entry | None, out: Path, config: FetchConfig) -> str:
    """Why ``entry`` needs work: new, failed, account (only when there are cookies), or empty."""
    if previous is None:
        return "new"
    if previous.state is State.FAILED:
        return "failed"
    if previous.state is State.DONE:
        path = out / previous.data["file"]
        return "" if path.is_file() and path.stat().st_size == previous.data["bytes"] else "new"
    if previous.state is State.FILTERED:
        return "" if previous.data.get("max_bytes") == config.max_bytes else "new"
    if entry.page and public_url(entry.page) != previous.data.get("url"):
        return "new"  # the manifest has another address since
    return "account" if previous.reason in ("age", "private") and config.cookies else ""


def _renewed(entry: ManifestEntry, previous: Entry | None) -> Entry | None:
    """A finished video's entry under the manifest as it is now; None when nothing changes."""
    if previous is None or previous.state is not State.DONE:
        return None
    fresh = done_entry(entry, previous.data, attempts=previous.attempts)
    return None if fresh.data == previous.data else fresh


def _run(todo: list[ManifestEntry], ledger: Ledger, fetcher: Fetcher, jobs: int) -> str:
    """Work through ``todo``; returns why the run stopped early, or an empty text."""

    def record(entry: Entry) -> None:
        before = ledger.get(entry.key)
        if before is not None and before.state is State.FAILED:
            entry = replace(entry, attempts=entry.attempts + before.attempts)
        ledger.record(entry)

    with Progress(len(todo), "fetch", "video") as progress:
        fetcher.pacer.say = progress.say
        crew = _Crew(
            todo, lambda entry: fetcher.fetch(entry, ledger.get(entry.video_id)), jobs, fetcher.pacer.stop
        )
        try:
            with crew:
                for entry in crew.results():
                    if entry.reason == "disk-full":
                        raise _disk_full(fetcher.out)
                    record(entry)
                    progress.step(verdict_of(entry))
                    if entry.reason == "bot-check":
                        return (
                            f"the site asks whether this is a bot ({entry.key}: {entry.detail}), and every "
                            "further request would be refused. Wait some hours, use another address, or "
                            "give the cookies of an account: --cookies FILE"
                        )
        finally:
            for entry in crew.finished():
                if entry.state is State.DONE:
                    record(entry)
    return ""


def _disk_full(out: Path) -> WhimError:
    return WhimError(
        f"{out}: the disk is full; what was finished is kept. Free some space and run the same command again",
        code="disk-full",
    )


class _Crew:
    """Threads that work through a list; results come in the order in which they finish."""

    def __init__(
        self,
        todo: list[ManifestEntry],
        task: Callable[[ManifestEntry], Entry],
        jobs: int,
        stop: threading.Event,
    ) -> None:
        self._pending = iter(todo)
        self._count = len(todo)
        self._task = task
        self._stop = stop
        self._lock = threading.Lock()
        self._results: queue.SimpleQueue[Entry | BaseException] = queue.SimpleQueue()
        # Daemons: a job that hangs in a read must not keep an interrupted command alive.
        self._threads = [
            threading.Thread(target=self._loop, daemon=True) for _ in range(min(jobs, len(todo)))
        ]

    def results(self) -> Iterator[Entry]:
        """Every result; an error of a task is raised here."""
        for _ in range(self._count):
            result = self._results.get()
            if isinstance(result, BaseException):
                raise result
            yield result

    def finished(self) -> Iterator[Entry]:
        """Results that came in after the last look, without waiting."""
        while not self._results.empty():
            result = self._results.get()
            if isinstance(result, Entry):
                yield result

    def __enter__(self) -> _Crew:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=GRACE_S)

    def _loop(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                item = next(self._pending, None)
            if item is None:
                return
            try:
                self._results.put(self._task(item))
            except Cancelled:
                return
            except BaseException as error:  # handed to the main thread, which raises it
                self._results.put(error)
                return
