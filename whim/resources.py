"""Where the files that ship with WHIM lie: ``configs/``, ``pipelines/``, ``models/``, ``manifests/``.

In a checkout they are the top-level folders; in a wheel they travel in ``whim/_assets``.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from whim.errors import BadFileError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

_PACKAGE = Path(__file__).resolve().parent


def shipped(relative: str) -> Path:
    """Path of a shipped file such as ``models/catalog.yaml``.

    Raises:
        UsageError: when the installation lacks it.
    """
    for root in (_PACKAGE.parent, _PACKAGE / "_assets"):
        if (root / relative).exists():
            return root / relative
    raise UsageError(f"{relative} is missing from this installation of WHIM; install it again")


def read_shipped_arrays(
    path: Path, fields: set[str], form: str, unpack: Callable[[dict[str, NDArray[Any]]], T], what: str
) -> T:
    """What ``unpack`` makes of an npz file of ours, read strictly: these fields, this format, nothing pickled.

    Raises:
        BadFileError: it is anything else; the message calls it ``what``.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
        if found.keys() != fields or str(found["format"]) != form:
            raise ValueError(f"not in the format {form!r}")
        return unpack(found)
    except (ValueError, IndexError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise BadFileError(f"{path} is not {what} ({error}); install WHIM again") from error


def user_or_shipped(path: str | Path) -> Path:
    """A path as the user gave it, or the shipped file of that name.

    Commands take ``pipelines/embedded.yaml`` from any working directory.

    Raises:
        UsageError: when neither exists.
    """
    given = Path(path)
    if given.exists():
        return given
    if not given.is_absolute() and ".." not in given.parts:
        for root in (_PACKAGE.parent, _PACKAGE / "_assets"):
            if (root / given).exists():
                return root / given
    raise UsageError(f"{path}: no such file")


def cache_dir() -> Path:
    """Folder for downloaded weights: ``$WHIM_CACHE``, or the platform's cache folder."""
    if root := os.environ.get("WHIM_CACHE"):
        return Path(root).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("whim")
