"""Ledger: the state of every item, with reasons, in one append-only file.

Fetching and annotating share it. A line is one JSON object; the last line of a key wins; every line is
flushed to disk before the next item, and a line torn by a crash is dropped on the next open.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from whim import __version__
from whim.errors import BadFileError, WhimError

LEDGER_NAME = "ledger.jsonl"


class State(str, Enum):
    """The five states of an item, the same everywhere."""

    DONE = "done"
    """Finished, with a result."""
    EMPTY = "empty"
    """Finished; there was nothing in it (no hands, no frames)."""
    FILTERED = "filtered"
    """Left out by a rule of the configuration."""
    FAILED = "failed"
    """Did not work; the next run tries again."""
    QUARANTINED = "quarantined"
    """Gave up: retrying as things stand is useless."""

    def __str__(self) -> str:
        return self.value


FINISHED = frozenset({State.DONE, State.EMPTY, State.FILTERED})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of one item."""

    key: str
    state: State
    reason: str = ""
    """Stable code such as ``gone`` or ``bad-video``; empty when there is nothing to explain."""
    detail: str = ""
    """The same for a human reader."""
    attempts: int = 1
    time: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    data: dict[str, Any] = field(default_factory=dict)
    """Facts of the stage: sizes, hashes, counts."""

    def to_json(self) -> dict[str, Any]:
        """JSON object of one ledger line."""
        return {**self.__dict__, "state": self.state.value}


class Ledger:
    """The ledger of one folder, open for writing. Use :func:`open_ledger`."""

    def __init__(self, path: Path, entries: dict[str, Entry], stream: Any) -> None:
        self.path = path
        self._entries = entries
        self._stream = stream

    def get(self, key: str) -> Entry | None:
        """Last entry of ``key``, or None."""
        return self._entries.get(key)

    def entries(self) -> list[Entry]:
        """Last entry of every key."""
        return list(self._entries.values())

    def record(self, entry: Entry) -> None:
        """Append ``entry`` and force it to disk."""
        self._stream.write(json.dumps(entry.to_json(), ensure_ascii=False) + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._entries[entry.key] = entry


@contextmanager
def open_ledger(folder: Path, stage: str) -> Iterator[Ledger]:
    """Open the ledger of ``folder`` for one writing process.

    Raises:
        WhimError: another process is writing there, or the folder belongs to another stage.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LEDGER_NAME
    with path.open("a+", encoding="utf-8", newline="\n") as stream:
        try:
            # The lock goes with the process, so a killed run never blocks the next one.
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WhimError(f"{folder}: another `whim {stage}` is writing here", code="locked") from error
        header, entries = _parse(path)
        if header and header["stage"] != stage:
            raise WhimError(
                f"{folder} holds the output of `whim {header['stage']}`; choose another --out",
                code="wrong-folder",
            )
        _drop_torn_line(path)
        if not header:
            stream.write(json.dumps({"whim_ledger": 1, "stage": stage, "whim_version": __version__}) + "\n")
            stream.flush()
        yield Ledger(path, entries, stream)


def read_ledger(folder: Path) -> tuple[str, dict[str, Entry]]:
    """Stage and last entries of a ledger, without locking it. ``path`` may be the folder or the file.

    Raises:
        BadFileError: there is none, or it is not a ledger.
    """
    path = folder if folder.suffix == ".jsonl" else folder / LEDGER_NAME
    if not path.is_file():
        raise BadFileError(
            f"{folder}: no {LEDGER_NAME} here; give the folder that `whim fetch` or `whim annotate` wrote"
        )
    header, entries = _parse(path)
    return (header or {}).get("stage", ""), entries


def counts(entries: dict[str, Entry] | list[Entry]) -> dict[str, int]:
    """Number of items per state, every state present."""
    values = entries.values() if isinstance(entries, dict) else entries
    found = Counter(entry.state for entry in values)
    return {state.value: found.get(state, 0) for state in State}


def _parse(path: Path) -> tuple[dict[str, Any] | None, dict[str, Entry]]:
    header: dict[str, Any] | None = None
    entries: dict[str, Entry] = {}
    text = path.read_bytes()
    lines = text.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is a torn line
        try:
            record = json.loads(line)
            if "whim_ledger" in record:
                header = record
            else:
                record["state"] = State(record["state"])
                entries[record["key"]] = Entry(**record)
        except (ValueError, TypeError, KeyError) as error:
            raise BadFileError(
                f"{path}, line {number}: not a ledger line; repair or delete the line"
            ) from error
    return header, entries


def _drop_torn_line(path: Path) -> None:
    with path.open("r+b") as raw:
        text = raw.read()
        end = text.rfind(b"\n") + 1
        if end != len(text):
            raw.truncate(end)
            os.fsync(raw.fileno())
