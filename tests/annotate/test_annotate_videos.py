"""Which videos a run takes, and under which keys."""

from pathlib import Path

import pytest

from whim.annotate.videos import find_videos
from whim.annotate.workers import WORKER_BYTES, Capacity, capacity, decide
from whim.errors import UsageError
from whim.shards.ledger import Entry, State, open_ledger


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_fetched_folder_gives_its_finished_videos_with_their_split(tmp_path: Path) -> None:
    touch(tmp_path / "-odd_id.mp4")
    touch(tmp_path / "left-over.mp4")
    with open_ledger(tmp_path, "fetch") as ledger:
        data = {
            "file": "-odd_id.mp4",
            "split": "test",
            "sha256": "ab",
            "bytes": 1,
            "facts": {"duration_s": 3.5},
        }
        ledger.record(Entry(key="-odd_id", state=State.DONE, data=data))
        ledger.record(Entry(key="gone", state=State.QUARANTINED, reason="gone"))
    (video,) = find_videos([tmp_path])
    assert (video.video_id, video.split, video.duration_s) == ("-odd_id", "test", 3.5)
    assert video.sha256() == "ab"


def test_the_digest_is_taken_anew_when_the_file_changed(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.mp4")
    with open_ledger(tmp_path, "fetch") as ledger:
        ledger.record(Entry(key="a", state=State.DONE, data={"file": "a.mp4", "sha256": "ab", "bytes": 1}))
    path.write_bytes(b"longer")
    assert len(find_videos([tmp_path])[0].sha256()) == 64


def test_any_folder_is_searched_and_subfolders_count_in_the_key(tmp_path: Path) -> None:
    touch(tmp_path / "b.mkv")
    touch(tmp_path / "day1" / "a.MP4")
    touch(tmp_path / "day2" / "a.mp4")
    touch(tmp_path / "notes.txt")
    touch(tmp_path / ".hidden.mp4")
    assert [video.video_id for video in find_videos([tmp_path])] == ["b", "day1__a", "day2__a"]


def test_the_same_file_twice_is_one_video(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.mp4")
    assert len(find_videos([path, tmp_path])) == 1


def test_two_files_with_one_key_are_refused(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "x" / "a.mp4"), touch(tmp_path / "y" / "a.mp4")
    with pytest.raises(UsageError, match="share the key 'a'"):
        find_videos([first, second])


def test_a_folder_without_videos_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="whim fetch"):
        find_videos([tmp_path])
    with pytest.raises(UsageError, match="no such file"):
        find_videos([tmp_path / "nowhere"])


def test_a_label_folder_is_not_a_video_folder(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "annotate"):
        pass
    with pytest.raises(UsageError, match="not videos"):
        find_videos([tmp_path])


@pytest.mark.parametrize(
    ("asked", "cores", "room", "expected"),
    [(64, 2, 20, 2), (64, 64, 3, 3), (2, 8, 20, 2), (None, 4, 20, 4), (None, 4, 0, 1), (1, 1, 0, 1)],
)
def test_workers_are_capped_by_cores_and_memory(
    asked: int | None, cores: int, room: int, expected: int
) -> None:
    number, reason = decide(asked, Capacity(cores=cores, free_bytes=room * WORKER_BYTES))
    assert number == expected
    assert bool(reason) == (asked is not None and asked > expected)


def test_this_machine_carries_at_least_one_worker() -> None:
    assert capacity().workers >= 1
