"""Where the files that ship with WHIM lie: ``pipelines/``, ``models/``, ``manifests/``.

In a checkout they are the top-level folders; in a wheel they travel in ``whim/_assets``.
"""

from __future__ import annotations

import os
from pathlib import Path

from whim.errors import UsageError

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
