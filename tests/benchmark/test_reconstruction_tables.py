"""Tables 3 to 5: rows that run, rows that cannot, published rows, and the challenges' files."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from whim.benchmark.reconstruction.config import (
    ReconstructionBenchmarkConfig,
    RowConfig,
    SetConfig,
)
from whim.benchmark.reconstruction.published import PublishedRow
from whim.benchmark.reconstruction.run import run_reconstruction_benchmark
from whim.benchmark.reconstruction.types import Predicted, same_mesh
from whim.benchmark.rows import published_rows
from whim.config import load_config
from whim.errors import UsageError
from whim.hands import kinematics
from whim.hands.open_hand import load_open_hand
from whim.metrics.reconstruction import ReconstructionMeter
from whim.metrics.submission import read_submission, swap_opengl, to_challenge
from whim.resources import shipped
from whim.shards.pixel_writer import write_pictures

SIZE = (96, 64)
COUNT = 4


def fixed_hands(count=COUNT, seed=0):
    """Betas, pose, orientation, translation of right hands before the camera."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(scale=0.5, size=(count, 10)),
        rng.normal(scale=0.2, size=(count, 15, 3)),
        rng.normal(scale=0.3, size=(count, 3)),
        np.tile([0.0, 0.0, 0.7], (count, 1)),
    )


def label(box, joints, mano=None, side=1):
    return {
        "box": box, "side": side, "side_score": 1.0, "score": 1.0, "keypoints_2d": None, "keypoint_scores": None,
        "person": -1, "votes": [], "agreement": 1.0, "joints_3d": joints, "mano": mano,
        "camera": {"focal": [500.0, 500.0], "center": [48.0, 32.0], "assumed": False}, "fit": None,
    }  # fmt: skip


def parameters(hands, index, topology):
    names = ("betas", "hand_pose", "global_orient", "translation")
    return {**{k: v[index].tolist() for k, v in zip(names, hands, strict=True)}, "topology": topology}


def shards(folder, keys, hands_of, broken=()):
    """A shard with one picture per key; ``hands_of(index)`` gives the label hands."""
    good = cv2.imencode(".png", np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))[1].tobytes()
    rows = (
        (
            b"no picture" if index in broken else good,
            {
                "video_id": video, "split": "test", "frame_index": frame, "time_s": 0.0, "width": SIZE[0],
                "height": SIZE[1], "picture_hash": 0, "persons": [], "hands": hands_of(index),
            },
        )
        for index, (video, frame) in enumerate(keys)
    )  # fmt: skip
    folder.mkdir(parents=True)
    write_pictures(folder / "test-00000.parquet", rows, {"licence": "a test"})
    return folder


class Answers:
    """A method that knows the answer to each picture."""

    implementation, device = "a test", "here"

    def __init__(self, answers):
        self.answers = answers
        self.views = []

    def predict(self, views):
        self.views += views
        return [self.answers[view.key] for view in views]


@pytest.fixture
def freihand(tmp_path):
    """The challenge with four hands: its own files, the imported shards, and the true arrays."""
    model, hands = load_open_hand(), fixed_hands()
    joints, skin = kinematics.keypoints(model, *hands), kinematics.vertices(model, *hands)
    official = tmp_path / "FreiHAND"
    official.mkdir()
    (official / "evaluation_xyz.json").write_text(json.dumps(joints.tolist()))
    (official / "evaluation_verts.json").write_text(json.dumps(skin.tolist()))
    keys = [("evaluation", number) for number in range(COUNT)]
    path = shards(tmp_path / "set", keys, lambda index: [label([20, 10, 70, 50], joints[index].tolist())])
    where = SetConfig(name="FreiHAND", path=path, column="freihand", official=official)
    return where, joints, skin


def table(where, *rows, **more):
    return ReconstructionBenchmarkConfig(rows=rows, sets=(where,), **more)


def test_predictors_published_rows_and_reasons_stand_in_one_table(freihand, tmp_path):
    where, joints, skin = freihand
    rng = np.random.default_rng(1)
    turn = Rotation.random(COUNT, random_state=2).as_matrix()
    wrong = 1.3 * (joints + rng.normal(scale=0.004, size=joints.shape)) @ turn
    wrong_skin = 1.3 * (skin + rng.normal(scale=0.003, size=skin.shape)) @ turn
    answers = {
        ("evaluation", n): Predicted(
            joints=wrong[n : n + 1], vertices=wrong_skin[n : n + 1], topology="mano-x"
        )
        for n in range(COUNT)
    }
    answers["evaluation", 2] = Predicted.nothing(1)
    method = Answers(answers)
    mirrored = Answers({key: replace(one, joints=one.joints * [-1, 1, 1]) for key, one in answers.items()})
    config = table(
        where,
        RowConfig(name="METRO", published="METRO"),
        RowConfig(name="ours", published="Proposed"),
        RowConfig(name="mirrored"),
        RowConfig(name="later", checkpoint=tmp_path / "none.safetensors", training="configs/x.yaml"),
        batch=3,
        out=tmp_path / "report",
    )
    report = run_reconstruction_benchmark(config, predictors={"ours": method, "mirrored": mirrored})
    meter = ReconstructionMeter()
    for n in range(COUNT):
        found = n != 2
        meter.add(
            wrong[n] if found else None,
            joints[n].astype(np.float32),
            wrong_skin[n] if found else None,
            skin[n].astype(np.float32),
        )
    scores = report.cells["ours", "FreiHAND"].scores
    assert scores == meter.scores()
    assert (scores.hands, scores.missing) == (4, 1)
    assert 0 < scores.f5 < scores.f15 < 1
    assert [view.key for view in method.views] == list(answers)
    assert method.views[0].boxes.tolist() == [[20, 10, 70, 50]]
    assert not hasattr(method.views[0], "joints")
    other = report.cells["mirrored", "FreiHAND"].scores
    assert other.pa_mpjpe == pytest.approx(scores.pa_mpjpe)
    assert other.proper_pa_mpjpe > scores.proper_pa_mpjpe + 5
    text = report.render()
    assert "METRO: not run: printed in the paper" in text
    assert "later: not run: " in text
    assert "whim train-reconstructor --config configs/x.yaml" in text
    line = next(line for line in text.splitlines() if line.split()[:1] == ["METRO"])
    assert line.split()[1:] == ["-"] * 7 + ["6.5", "6.3", "0.731", "0.984"]
    # Files: the same numbers, published rows marked as such.
    saved = json.loads((tmp_path / "report/report.json").read_text())
    assert saved["sets"][0]["cells"]["ours"]["scores"]["pa_mpjpe"] == round(scores.pa_mpjpe, 6)
    lines = list(csv.DictReader(io.StringIO((tmp_path / "report/report.csv").read_text())))
    assert [(one["method"], one["kind"]) for one in lines] == [
        ("METRO", "measured"), ("METRO", "published"), ("ours", "measured"), ("ours", "published"),
        ("mirrored", "measured"), ("later", "measured"),
    ]  # fmt: skip
    assert lines[0]["pa_mpjpe"] == ""
    assert lines[1]["pa_mpjpe"] == "6.5"
    assert "| METRO | - |" in (tmp_path / "report/report.md").read_text()
    # The submission has the same hands in the challenge's order, and nothing for the missing one.
    assert report.cells["ours", "FreiHAND"].submission == "submissions/ours--freihand/pred.zip"
    sent = read_submission(tmp_path / "report/submissions/ours--freihand/pred.json", "freihand")
    assert np.allclose(sent[3][0], wrong[3], atol=1e-6)
    assert np.allclose(sent[3][1], wrong_skin[3], atol=1e-6)
    assert not sent[2][0].any()


def test_labels_as_predictions_are_matched_by_boxes(freihand, tmp_path):
    where, joints, _ = freihand
    hands, topology = fixed_hands(), load_open_hand().topology
    far, near = [0, 0, 9, 9], [25, 12, 72, 55]

    def found(index):
        stray = label(far, (joints[index] * 2 + 1).tolist())
        if index == 1:
            return [stray]  # found nothing where the hand is
        return [stray, label(near, joints[index].tolist(), parameters(hands, index, topology))]

    keys = [("evaluation", number) for number in range(COUNT - 1)]  # the last picture was not looked at
    labels = shards(tmp_path / "labels", keys, found)
    elsewhere = shards(tmp_path / "others", [("x", 0)], found)
    config = table(
        where, RowConfig(name="labels", labels=labels), RowConfig(name="others", labels=elsewhere), limit=4
    )
    report = run_reconstruction_benchmark(config)
    scores = report.cells["labels", "FreiHAND"].scores
    assert (scores.hands, scores.missing) == (4, 2)
    expected = ReconstructionMeter()
    for index in range(COUNT):
        expected.add(joints[index] if index in (0, 2) else None, joints[index])
    assert scores.pa_mpjpe == pytest.approx(expected.scores().pa_mpjpe, abs=1e-3)
    # The open hand's mesh is not MANO's, although both have 778 vertices: F-scores, but no vertex error.
    assert scores.pa_mpvpe is None
    assert scores.f15 is not None
    assert "no picture (recording and frame) in common" in report.cells["others", "FreiHAND"].reason


def test_own_shards_need_no_official_files(tmp_path):
    model, hands = load_open_hand(), fixed_hands(2)
    joints = kinematics.keypoints(model, *hands)
    left = joints * [-1, 1, 1]

    def two(index):
        mano = parameters(hands, index, model.topology)
        return [
            label([0, 0, 40, 40], joints[index].tolist(), mano),
            label([50, 0, 90, 40], left[index].tolist(), None, side=0),
        ]

    path = shards(tmp_path / "set", [("a", 0), ("a", 1)], two)
    where = SetConfig(name="own", path=path, hand="open-hand")
    config = table(where, RowConfig(name="same", labels=path, published="Proposed"), out=tmp_path / "out")
    report = run_reconstruction_benchmark(config)
    cell = report.cells["same", "own"]
    assert (cell.scores.hands, cell.scores.missing) == (4, 0)
    assert cell.scores.pa_mpjpe < 1e-4
    assert cell.scores.pa_mpvpe is None  # half of the hands have no parameters
    assert cell.submission == ""
    assert "published: printed" not in report.render()  # the paper has nothing on this set


def test_ho3d_submissions_turn_axes_and_keep_the_challenge_order(tmp_path):
    model, hands = load_open_hand(), fixed_hands(2)
    joints, skin = kinematics.keypoints(model, *hands), kinematics.vertices(model, *hands)
    official = tmp_path / "HO3D"
    official.mkdir()
    (official / "evaluation.txt").write_text("SM1/0004\nAP10/0002\n")
    (official / "evaluation_xyz.json").write_text(json.dumps(to_challenge(joints, "ho3d").tolist()))
    (official / "evaluation_verts.json").write_text(json.dumps(swap_opengl(skin).tolist()))
    keys = [("AP10", 2), ("SM1", 4)]  # shards are sorted by recording
    path = shards(tmp_path / "set", keys, lambda index: [label([20, 10, 70, 50], None)])
    answers = Answers(
        {
            ("SM1", 4): Predicted(joints=joints[:1], vertices=skin[:1], topology="mano"),
            ("AP10", 2): Predicted(joints=joints[1:], vertices=skin[1:], topology="mano"),
        }
    )
    where = SetConfig(name="HO-3D v2", path=path, column="ho3d-v2", official=official)
    rows = (RowConfig(name="right", published="HaMeR"), RowConfig(name="behind"))
    behind = Answers({k: replace(v, joints=v.joints - [0, 0, 2]) for k, v in answers.answers.items()})
    config = table(where, *rows, table=4, out=tmp_path / "out")
    report = run_reconstruction_benchmark(config, predictors={"right": answers, "behind": behind})
    scores = report.cells["right", "HO-3D v2"].scores
    assert scores.pa_mpjpe < 1e-3
    assert scores.pa_mpvpe < 1e-3
    assert scores.f5 == 1
    sent = json.loads((tmp_path / "out/submissions/right--ho-3d-v2/pred.json").read_text())
    truth = json.loads((official / "evaluation_xyz.json").read_text())
    assert np.allclose(sent[0], truth, atol=2e-6)
    assert "in front of the camera" in report.cells["behind", "HO-3D v2"].submission
    assert "0.846" in report.render()
    limited = run_reconstruction_benchmark(
        config.model_copy(update={"limit": 1}), predictors={"right": answers}
    )
    assert "1 of the challenge's 2" in limited.cells["right", "HO-3D v2"].submission


def test_pictures_that_cannot_be_read_count_as_missing_and_answers_are_checked(tmp_path):
    joints = kinematics.keypoints(load_open_hand(), *fixed_hands(3))
    keys = [("a", 0), ("a", 1), ("a", 2)]
    path = shards(tmp_path / "set", keys, lambda index: [label([0, 0, 40, 40], joints[index].tolist())], {1})
    config = table(SetConfig(name="own", path=path), RowConfig(name="right"))
    right = Answers({key: Predicted(joints=joints[n : n + 1]) for n, key in enumerate(keys)})
    report = run_reconstruction_benchmark(config, predictors={"right": right})
    cell = report.cells["right", "own"]
    assert (cell.scores.hands, cell.scores.missing, len(cell.unreadable)) == (3, 1, 1)
    assert [view.key for view in right.views] == [keys[0], keys[2]]
    assert "1 pictures cannot be read" in report.render()
    two = Answers({key: Predicted(joints=joints[:2]) for key in keys})
    with pytest.raises(RuntimeError, match="joints of the shape"):
        run_reconstruction_benchmark(config, predictors={"right": two})


def test_what_is_wrong_is_said(freihand, tmp_path):
    where, *_ = freihand
    with pytest.raises(UsageError, match="has no 'Nobody'"):
        run_reconstruction_benchmark(table(where, RowConfig(name="a", published="Nobody")))
    with pytest.raises(UsageError, match="no row for the predictor 'b'"):
        run_reconstruction_benchmark(table(where, RowConfig(name="a")), predictors={"b": Answers({})})
    gone = SetConfig(name="gone", path=tmp_path / "gone")
    with pytest.raises(UsageError, match="gone"):
        run_reconstruction_benchmark(table(gone, RowConfig(name="a")))
    short = json.loads((where.official / "evaluation_verts.json").read_text())[:2]
    (where.official / "evaluation_verts.json").write_text(json.dumps(short))
    with pytest.raises(UsageError, match="2 meshes for 4 hands"):
        run_reconstruction_benchmark(table(where, RowConfig(name="a")))
    assert same_mesh("mano", "mano-0123")
    assert not same_mesh("mano", "open-hand-0123")
    assert not same_mesh("", "")


@pytest.mark.parametrize("name", ["", "-table3", "-table4", "-table5"])
def test_shipped_tables_are_whole(name):
    config = load_config(
        ReconstructionBenchmarkConfig, shipped(f"configs/benchmark/reconstruction{name}.yaml")
    )
    paper = published_rows(PublishedRow, config.published, config.table)
    assert all(row.published in paper for row in config.rows if row.published)
    if name:  # every printed row stands in the table
        assert {row.published for row in config.rows} - {None} == set(paper)
    for row in config.rows:
        if row.training is not None:
            assert shipped(row.training).is_file()


def test_a_checkpoint_runs_on_the_given_boxes(freihand, tmp_path):
    pytest.importorskip("torch")
    from whim.reconstructor.config import NetworkConfig
    from whim.reconstructor.network import Reconstructor
    from whim.reconstructor.weights import save_network

    where, *_ = freihand
    tiny = load_config(NetworkConfig, None, ["backbone.size=tiny"])
    path = tmp_path / "tiny.safetensors"
    save_network(Reconstructor(tiny, load_open_hand()), path)
    config = table(where, RowConfig(name="tiny", checkpoint=path), device="cpu", out=tmp_path / "out")
    cell = run_reconstruction_benchmark(config).cells["tiny", "FreiHAND"]
    assert cell.reason == ""
    assert (cell.scores.hands, cell.scores.missing) == (4, 0)
    assert "crop 2 x box" in cell.implementation
    assert cell.submission == "submissions/tiny--freihand/pred.zip"
    other = run_reconstruction_benchmark(table(where, RowConfig(name="tiny", checkpoint=path, hand="no.pkl")))
    assert "no.pkl" in other.cells["tiny", "FreiHAND"].reason
