"""A MANO-shaped pickle made from the open hand: keys, shapes and types of objects as in the real, gated
file."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from whim.hands.model import PARENTS, HandModel
from whim.hands.open_hand import load_open_hand

Hand = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def open_hand() -> HandModel:
    return load_open_hand()


@pytest.fixture
def random_hands() -> Callable[[int], Hand]:
    """Betas, hand pose, global orientation and translation of some hands, always the same."""

    def make(count: int, seed: int = 0) -> Hand:
        rng = np.random.default_rng(seed)
        return (
            rng.normal(size=(count, 10)),
            rng.normal(scale=0.5, size=(count, 15, 3)),
            rng.normal(scale=1.5, size=(count, 3)),
            rng.normal(scale=0.3, size=(count, 3)),
        )

    return make


@pytest.fixture
def mano_content(open_hand: HandModel) -> dict[str, Any]:
    """What a MANO_RIGHT.pkl holds, as plain arrays. The wrist is not at the origin, as in the real file."""
    rng = np.random.default_rng(7)
    return {
        "v_template": open_hand.v_template + np.array([0.09, 0.006, 0.006]),
        "shapedirs": open_hand.shapedirs.copy(),
        "posedirs": rng.normal(scale=2e-4, size=(778, 3, 135)),
        "J_regressor": scipy.sparse.csc_matrix(open_hand.J_regressor),
        "weights": open_hand.weights.copy(),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], list(range(16))], dtype=np.int64),
        "f": open_hand.faces_closed[:1538].astype(np.uint32),  # a border of 16 edges is left, as in MANO
        "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_mean": rng.normal(scale=0.2, size=45),
        "hands_coeffs": rng.normal(size=(5, 45)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "J": open_hand.J_template.copy(),
    }


@pytest.fixture
def write_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write an object as a pickle; converted copies go to a cache of this test."""
    monkeypatch.setenv("WHIM_CACHE", str(tmp_path / "cache"))

    def write(content: Any, name: str = "MANO_RIGHT.pkl") -> Path:
        path = tmp_path / name
        path.write_bytes(pickle.dumps(content, protocol=2))
        return path

    return write


@pytest.fixture
def chumpy_classes(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Classes that pickle as ``chumpy.ch.Ch`` and ``chumpy.reordering.Select``, until ``drop``."""
    made = {}
    for module_name, class_name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select")):
        module = types.ModuleType(module_name)
        cls = type(class_name, (), {"__module__": module_name, "__qualname__": class_name})
        setattr(module, class_name, cls)
        monkeypatch.setitem(sys.modules, module_name, module)
        made[class_name] = cls
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))

    def drop() -> None:
        for module_name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
            monkeypatch.delitem(sys.modules, module_name)

    return types.SimpleNamespace(**made, drop=drop)
