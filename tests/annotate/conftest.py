"""The pipeline's weights are not needed here: the square detectors stand in for them."""

import pytest


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whim.annotate.run.required_weights", lambda people, hands: [])
