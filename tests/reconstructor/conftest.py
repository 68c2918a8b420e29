"""The fixtures, where the extra ``train`` is installed; elsewhere this folder has no tests."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("torch") is None or find_spec("safetensors") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from reconstructor.fixtures import (  # noqa: F401
        _one_thread,
        make_network,
        make_truth,
        open_hand,
    )
