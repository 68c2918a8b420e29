"""Child processes that come with torch already imported."""

from __future__ import annotations

import multiprocessing as mp
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest


@pytest.fixture(scope="package")
def children() -> ForkServerContext:
    """A fork server: 20 ms for a child instead of 3 s."""
    tests = str(Path(__file__).resolve().parent.parent)
    # The server does not take over sys.path before Python 3.13.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", tests, prepend=os.pathsep)
        context = mp.get_context("forkserver")
        context.set_forkserver_preload(["training.warm"])
        forkserver.ensure_running()
    return context
