"""One video from manifest line to ledger entry: adopt or download, check, put in place."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whim.errors import BadFileError
from whim.files import sha256
from whim.shards.ledger import LEDGER_NAME, Entry, State
from whim.sources.fetch.check import check
from whim.sources.fetch.config import FetchConfig
from whim.sources.fetch.download import TooLargeError, download
from whim.sources.fetch.errors import Action, FetchError, public_url
from whim.sources.fetch.pacing import Pacer, backoff
from whim.sources.fetch.verdict import done_entry, verdict_of
from whim.sources.manifest import ManifestEntry

if TYPE_CHECKING:
    from whim.sources.video.probe import VideoFacts

PARTIAL = ".partial"
FACTS = ("width", "height", "fps", "frames", "duration_s", "codec")


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """What the jobs of one run share."""

    out: Path
    config: FetchConfig
    pacer: Pacer
    yt_dlp: str
    """Version, for the record."""
    cookies: str | None = None
    chance: Callable[[], float] = field(default=random.random)

    def fetch(self, entry: ManifestEntry, previous: Entry | None) -> Entry:
        """Bring one video and say what became of it.

        Raises:
            Cancelled: the run is being stopped; what was downloaded so far stays in the partial folder.
        """
        known = previous is not None and previous.state is State.DONE
        for found in [] if known else finished_files(self.out, entry.video_id):
            # The file is in place but no line says so: the last run died between the rename and the record,
            # or the user put it there. Files are checked before they are named, so a look is enough.
            try:
                facts = check(found, resumed=False)
            except BadFileError:
                continue  # damaged since; the download replaces it
            return done_entry(entry, self._data(entry, found, facts), attempts=0)
        if entry.page is None:
            detail = (
                "no url, and the id is not a YouTube id of 11 characters; put an address into the column url"
            )
            return self._other(entry, State.QUARANTINED, "malformed-id", detail, 0)
        folder = self.out / PARTIAL / entry.video_id
        try:
            return self._attempts(entry, folder)
        except TooLargeError:
            shutil.rmtree(folder, ignore_errors=True)
            detail = f"larger than max_bytes = {self.config.max_bytes}"
            return self._other(entry, State.FILTERED, "too-large", detail, 1, max_bytes=self.config.max_bytes)

    def _attempts(self, entry: ManifestEntry, folder: Path) -> Entry:
        attempts = retries = 0
        restarted = False
        while True:
            self.pacer.start()
            attempts += 1
            try:
                return self._attempt(entry, folder, attempts)
            except FetchError as failure:
                error = failure
            except BadFileError as failure:
                error = FetchError("bad-file", f"{failure.code}: {failure}")
            self._react(entry, folder, error)
            if error.action is Action.RESTART and not restarted:
                restarted = True
            elif error.action in (Action.RETRY, Action.PAUSE) and retries < self.config.retries:
                if error.action is Action.RETRY:
                    self._back_off(retries, error)
                retries += 1
            else:
                state = State.QUARANTINED if error.action is Action.GIVE_UP else State.FAILED
                return self._other(entry, state, error.reason, error.detail, attempts)

    def _react(self, entry: ManifestEntry, folder: Path, error: FetchError) -> None:
        """What an error means for the other jobs and for what was downloaded so far."""
        if error.action is Action.PAUSE:
            seconds = self.config.pause_s if error.retry_after_s is None else error.retry_after_s
            self.pacer.pause(seconds, f"{entry.video_id}: {error.detail}")
        elif error.action is Action.STOP:
            # Here, not in the main thread: no job may begin another video meanwhile.
            self.pacer.stop.set()
        elif error.action in (Action.RESTART, Action.GIVE_UP):
            shutil.rmtree(folder, ignore_errors=True)

    def _back_off(self, retries: int, error: FetchError) -> None:
        config = self.config
        wait = backoff(retries, base_s=config.backoff_s, longest_s=config.backoff_max_s, chance=self.chance())
        self.pacer.sleep(max(wait, error.retry_after_s or 0.0))

    def _attempt(self, entry: ManifestEntry, folder: Path, attempts: int) -> Entry:
        got = download(
            entry, folder, config=self.config, pacer=self.pacer, cookies=self.cookies, chance=self.chance
        )
        # Before the file gets its name: a named file is a checked file.
        facts = check(got.path, resumed=got.resumed)
        target = self.out / f"{entry.video_id}{got.path.suffix}"
        data = {**self._data(entry, got.path, facts), "file": target.name, "format_id": got.format_id}
        with got.path.open("rb") as stream:
            os.fsync(stream.fileno())
        got.path.replace(target)
        for stale in finished_files(self.out, entry.video_id):
            if stale != target:
                stale.unlink()  # an earlier download in another container
        shutil.rmtree(folder, ignore_errors=True)
        return done_entry(entry, data, attempts=attempts)

    def _data(self, entry: ManifestEntry, path: Path, facts: VideoFacts) -> dict[str, Any]:
        return {
            "file": path.name,
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
            "facts": {name: getattr(facts, name) for name in FACTS},
            "format_id": "",
            **self._origin(entry),
        }

    def _other(
        self, entry: ManifestEntry, state: State, reason: str, detail: str, attempts: int, **data: Any
    ) -> Entry:
        origin = {**self._origin(entry), "split": entry.split, **data}
        made = Entry(
            key=entry.video_id, state=state, reason=reason, detail=detail, attempts=attempts, data=origin
        )
        origin["verdict"] = verdict_of(made)
        return made

    def _origin(self, entry: ManifestEntry) -> dict[str, Any]:
        return {"url": public_url(entry.page) if entry.page else "", "yt_dlp": self.yt_dlp}


def finished_files(out: Path, video_id: str) -> list[Path]:
    """Files of ``video_id`` in ``out``, whatever their suffix; more than one only after a crash."""
    # Not a glob: an id may hold glob characters, and "a" must not find "a.b.mp4".
    return sorted(
        path for path in out.iterdir() if path.stem == video_id and path.suffix and path.name != LEDGER_NAME
    )
