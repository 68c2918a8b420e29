"""Pictures and weights for the perception tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from whim.errors import MissingWeightError


@pytest.fixture(scope="session")
def weight() -> Callable[[str], Path]:
    """Path of a catalogue entry; the test is skipped when it is not in the cache."""

    from whim.models.catalog import weight_path

    def find(name: str) -> Path:
        try:
            return weight_path(name)
        except MissingWeightError as error:
            pytest.skip(str(error))

    return find


@pytest.fixture(scope="session")
def picture(shared_data: Path) -> Callable[[str], np.ndarray]:
    """RGB picture by its path below the shared data."""

    def read(name: str) -> np.ndarray:
        bgr = cv2.imread(str(shared_data / name))
        assert bgr is not None, name
        return np.ascontiguousarray(bgr[..., ::-1])

    return read
