"""Packing: what is in the shards, what is left out and why, resuming, determinism."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from shards.factories import label_video, make_rows, write_folder, write_segment

from whim.errors import BadFileError, UsageError, WhimError
from whim.shards import pack as pack_module
from whim.shards import reader
from whim.shards.ledger import State, read_ledger
from whim.shards.pack import PackSummary, is_current, pack
from whim.shards.pixel_writer import GROUP_ROWS
from whim.shards.plan import Piece, ShardPlan, plan_shards, survey
from whim.sources.video.decode import frames_at

MakeVideo = Callable[..., Path]


@pytest.fixture
def labels(tmp_path: Path, make_video: MakeVideo) -> Path:
    """Labels of three videos, two to train and one to test."""
    folder = tmp_path / "labels"
    for name, split in (("a", "train"), ("-b", "test"), ("c", "train")):
        video = make_video(f"videos/{name}.mp4", frames=32, gop=10)
        label_video(folder, video, split=split, step=1, count=30, segments=2)
    return folder


def run(labels: Path, name: str = "shards", **options: Any) -> PackSummary:
    return pack(labels, videos=options.pop("videos", None), out=labels.parent / name, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def states(folder: Path) -> dict[str, tuple[State, str]]:
    return {key: (entry.state, entry.reason) for key, entry in read_ledger(folder)[1].items()}


def test_shards_hold_every_labelled_frame_with_its_picture(labels: Path) -> None:
    summary = run(labels)
    out = summary.out
    assert (summary.exit_code, summary.shards, summary.written, summary.frames) == (0, 2, 2, 90)
    assert sorted(contents(out)) == ["test-00000.parquet", "train-00000.parquet"]
    train = list(reader.iter_rows(out / "train-00000.parquet"))
    assert [row["video_id"] for row in train] == ["a"] * 30 + ["c"] * 30
    wanted = list(reader.iter_rows(labels / "segments" / "a"))
    decoded = list(frames_at(labels.parent / "videos" / "a.mp4", [row["frame_index"] for row in wanted]))
    for row, label, frame in zip(train[:30], wanted, decoded, strict=True):
        image = row.pop("image")
        assert row == label
        assert image["path"] == f"a/{label['frame_index']:08d}.jpg"
        picture = cv2.imdecode(np.frombuffer(image["bytes"], np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.abs(picture.astype(int) - frame.image).mean() < 4
    assert reader.lineage(out / "train-00000.parquet")["labels"][0]["pipeline"] == "embedded"
    assert states(out) == dict.fromkeys(("a", "-b", "c"), (State.DONE, ""))


def test_layout_of_row_groups_and_compression(tmp_path: Path, make_video: MakeVideo) -> None:
    labels = tmp_path / "labels"
    label_video(labels, make_video("videos/long.mp4", frames=250), step=1, count=250)
    out = run(labels).out
    metadata = pq.read_metadata(out / "train-00000.parquet")
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [GROUP_ROWS, GROUP_ROWS, 50]
    columns = [groups[0].column(index) for index in range(groups[0].num_columns)]
    kinds = {column.path_in_schema: column.compression for column in columns}
    assert kinds.pop("image.bytes") == "UNCOMPRESSED"
    assert set(kinds.values()) == {"ZSTD"}
    (pictures,) = (column for column in columns if column.path_in_schema == "image.bytes")
    assert not pictures.is_stats_set
    assert "RLE_DICTIONARY" not in pictures.encodings


def test_the_same_labels_give_the_same_bytes_wherever_they_lie(labels: Path, tmp_path: Path) -> None:
    first = contents(run(labels).out)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(labels, elsewhere / "labels")
    (labels.parent / "videos").rename(elsewhere / "films")
    second = run(elsewhere / "labels", videos=elsewhere / "films")
    assert contents(second.out) == first


def test_a_second_run_writes_nothing(labels: Path) -> None:
    before = run(labels)
    stamps = {path: path.stat().st_mtime_ns for path in before.out.glob("*.parquet")}
    ledger = (before.out / "ledger.jsonl").read_bytes()
    shutil.rmtree(labels.parent / "videos")  # what is packed needs its video no more
    again = run(labels)
    assert (again.exit_code, again.written, again.frames) == (0, 0, 90)
    assert {path: path.stat().st_mtime_ns for path in again.out.glob("*.parquet")} == stamps
    assert (again.out / "ledger.jsonl").read_bytes().startswith(ledger)


def other_picture(video: Path, make_video: MakeVideo) -> None:
    make_video("videos/other.mp4", frames=32, still=True).rename(video)


def other_size(video: Path, make_video: MakeVideo) -> None:
    make_video("videos/other.mp4", frames=32, size=(80, 48)).rename(video)


def other_rate(video: Path, make_video: MakeVideo) -> None:
    make_video("videos/other.mp4", frames=32, fps=25).rename(video)


def shorter(video: Path, make_video: MakeVideo) -> None:
    make_video("videos/other.mp4", frames=12).rename(video)


def no_video(video: Path, make_video: MakeVideo) -> None:
    video.write_text("a web page that says no")


@pytest.mark.parametrize(
    ("spoil", "reason", "detail"),
    [
        (other_picture, "picture-mismatch", "of 30 frames differ"),
        (other_size, "picture-mismatch", "80x48 instead of 160x96"),
        (other_rate, "picture-mismatch", "instead of"),
        (shorter, "frame-missing", "before frame 12"),
        (no_video, "bad-video", ""),
    ],
)
def test_a_video_that_no_longer_matches_is_left_out_and_reported(
    labels: Path, make_video: MakeVideo, spoil: Callable[[Path, MakeVideo], None], reason: str, detail: str
) -> None:
    spoil(labels.parent / "videos" / "a.mp4", make_video)
    summary = run(labels)
    assert summary.exit_code == 1
    assert states(summary.out)["a"] == (State.QUARANTINED, reason)
    assert detail in summary.unfinished[0].detail
    assert f"{reason} 1" in summary.render()
    packed = reader.read_table(summary.out)["video_id"].to_pylist()
    assert packed == ["-b"] * 30 + ["c"] * 30
    assert reader.lineage(summary.out / "train-00000.parquet")["left_out"] == ["a"]


def test_a_missing_video_does_not_stop_the_others_and_comes_in_later(labels: Path) -> None:
    complete = contents(run(labels, "complete").out)
    video = labels.parent / "videos" / "a.mp4"
    hidden = video.rename(labels.parent / "a.mp4")
    first = run(labels)
    assert (first.exit_code, first.frames) == (1, 60)
    assert states(first.out)["a"] == (State.FAILED, "missing-video")
    still = run(labels)
    assert (still.exit_code, still.written) == (1, 0)
    hidden.rename(video)
    last = run(labels)
    assert (last.exit_code, last.written) == (0, 1)
    assert contents(last.out) == complete


def test_a_quarantined_video_is_not_decoded_again_until_it_changes(
    labels: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = labels.parent / "videos" / "a.mp4"
    good = video.read_bytes()
    other_picture(video, make_video)
    run(labels)
    decoded: list[str] = []
    read = pack_module.read_pictures
    monkeypatch.setattr(
        pack_module, "read_pictures", lambda path, *rest: (decoded.append(path.stem), read(path, *rest))
    )
    assert run(labels).written == 0
    assert decoded == []
    video.write_bytes(good)
    assert run(labels).exit_code == 0
    assert decoded == ["a"], "the pictures of c come from the shard that is replaced"


def test_packed_pictures_outlive_their_videos(labels: Path) -> None:
    complete = contents(run(labels, "complete").out)
    videos = labels.parent / "videos"
    hidden = (videos / "a.mp4").rename(labels.parent / "a.mp4")
    run(labels)
    (videos / "c.mp4").unlink()  # packed, so no longer needed, and in one shard with a
    hidden.rename(videos / "a.mp4")
    last = run(labels)
    assert (last.exit_code, last.written) == (0, 1)
    assert contents(last.out) == complete


def test_a_new_plan_does_not_cost_pictures_that_cannot_be_made_again(
    labels: Path, make_video: MakeVideo
) -> None:
    before = contents(run(labels).out)
    videos = labels.parent / "videos"
    kept = (videos / "c.mp4").rename(labels.parent / "c.mp4")
    label_video(labels, make_video("videos/new.mp4", frames=32), step=1, count=30)
    with pytest.raises(WhimError, match=r"1 are gone \(c\)") as caught:
        run(labels)
    assert caught.value.code == "videos-gone"
    assert contents(labels.parent / "shards") == before
    kept.rename(videos / "c.mp4")
    assert run(labels).frames == 120


def test_all_videos_missing_gives_no_shard(labels: Path) -> None:
    shutil.rmtree(labels.parent / "videos")
    summary = run(labels)
    assert (summary.exit_code, summary.shards, summary.frames) == (1, 0, 0)
    assert run(labels).written == 0


def test_a_video_larger_than_a_shard_gets_shards_of_its_own(
    labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    read = pack_module.read_pictures
    monkeypatch.setattr(
        pack_module, "read_pictures", lambda path, *rest: (decoded.append(path.stem), read(path, *rest))
    )
    third = 160 * 96 * 30 * 0.12 / 3
    summary = run(labels, shard_bytes=int(third) + 1)
    rows = {path.name: reader.read_table(path).num_rows for path in sorted(summary.out.glob("*.parquet"))}
    assert list(rows.values()) == [10] * 9
    assert decoded == ["-b", "a", "c"], "each video is decoded once"
    for split in ("test", "train"):
        videos = {
            row["video_id"] for path in summary.out.glob(f"{split}-*") for row in reader.iter_rows(path)
        }
        assert videos == {"test": {"-b"}, "train": {"a", "c"}}[split]
    (summary.out / "train-00001.parquet").unlink()
    assert run(labels, shard_bytes=int(third) + 1).written == 1
    assert states(summary.out)["a"] == (State.DONE, "")


def test_kill_and_rerun_gives_what_an_undisturbed_run_gives(labels: Path) -> None:
    size = 160 * 96 * 30 // 8  # one video per shard
    complete = contents(run(labels, "complete", shard_bytes=size).out)
    # The run is killed, without any chance to clean up, while its second shard lies half-written.
    code = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from whim.shards import pack
written = 0
write = pq.ParquetWriter.write_table
def write_and_die(self, table, **options):
    global written
    write(self, table, **options)
    written += bool(table.num_rows)
    if written == 2:
        os.kill(os.getpid(), signal.SIGKILL)
pq.ParquetWriter.write_table = write_and_die
pack.pack(Path(sys.argv[1]), videos=None, out=Path(sys.argv[2]), shard_bytes=int(sys.argv[3]))
"""
    out = labels.parent / "shards"
    killed = subprocess.run(
        [sys.executable, "-c", code, str(labels), str(out), str(size)], capture_output=True, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert sorted(contents(out)) != sorted(complete)
    assert any(path.name.startswith(".") for path in out.glob("*.parquet")), "a half-written shard is there"
    kept = {path: path.stat().st_mtime_ns for path in out.glob("test-*.parquet")}
    assert kept
    assert not is_current(labels, out)
    summary = run(labels, shard_bytes=size)
    assert (summary.exit_code, summary.written) == (0, len(complete) - len(kept))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(out) == complete
    assert is_current(labels, out)


def test_a_shard_without_a_ledger_line_is_adopted(labels: Path) -> None:
    out = run(labels).out
    lines = (out / "ledger.jsonl").read_text().splitlines(keepends=True)
    (out / "ledger.jsonl").write_text("".join(lines[:1]))
    assert run(labels).written == 0
    assert states(out) == dict.fromkeys(("a", "-b", "c"), (State.DONE, ""))


def test_a_damaged_shard_is_made_again(labels: Path) -> None:
    before = run(labels)
    path = before.out / "test-00000.parquet"
    good = path.read_bytes()
    path.write_bytes(good[:-30])
    assert not is_current(labels, before.out)
    assert run(labels).written == 1
    assert path.read_bytes() == good


def test_new_labels_change_the_plan_and_no_frame_is_there_twice(labels: Path, make_video: MakeVideo) -> None:
    size = 160 * 96 * 30 // 8
    out = run(labels, shard_bytes=size).out
    assert is_current(labels, out)
    label_video(labels, make_video("videos/aa.mp4", frames=32), step=1, count=30)
    shutil.rmtree(labels / "segments" / "-b")
    assert not is_current(labels, out)
    summary = run(labels, shard_bytes=size)
    assert summary.written == 2  # aa takes the name that c had; c moves on
    assert sorted(contents(out)) == ["train-00000.parquet", "train-00001.parquet", "train-00002.parquet"]
    keys = [(row["video_id"], row["frame_index"]) for row in reader.iter_rows(out)]
    assert len(keys) == len(set(keys)) == 90
    assert states(out)["-b"] == (State.FILTERED, "not-in-labels")
    assert is_current(labels, out)


def test_shards_of_other_labels_are_not_touched(labels: Path, tmp_path: Path) -> None:
    before = contents(run(labels).out)
    other = write_folder(tmp_path / "other", {"x": "train"}, segments=1, frames=2)
    with pytest.raises(UsageError, match="holds the shards of"):
        pack(other, videos=None, out=labels.parent / "shards")
    assert contents(labels.parent / "shards") == before


def test_a_full_disk_keeps_what_is_finished(labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pack_module.write_shard

    def full(target: Path, *rest: Any) -> None:
        if target.name.startswith("train"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(target, *rest)

    monkeypatch.setattr(pack_module, "write_shard", full)
    with pytest.raises(WhimError, match="Free some space") as caught:
        run(labels)
    assert caught.value.code == "disk-full"
    assert sorted(contents(labels.parent / "shards")) == ["test-00000.parquet"]
    monkeypatch.undo()
    assert run(labels).written == 1


def test_a_video_in_two_splits_is_refused(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "test")):
        rows = make_rows("a", count=2, split=split, first=12 * number)
        write_segment(tmp_path / "labels", rows, video_id="a", number=number)
    with pytest.raises(BadFileError, match="in several splits"):
        run(tmp_path / "labels")


def test_a_frame_labelled_twice_is_refused(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video("videos/a.mp4", frames=20)
    for number in range(2):
        label_video(tmp_path / "labels", video, count=3)
        (tmp_path / "labels/segments/a/00000.parquet").rename(
            tmp_path / f"labels/segments/a/{number}.parquet"
        )
    assert states(run(tmp_path / "labels").out)["a"] == (State.QUARANTINED, "bad-labels")


def test_videos_without_frames_are_empty_not_missing(tmp_path: Path) -> None:
    write_segment(tmp_path / "labels", [], video_id="nothing")
    summary = run(tmp_path / "labels")
    assert (summary.exit_code, summary.shards) == (0, 0)
    assert states(summary.out) == {"nothing": (State.EMPTY, "no-frames")}
    assert json.loads(json.dumps(summary.to_json()))["videos"]["empty"] == 1


def test_the_plan_keeps_order_and_size(tmp_path: Path) -> None:
    splits = {f"v{number}": ("train", "test", "")[number % 3] for number in range(12)}
    videos = survey(write_folder(tmp_path, splits, segments=1, frames=5))
    one = videos[0].estimate
    plan = plan_shards(videos, int(2.5 * one))
    assert [shard.name for shard in plan] == [
        f"{split}-{number:05d}.parquet" for split in ("unsplit", "test", "train") for number in range(2)
    ]
    assert all(len(shard.pieces) == 2 for shard in plan)
    assert [piece.video.video_id for shard in plan for piece in shard.pieces] == [v.video_id for v in videos]
    whole = ShardPlan(name="x", pieces=(Piece(video=videos[0], start=0, stop=5),))
    part = ShardPlan(name="x", pieces=(Piece(video=videos[0], start=0, stop=4),))
    assert whole.digest != part.digest


def test_pictures_open_as_hugging_face_images(labels: Path) -> None:
    schema = pq.read_schema(run(labels).out / "test-00000.parquet")
    assert json.loads(schema.metadata[b"huggingface"])["info"]["features"]["image"] == {"_type": "Image"}
    row = next(reader.iter_rows(labels.parent / "shards" / "test-00000.parquet"))
    assert io.BytesIO(row["image"]["bytes"]).read(3) == b"\xff\xd8\xff"
