"""One thread: networks of this size gain nothing from more, and threads that wait for a busy core cost seconds."""

import pytest


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
