"""The same segment function on Ray actors: crashes and hangs cost one segment each, nothing else."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from square_detector import SquareExecutor, config, treacherous, unloadable

from whim.annotate.executors import RayActors
from whim.annotate.run import annotate
from whim.errors import WhimError
from whim.shards import reader
from whim.shards.ledger import State, read_ledger

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray")


@pytest.fixture(autouse=True)
def workers_find_the_test_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    )


def test_crash_and_hang_are_told_apart_and_cost_one_segment_each(
    make_video: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, width in (("crash", 176), ("good", 160), ("hang", 192), ("well", 160)):
        make_video(f"videos/{name}.mp4", frames=60, size=(width, 96))
    monkeypatch.setattr("whim.annotate.run.HUNG_MINIMUM_S", 3.0)
    monkeypatch.setattr("whim.annotate.run.HUNG_S_PER_FRAME", 0.1)
    settings = config()
    summary = annotate(
        [tmp_path / "videos"],
        out=tmp_path / "labels",
        config=settings,
        executor=lambda workers: RayActors(settings, 2, treacherous),
    )
    assert not ray.is_initialized()
    states = {
        entry.key.split("/")[0]: (entry.state, entry.reason)
        for entry in read_ledger(tmp_path / "labels")[1].values()
    }
    assert states == {
        "good": (State.DONE, ""),
        "well": (State.DONE, ""),
        "crash": (State.FAILED, "worker-crash"),
        "hang": (State.FAILED, "timeout"),
    }
    assert summary.exit_code == 1
    assert summary.frames == 20

    # What the workers wrote is what this process writes.
    monkeypatch.setattr("square_detector.detectors", lambda: treacherous(settings))
    for name in ("crash", "hang"):
        (tmp_path / "videos" / f"{name}.mp4").unlink()
    annotate(
        [tmp_path / "videos"],
        out=tmp_path / "here",
        config=settings,
        executor=lambda n: SquareExecutor(settings),
    )
    assert reader.read_table(tmp_path / "here").equals(reader.read_table(tmp_path / "labels"))


def test_networks_that_do_not_load_stop_the_run_at_once() -> None:
    with pytest.raises(WhimError, match="could not start: no weights here"):
        RayActors(config(), 1, unloadable)
    assert not ray.is_initialized()
