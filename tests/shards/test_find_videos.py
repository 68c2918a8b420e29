"""Finding the video of a label file after it moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from whim.shards.videos import VideoFinder


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_path_on_record_comes_first(tmp_path: Path) -> None:
    video = touch(tmp_path / "somewhere" / "clip.mp4")
    assert VideoFinder(None).find("key", {"path": str(video)}) == video


def test_a_given_folder_is_searched_alone(tmp_path: Path) -> None:
    recorded = touch(tmp_path / "old" / "clip.mp4")
    folder = tmp_path / "new"
    folder.mkdir()
    assert VideoFinder(folder).find("clip", {"path": str(recorded)}) is None
    moved = touch(folder / "clip.webm")
    assert VideoFinder(folder).find("clip", {"path": str(recorded)}) == moved


def test_data_videos_is_where_fetched_videos_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "data" / "videos" / "-abc.mkv")
    assert VideoFinder(None).find("-abc", {}) == Path("data/videos/-abc.mkv")
    assert VideoFinder(None).find("other", {"path": "/gone/other.mp4"}) is None


def test_keys_of_subfolders_and_file_names(tmp_path: Path) -> None:
    one = touch(tmp_path / "a" / "clip.mp4")
    two = touch(tmp_path / "b" / "clip.mp4")
    lone = touch(tmp_path / "b" / "lone.mp4")
    touch(tmp_path / ".partial" / "hidden" / "hidden.mp4")
    touch(tmp_path / "notes.txt")
    finder = VideoFinder(tmp_path)
    assert (finder.find("a__clip", {}), finder.find("b__clip", {})) == (one, two)
    assert finder.find("clip", {"path": "/old/clip.mp4"}) is None, "either of two files may be wrong"
    assert finder.find("renamed", {"path": "/old/lone.mp4"}) == lone
    assert finder.find("hidden", {}) is None
    assert finder.find("notes", {}) is None
