"""The gallery page: what is in it, without a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from shards.factories import label_video, make_rows, write_folder, write_segment

from whim.errors import BadFileError, UsageError
from whim.shards import reader
from whim.shards.ledger import Entry, State, open_ledger
from whim.viz.gallery import render_page, write_gallery
from whim.viz.pictures import THUMB_PIXELS

MakeVideo = Callable[..., Path]


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL
    )
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.fixture
def labels(tmp_path: Path, make_video: MakeVideo) -> Path:
    folder = tmp_path / "labels"
    with open_ledger(folder, "annotate") as ledger:
        for name in ("a", "b"):
            video = make_video(f"videos/{name}.mp4", frames=26, size=(640, 360))
            label_video(folder, video, step=2, count=12, segments=2)
            ledger.record(Entry(key=f"{name}/00000", state=State.DONE))
            ledger.record(Entry(key=f"{name}/00001", state=State.DONE, reason="truncated"))
        ledger.record(Entry(key="bad", state=State.QUARANTINED, reason="bad-video", detail="no picture"))
    return folder


def test_the_folder_is_all_that_is_needed(labels: Path) -> None:
    page = write_gallery(labels, out=None, videos=None, limit=100)
    assert page == labels / "gallery" / "index.html"
    text = page.read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "@import" not in text
    data = data_of(page)
    assert len(data["frames"]) == 24
    for card in data["frames"]:
        thumb = cv2.imread(str(page.parent / f"{card['picture']}-thumb.jpg"))
        large = cv2.imread(str(page.parent / f"{card['picture']}-large.jpg"))
        assert max(thumb.shape) == THUMB_PIXELS
        assert large.shape == (360, 640, 3)
        assert card["problem"] == ""


def test_numbers_and_states_are_those_of_the_labels_and_the_ledger(labels: Path) -> None:
    data = data_of(write_gallery(labels, out=None, videos=None, limit=100))
    rows = {(row["video_id"], row["frame_index"]): row for row in reader.iter_rows(labels)}
    assert data["totals"]["frames"] == len(rows) == 24
    assert data["states"]["done"] == 4
    assert [item["key"] for item in data["items"]] == ["bad"]
    assert {card["reason"] for card in data["frames"] if card["segment"] == "00001"} == {"truncated"}
    for card in data["frames"]:
        row = rows[card["video"], card["frame"]]
        assert [hand["side"] for hand in card["hands"]] == [
            ["left", "right"][h["side"]] for h in row["hands"]
        ]
        for shown, hand in zip(card["hands"], row["hands"], strict=True):
            assert shown["agreement"] == pytest.approx(hand["agreement"], abs=1e-3)
            assert len(shown["votes"]) == len(hand["votes"])
            mean = sum(vote["iou"] for vote in shown["votes"]) / 3  # three detectors were asked
            assert mean == pytest.approx(hand["agreement"], abs=2e-3)


def test_only_the_chosen_frames_are_decoded(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    from whim.viz import pictures

    real = pictures.frames_at
    monkeypatch.setattr(
        pictures, "frames_at", lambda path, indices: (asked.extend(indices), real(path, indices))[1]
    )
    data = data_of(write_gallery(labels, out=None, videos=None, limit=5))
    assert len(data["frames"]) == len(asked) == 5
    assert data["totals"]["frames"] == 24


def test_a_second_page_replaces_the_first_and_its_pictures(labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "page"
    write_gallery(labels, out=out, videos=None, limit=100)
    (out / "pictures" / "mine.jpg").write_bytes(b"not ours")
    page = write_gallery(labels, out=out, videos=None, limit=4)
    names = {path.name for path in (out / "pictures").iterdir()}
    wanted = {f"{card['id']}-{kind}.jpg" for card in data_of(page)["frames"] for kind in ("thumb", "large")}
    assert names == wanted | {"mine.jpg"}
    assert len(wanted) == 8


def test_a_missing_video_gives_cards_without_pictures(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "videos" / "a.mp4").unlink()
    data = data_of(write_gallery(labels, out=None, videos=None, limit=100))
    for card in data["frames"]:
        assert bool(card["picture"]) == (card["video"] == "b")
        assert ("--videos" in card["problem"]) == (card["video"] == "a")


def test_pictures_come_from_the_folder_that_is_named(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").rename(tmp_path / "moved")
    data = data_of(write_gallery(labels, out=None, videos=tmp_path / "moved", limit=100))
    assert all(card["picture"] for card in data["frames"])
    with pytest.raises(UsageError, match="no such folder"):
        write_gallery(labels, out=None, videos=tmp_path / "videos", limit=1)


def test_a_changed_video_is_shown_with_a_warning(labels: Path, tmp_path: Path, make_video: MakeVideo) -> None:
    make_video("videos/a.mp4", frames=14, size=(320, 180), still=True)
    data = data_of(write_gallery(labels, out=None, videos=None, limit=100))
    problems = {card["frame"]: card["problem"] for card in data["frames"] if card["video"] == "a"}
    assert "320x180 instead of 640x360" in problems[0]
    assert "before frame 14" in problems[14]
    assert not any(card["problem"] for card in data["frames"] if card["video"] == "b")


def test_text_from_the_data_cannot_become_html() -> None:
    nasty = "</script><script>alert(1)</script><!--"
    page = render_page({"labels": nasty})
    assert nasty not in page
    assert page.count("</script>") == 2
    assert json.loads(page.split('id="data">')[1].split("</script>")[0]) == {"labels": nasty}


def test_labels_without_a_ledger_and_without_a_number(tmp_path: Path) -> None:
    rows = make_rows("imported", count=3)
    for row in rows:
        for hand in row["hands"]:
            if hand["keypoints_2d"]:
                hand["keypoints_2d"][4] = [float("nan")] * 2
    write_segment(tmp_path, rows, video_id="imported")
    data = data_of(write_gallery(tmp_path, out=None, videos=None, limit=10))
    assert data["states"] is None
    assert len(data["frames"]) == 3


def test_no_labels_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="whim annotate"):
        write_gallery(tmp_path, out=None, videos=None, limit=10)


def test_real_footage(shared_data: Path, tmp_path: Path) -> None:
    label_video(tmp_path / "labels", shared_data / "videos" / "sign_selfie_portrait.mp4", count=4)
    shutil.rmtree(tmp_path / "labels" / "gallery", ignore_errors=True)
    data = data_of(write_gallery(tmp_path / "labels", out=None, videos=None, limit=10))
    assert [card["size"] for card in data["frames"]] == [[540, 720]] * 4
    assert not any(card["problem"] for card in data["frames"])


def test_many_labels_stay_within_the_limit(tmp_path: Path) -> None:
    write_folder(tmp_path, {f"v{number}": "train" for number in range(6)}, segments=2, frames=40)
    data = data_of(write_gallery(tmp_path, out=None, videos=None, limit=30))
    assert len(data["frames"]) == 30
    assert data["totals"]["frames"] == 480
    assert {card["sample"] for card in data["frames"]} == {"worst", "random", "empty"}
