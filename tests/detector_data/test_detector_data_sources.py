"""Shards and image folders give the same records; recordings are never split; broken pictures are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from detector_data.scenes import make_set
from shards.factories import label_video

from whim.conventions import Side
from whim.detector.data import pictures
from whim.detector.data.batches import Batch, TrainingSource, WholeSource
from whim.detector.data.config import AugmentConfig, LabelConfig, SetConfig
from whim.detector.data.folders import load_coco, load_yolo
from whim.detector.data.pixel_shards import INDEX, load_pixel_shards
from whim.detector.data.records import RecordSet, whole
from whim.detector.data.sizes import picture_size
from whim.detector.data.sources import open_set, training_part, validation_part
from whim.errors import BadFileError, UsageError, WhimError
from whim.shards import reader
from whim.shards.ensure import ensure_pixels, shards_of
from whim.shards.pack import pack
from whim.training.loader import Loader

MakeVideo = Callable[..., Path]


@pytest.fixture
def labels(tmp_path: Path, make_video: MakeVideo) -> Path:
    """Labels of three short clips, one of them to test on."""
    folder = tmp_path / "labels"
    for name, split in (("a", "train"), ("b", "train"), ("c", "test")):
        label_video(folder, make_video(f"videos/{name}.mp4", frames=32), split=split, step=2, count=12)
    return folder


def test_shards_as_records(labels: Path) -> None:
    shards = pack(labels, videos=None, out=labels.parent / "shards").out
    rows = [row for path in sorted(shards.glob("*.parquet")) for row in reader.iter_rows(path)]
    records = load_pixel_shards(shards, LabelConfig(min_keypoint_score=0.7, min_side_score=0.0))
    assert len(records) == len(rows) == 36
    hands = 0
    for number, row in enumerate(rows):
        record = records[number]
        assert (record.recording, record.size) == (row["video_id"], (row["width"], row["height"]))
        assert f"frame {row['frame_index']}" in record.name
        wanted = cv2.imdecode(np.frombuffer(row["image"]["bytes"], np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(pictures.read(record), wanted)
        assert len(record.hands) == len(row["hands"])
        for place, hand in enumerate(row["hands"]):
            hands += 1
            np.testing.assert_allclose(record.hands.boxes[place], hand["box"], rtol=1e-6)
            assert record.hands.side[place] == hand["side"]
            if hand["keypoints_2d"] is None:
                assert not record.hands.visibility[place].any()
            else:
                np.testing.assert_allclose(record.hands.keypoints[place], hand["keypoints_2d"], rtol=1e-6)
                scores = np.array(hand["keypoint_scores"])
                assert record.hands.visibility[place].tolist() == np.where(scores >= 0.7, 2, 0).tolist()
    assert hands > 20
    unsure = load_pixel_shards(shards, LabelConfig(min_side_score=0.95))
    assert set(unsure.side.tolist()) == {Side.UNKNOWN}


def test_the_index_is_made_once_and_again_after_a_change(labels: Path, capfd: pytest.CaptureFixture) -> None:
    shards = pack(labels, videos=None, out=labels.parent / "shards").out
    capfd.readouterr()
    load_pixel_shards(shards, LabelConfig())
    assert "index shards" in capfd.readouterr().err
    load_pixel_shards(shards, LabelConfig())
    assert "index shards" not in capfd.readouterr().err
    assert len(list((shards / INDEX).iterdir())) == 1
    (shards / "test-00000.parquet").unlink()
    assert len(load_pixel_shards(shards, LabelConfig())) == 24


def test_shards_that_somebody_compressed_are_refused_not_misread(labels: Path) -> None:
    shards = pack(labels, videos=None, out=labels.parent / "shards").out
    for path in shards.glob("*.parquet"):
        pq.write_table(pq.read_table(path), path, compression="zstd")
    with pytest.raises(BadFileError, match="missing or compressed"):
        load_pixel_shards(shards, LabelConfig())
    assert list((shards / INDEX).iterdir()) == []


def test_labels_without_pictures_are_no_shards(labels: Path) -> None:
    with pytest.raises(BadFileError, match="labels without pictures; `whim pack`"):
        load_pixel_shards(labels / "segments" / "a", LabelConfig())


def test_labels_are_packed_without_being_asked(labels: Path, make_video: MakeVideo) -> None:
    said: list[str] = []
    out = ensure_pixels(labels, say=said.append)
    assert out == shards_of(labels) == labels.parent / "shards"
    assert "no pixel shards yet" in said[0]
    assert "36 frames" in said[1]

    said.clear()
    assert ensure_pixels(labels, say=said.append) == out
    assert said == []

    label_video(labels, make_video("videos/d.mp4", frames=32), split="train", step=2, count=12)
    ensure_pixels(labels, say=said.append)
    assert "packing what has changed" in said[0]
    assert "48 frames" in said[1]


def test_a_video_that_came_late_is_packed_late(labels: Path) -> None:
    video = labels.parent / "videos" / "b.mp4"
    video.rename(labels.parent / "b.away")
    said: list[str] = []
    ensure_pixels(labels, say=said.append)
    assert "missing-video" in said[1]
    (labels.parent / "b.away").rename(video)
    said.clear()
    out = ensure_pixels(labels, say=said.append)
    assert "looking again for 1 videos" in said[0]
    assert len(load_pixel_shards(out, LabelConfig())) == 36


def test_labels_whose_videos_are_all_gone(labels: Path) -> None:
    for video in (labels.parent / "videos").iterdir():
        video.unlink()
    with pytest.raises(WhimError, match="not one frame could be packed"):
        ensure_pixels(labels, say=lambda text: None)


def test_what_is_trained_on_and_what_is_not(labels: Path) -> None:
    opened = open_set(SetConfig(path=labels), LabelConfig(), say=lambda text: None)
    assert training_part(opened, SetConfig(path=labels), 0).recordings == ["a", "b"]
    held = SetConfig(path=labels, splits=("test",))
    assert validation_part(opened, held, 0).recordings == ["c"]
    with pytest.raises(UsageError, match="no picture of split dev; there is"):
        training_part(opened, SetConfig(path=labels, splits=("dev",)), 0)
    small, large = (opened.limited(limit, 0).rows.tolist() for limit in (5, 9))
    assert set(small) < set(large)


def write_coco(folder: Path, source: RecordSet) -> Path:
    images, annotations = [], []
    for number in range(len(source)):
        record = source[number]
        name, (width, height) = Path(record.path).name, record.size
        images.append(
            {"id": number, "file_name": name, "width": width, "height": height, "session": record.recording}
        )
        (x1, y1, x2, y2), side = record.hands.boxes[0].tolist(), int(record.hands.side[0])
        points = np.concatenate([record.hands.keypoints[0], record.hands.visibility[0][:, None]], axis=1)
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 7 + side,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "keypoints": points.reshape(-1).tolist(),
            }
        )
    annotations.append({"id": 99, "image_id": 0, "category_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    categories = [{"id": 7, "name": "left_hand"}, {"id": 8, "name": "Right hand"}]
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def write_yolo(folder: Path, source: RecordSet) -> None:
    for number in range(len(source)):
        record = source[number]
        size = np.array(record.size)
        place = folder / "images" / "train" / Path(record.path).name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(Path(record.path).read_bytes())
        box = record.hands.boxes[0]
        numbers = [*((box[:2] + box[2:]) / 2 / size), *((box[2:] - box[:2]) / size)]
        points = np.concatenate(
            [record.hands.keypoints[0] / size, record.hands.visibility[0][:, None]], axis=1
        )
        text = folder / "labels" / "train" / f"{place.stem}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        words = [
            str(int(record.hands.side[0])),
            *(f"{value:.9f}" for value in [*numbers, *points.reshape(-1)]),
        ]
        text.write_text(" ".join(words) + "\n")
    (folder / "data.yaml").write_text("names: {0: left, 1: right}\n")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_coco_and_yolo_give_the_same_records(tmp_path: Path, suffix: str) -> None:
    source = make_set(tmp_path / "images", 4, suffix=suffix)
    write_yolo(tmp_path / "yolo", source)
    coco, yolo = load_coco(write_coco(tmp_path, source)), load_yolo(tmp_path / "yolo")
    assert list(coco.recordings) == ["recording 0", "recording 1"]
    assert list(yolo.splits) == ["train"]
    for records in (coco, yolo):
        assert len(records) == 4
        assert records.side.tolist() == [0, 1, 0, 1]
        np.testing.assert_array_equal(records.size, source.records.size)
        np.testing.assert_allclose(records.boxes, source.records.boxes, atol=1e-3)
        np.testing.assert_allclose(records.keypoints, source.records.keypoints, atol=1e-3)
        np.testing.assert_array_equal(records.visibility, source.records.visibility)


def test_a_folder_that_is_nothing_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither labels"):
        open_set(SetConfig(path=tmp_path), LabelConfig())
    (tmp_path / "annotations.json").write_text('{"images": [], "annotations": [{"bbox": [1, 2, 3]}]}')
    with pytest.raises(BadFileError, match="not a COCO file"):
        open_set(SetConfig(path=tmp_path), LabelConfig())


def test_a_yolo_line_with_too_few_numbers_is_named(tmp_path: Path) -> None:
    write_yolo(tmp_path, make_set(tmp_path / "source", 1))
    (tmp_path / "labels" / "train" / "000.txt").write_text("0 0.5 0.5 0.1\n")
    with pytest.raises(BadFileError, match=r"000\.txt:1: 4 numbers"):
        load_yolo(tmp_path)


def test_rotation_tags(tmp_path: Path) -> None:
    """A sideways JPEG: labelled as shown (YOLO) or as stored (a COCO json that gives the stored size)."""
    source = make_set(tmp_path, 1, size=(64, 40))
    path = Path(source[0].path)
    data = path.read_bytes()
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
    exif = b"Exif\x00\x00" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    stored = pictures.read(source[0])
    assert stored.shape == (40, 64, 3)
    assert picture_size(path) == (40, 64)
    shown = pictures.read(replace(source[0], size=(40, 64)))
    np.testing.assert_array_equal(shown, np.rot90(stored, -1))


def test_recordings_are_never_split(tmp_path: Path) -> None:
    pictures_ = make_set(tmp_path, 20)
    rest, held = pictures_.split_off(0.3)
    assert len(held) == 6
    assert not set(rest.recordings) & set(held.recordings)
    assert len(rest) + len(held) == 20
    again = make_set(tmp_path, 20, seed=5).split_off(0.3)[1]
    assert again.recordings == held.recordings
    one = RecordSet(name="one", records=pictures_.records, rows=np.arange(2))
    with pytest.raises(UsageError, match="a single recording"):
        one.split_off(0.3)


def source_of(*sets: RecordSet, **changes: object) -> TrainingSource:
    augment = AugmentConfig(mosaic_pool=8, plain_epochs=1, **changes)  # type: ignore[arg-type]
    return TrainingSource(sets, [1.0] * len(sets), size=96, augment=augment, seed=4, epochs=3)


def same(a: Batch, b: Batch) -> bool:
    pairs = [(a.pictures, b.pictures), *zip(vars(a.targets).values(), vars(b.targets).values(), strict=True)]
    return all(np.array_equal(one, other) for one, other in pairs)


def test_a_batch_is_a_function_of_its_place(tmp_path: Path) -> None:
    pictures_ = make_set(tmp_path, 16)
    shares = [range(start, start + 4) for start in range(0, 16, 4)]
    batches = [batch for k in (0, 2) for batch in source_of(pictures_).make(1, shares[k : k + 2])]
    worker = source_of(pictures_)
    worker.make(0, shares[:2])
    later = worker.make(1, shares[2:])
    assert all(same(one, other) for one, other in zip(batches[2:], later, strict=True))
    assert not same(batches[0], worker.make(0, shares[:1])[0])
    assert batches[0].pictures.shape == (4, 96, 96, 3)
    assert max(batches[0].targets.image_index.tolist()) <= 3


@pytest.mark.timeout(30)
def test_workers_make_the_same_after_the_main_process_has_used_opencv(tmp_path: Path) -> None:
    """OpenCV's threads do not survive a fork: workers used to hang here."""
    source = source_of(make_set(tmp_path, 16, size=(1280, 720)))
    large = np.zeros((1280, 1280, 3), np.uint8)
    cv2.setNumThreads(2)
    for _ in range(10):
        cv2.warpAffine(large, np.eye(2, 3), (1280, 1280))  # starts the threads
    shares = [range(start, start + 2) for start in range(0, 16, 2)]
    alone = [source.make(0, shares[start : start + 4])[k] for start in (0, 4) for k in range(4)]
    loader: Loader[Batch] = Loader(source, workers=2, chunk=4)
    made = list(loader.batches(0, shares, skip=3))
    assert len(made) == 5
    assert all(same(one, other) for one, other in zip(made, alone[3:], strict=True))


def test_an_epoch_brings_every_picture_once(tmp_path: Path) -> None:
    first, second = make_set(tmp_path / "1", 7), make_set(tmp_path / "2", 4, seed=1)
    source = source_of(first, second)
    assert len(source) == 11
    for epoch in range(2):
        names = [source._record(epoch, position).name for position in range(11)]
        assert len(set(names)) == 11
    assert source._record(0, 11).name == source._record(0, 0).name  # a batch larger than the set begins again


def test_a_broken_picture_is_named_and_replaced_not_blank(tmp_path: Path) -> None:
    pictures_ = make_set(tmp_path, 8)
    for number, damage in ((2, b""), (3, b"not a picture at all"), (4, None)):
        path = Path(pictures_[number].path)
        path.write_bytes(path.read_bytes()[:2000] if damage is None else damage)
    Path(pictures_[5].path).unlink()
    off = AugmentConfig.off().model_copy(update={"mosaic_pool": 8})
    source = TrainingSource([pictures_], [1.0], size=96, augment=off, seed=0, epochs=1)
    first, second = source.make(0, [range(4), range(4, 8)])
    assert len(first.broken) == 4
    assert second.broken == ()
    reasons = {
        "002.jpg": "not a picture",
        "003.jpg": "not a picture",
        "004.jpg": "cut short",
        "005.jpg": "No such file",
    }
    for name, reason in reasons.items():
        assert any(name in text and reason in text for text in first.broken)
    assert first.pictures.shape[0] == second.pictures.shape[0] == 4
    for picture in (*first.pictures.numpy(), *second.pictures.numpy()):
        assert picture[30:60].std() > 10
    (valid,) = WholeSource([pictures_], size=96).make(0, [range(8)])
    assert valid.pictures.shape[0] == 4
    assert len(valid.broken) == 4
    for number in range(8):
        Path(pictures_[number].path).write_bytes(b"")
    with pytest.raises(BadFileError, match="none of 4 pictures can be read"):
        source.make(0, [range(4)])


def test_a_picture_of_another_size_than_labelled_is_broken(tmp_path: Path) -> None:
    pictures_ = make_set(tmp_path, 1)
    cv2.imwrite(pictures_[0].path, np.zeros((100, 160, 3), np.uint8))
    with pytest.raises(BadFileError, match="160x100 pixels instead of 320x200"):
        pictures.read(pictures_[0])


def test_whole_set_of_real_pictures(shared_data: Path) -> None:
    records = load_coco(shared_data / "detection" / "webcam_hands" / "annotations.json")
    assert len(records) == 700
    assert len(records.recordings) == 12
    rest, held = whole("webcam", records).split_off(0.2)
    assert 0.1 < len(held) / 700 < 0.25
    assert not set(rest.recordings) & set(held.recordings)
