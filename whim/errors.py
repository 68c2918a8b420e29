"""Errors a user can act on.

Every error carries a stable ``code`` that goes into the ledger, and a message that says what to do.
The command line prints the message alone; a traceback means a bug in WHIM.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class WhimError(Exception):
    """Something the user can act on. ``code`` is stable; the text may change."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class UsageError(WhimError):
    """A wrong argument or configuration: the command ends with exit status 2."""

    code = "usage"


class MissingExtraError(UsageError):
    """An optional package is not installed."""

    code = "missing-extra"


class MissingWeightError(WhimError):
    """A model file is not in the cache."""

    code = "missing-weight"


class BadFileError(WhimError):
    """A file cannot be read as what it should be."""

    code = "bad-file"


def require(module: str, *, extra: str | None = None, install: str | None = None) -> ModuleType:
    """Import an optional package, or say which extra brings it; ``install`` is said where no extra does.

    Raises:
        MissingExtraError: when the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise
        how = install or (f"pip install 'whim[{extra}]'" if extra else f"pip install {module}")
        raise MissingExtraError(
            f"this needs the package {error.name!r}, which is not installed; run: {how}"
        ) from error
