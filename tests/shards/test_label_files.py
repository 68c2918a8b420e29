"""Label files: rows, round trips, lengths, versions, damage."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shards.factories import make_hand, make_lineage, make_row, make_rows, write_folder, write_segment

from whim.conventions import Side
from whim.errors import BadFileError
from whim.shards import reader, schema
from whim.shards.writer import to_table, write_labels

FIT = {
    "joints_3d": [[0.1, 0.2, 0.5]] * 21,
    "mano": {
        "global_orient": [0.1, 0.2, 0.3],
        "hand_pose": [[0.1, 0.0, 0.2]] * 15,
        "betas": [0.5] * 10,
        "translation": [0.0, 0.0, 0.6],
        "topology": "open-hand",
    },
    "camera": {"focal": [1000.0, 1000.0], "center": [640.0, 360.0], "assumed": True},
    "fit": {"residual": 0.02, "violation": 0.0, "converged": True, "solver": "lbfgs"},
}


def as_float32(value: Any) -> Any:
    """The value as it comes back from float32 columns."""
    if isinstance(value, dict):
        return {key: item if key == "time_s" else as_float32(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_float32(item) for item in value]
    return float(np.float32(value)) if isinstance(value, float) else value


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = make_rows("-starts with a dash", count=30)
    rows[3]["picture_hash"] = 2**64 - 1
    path = write_segment(tmp_path, rows, video_id="-starts with a dash")
    assert list(reader.iter_rows(tmp_path)) == as_float32(rows)
    assert reader.lineage(path) == make_lineage()
    assert any(hand["keypoints_2d"] is None for row in rows for hand in row["hands"]), "a case worth testing"


def test_a_hand_becomes_a_row_with_all_that_is_known_of_it() -> None:
    hand = make_hand(
        np.random.default_rng(0), side=Side.LEFT, detectors=["mediapipe", "contacthands"], person=2
    )
    (row,) = make_row(np.random.default_rng(1), hands=[hand])["hands"]
    assert row["box"] == list(hand.box)
    assert (row["side"], row["person"]) == (0, 2)
    assert [(v["detector"], v["implementation"], v["side"]) for v in row["votes"]] == [
        ("mediapipe", "mediapipe-hands", 0),
        ("contacthands", "handtrackjs", -1),
    ]
    assert {row[name] for name in ("joints_3d", "mano", "camera", "fit")} == {None}


@pytest.mark.parametrize("fitted", [[True, False, True], [False, True], [True, True], [False, False]])
def test_fitted_hands_and_others_lie_side_by_side(tmp_path: Path, fitted: list[bool]) -> None:
    # Arrow before 26 cannot read null fixed-size lists, so the schema must not contain them.
    rng = np.random.default_rng(0)
    row = make_row(rng, hands=[make_hand(rng, keypoints=fit) for fit in fitted])
    for hand, fit in zip(row["hands"], fitted, strict=True):
        hand.update(FIT if fit else {})
    write_segment(tmp_path, [row], video_id="clip")
    assert list(reader.iter_rows(tmp_path)) == as_float32([row])


def test_no_fixed_size_list_may_be_null() -> None:
    def walk(field: pa.Field, below_null: bool) -> None:
        fixed = pa.types.is_fixed_size_list(field.type)
        assert not (fixed and (field.nullable or below_null)), field
        nullable = field.nullable or (below_null and not pa.types.is_list(field.type))
        children = [field.type.value_field] if fixed or pa.types.is_list(field.type) else []
        for child in children or (list(field.type) if pa.types.is_struct(field.type) else []):
            # Inside a plain list nothing is left of a null above it: the list itself was null or empty.
            walk(child, nullable and not pa.types.is_list(field.type))

    for field in schema.label_schema():
        walk(field, False)


def test_every_field_says_what_it_means() -> None:
    for field in schema.label_schema():
        assert field.metadata[b"doc"], field.name
    hand = schema.label_schema().field("hands").type.value_field.type
    assert b"0 left, 1 right" in hand.field("side").metadata[b"doc"]
    assert b"pixels" in hand.field("box").metadata[b"doc"]
    assert hand.field("keypoints_2d").metadata[schema.KEY_SHAPE] == b"21,2"


def test_an_empty_segment_is_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "segments" / "clip" / "00000.parquet"
    assert write_labels(path, [], make_lineage()) == 0
    reader.check_file(path)
    assert reader.read_table(tmp_path).num_rows == 0


def spoil_keypoints(row: dict[str, Any]) -> None:
    row["hands"][0]["keypoints_2d"].pop()


def spoil_betas(row: dict[str, Any]) -> None:
    row["hands"][0].update(FIT | {"mano": FIT["mano"] | {"betas": [0.0] * 9}})


def spoil_box(row: dict[str, Any]) -> None:
    row["hands"][0]["box"].append(1.0)


def spoil_name(row: dict[str, Any]) -> None:
    row["frame"] = row.pop("frame_index")


def spoil_score(row: dict[str, Any]) -> None:
    row["hands"][0]["score"] = None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_keypoints, r"hands.keypoints_2d: 20 values instead of 21 \(shape 21,2\)"),
        (spoil_betas, r"hands.mano.betas: 9 values instead of 10"),
        (spoil_box, r"4"),
        (spoil_name, r"frame_index"),
        (spoil_score, r"hands.score: may not be null"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(spoil: Callable[[dict[str, Any]], None], message: str) -> None:
    rng = np.random.default_rng(0)
    row = make_row(rng, hands=[make_hand(rng)])
    to_table([row], schema.label_schema())
    spoil(row)
    with pytest.raises(ValueError, match=message):
        to_table([row], schema.label_schema())


def test_label_files_are_compressed_and_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = make_rows("clip", count=20)
    paths = [tmp_path / name / "a.parquet" for name in ("one", "two")]
    for path in paths:
        write_labels(path, rows, make_lineage())
    assert paths[0].read_bytes() == paths[1].read_bytes()
    group = pq.read_metadata(paths[0]).row_group(0)
    assert {group.column(index).compression for index in range(group.num_columns)} == {"ZSTD"}


def test_files_are_found_in_order_and_half_written_ones_are_not(tmp_path: Path) -> None:
    write_folder(tmp_path, {"b": "train", "-a": "test"}, segments=3, frames=1)
    (tmp_path / "segments" / "b" / ".00001.77.tmp.parquet").write_bytes(b"half")
    (tmp_path / "gallery").mkdir()
    found = reader.label_files(tmp_path)
    assert [f"{path.parent.name}/{path.stem}" for path in found] == [
        f"{video}/{number:05d}" for video in ("-a", "b") for number in range(3)
    ]
    assert reader.label_files(tmp_path / "segments" / "b") == found[3:]
    assert reader.label_files(found[0]) == [found[0]]
    assert reader.read_table(tmp_path, ["video_id"])["video_id"].to_pylist() == ["-a"] * 3 + ["b"] * 3


@pytest.mark.parametrize(
    ("version", "code", "advice"),
    [
        ("2", "newer-format", "pip install --upgrade whim"),
        ("0", "older-format", "annotate again"),
        ("", "bad-file", "not one of WHIM"),
    ],
)
def test_other_format_versions_say_what_to_do(tmp_path: Path, version: str, code: str, advice: str) -> None:
    path = tmp_path / "x.parquet"
    other = schema.label_schema().with_metadata({schema.KEY_VERSION: version} if version else {})
    pq.write_table(other.empty_table(), path)
    with pytest.raises(BadFileError, match=advice) as caught:
        reader.check_file(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    columns = schema.label_schema()
    pq.write_table(columns.remove(columns.get_field_index("hands")).empty_table(), path)
    with pytest.raises(BadFileError, match="column hands"):
        reader.read_file(path)


@pytest.mark.parametrize("damage", ["cut", "empty", "page", "missing"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = write_segment(tmp_path, make_rows("clip", count=50), video_id="clip")
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        page = whole[:4] + bytes(2000) + whole[2004:]
        path.write_bytes({"cut": whole[:-50], "empty": b"", "page": page}[damage])
    with pytest.raises(BadFileError, match=str(path)):
        reader.read_file(path)


def test_nothing_there_says_which_command_writes_labels(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadFileError, match="whim annotate"):
            reader.read_table(path)


def test_a_full_disk_leaves_the_old_file_and_no_half(tmp_path: Path) -> None:
    path = tmp_path / "clip.parquet"
    write_labels(path, make_rows("clip", count=2), make_lineage())
    before = path.read_bytes()
    # A process that may write no file larger than 20 kB meets the same failed write() as one on a full disk.
    code = """
import sys
from pathlib import Path
from shards.factories import make_rows
from whim.shards.writer import write_labels
try:
    write_labels(Path(sys.argv[1]), make_rows("clip", count=400), {})
except OSError as error:
    print("errno", error.errno)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        ),
    )
    assert run.stdout.startswith("errno"), run.stderr
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["clip.parquet"]


def test_hugging_face_features_name_every_column() -> None:
    features = json.loads(schema.pixel_schema().metadata[schema.KEY_HUGGINGFACE])["info"]["features"]
    assert list(features) == ["image", *schema.label_schema().names]
    assert features["image"] == {"_type": "Image"}
    hand = features["hands"]["feature"]
    assert hand["box"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "List"}
    assert hand["keypoints_2d"]["feature"]["length"] == 2
