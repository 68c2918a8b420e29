"""Fitted hands over a frame, in the gallery and alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from test_gallery import data_of

from whim.synth.config import SynthConfig
from whim.synth.dataset import SynthDataset
from whim.synth.write import synth
from whim.viz.gallery import write_gallery
from whim.viz.meshes import MeshLayer
from whim.viz.overlay import SIDE_COLOURS

ARMS = SynthConfig(width=320, height=240, people=0, first_person=0, interacting=0, empty=0, occluders=0)


def one_hand(side: int) -> dict:
    dataset = SynthDataset(ARMS, seed=0)
    return next(
        row
        for _, row in dataset
        if len(row["hands"]) == 1
        and row["hands"][0]["side"] == side
        and min(row["hands"][0]["keypoint_scores"]) > 0
    )


def test_the_mesh_covers_the_hand_in_its_colour() -> None:
    for side in (0, 1):
        row = one_hand(side)
        layer = MeshLayer().draw(row, longest=320)
        assert layer is not None
        assert layer.shape == (row["height"], row["width"], 4)
        rows, columns = np.nonzero(layer[..., 3] > 100)
        drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(drawn, row["hands"][0]["box"], atol=1.5)
        tint = np.median(layer[rows, columns, :3], axis=0)
        other = SIDE_COLOURS[1 - side]
        assert np.linalg.norm(tint - SIDE_COLOURS[side]) < np.linalg.norm(tint - np.array(other))


def test_a_smaller_picture_shows_the_same() -> None:
    row = one_hand(1)
    large, small = (MeshLayer().draw(row, longest=longest) for longest in (320, 160))
    assert large is not None
    assert small is not None
    shrunk = cv2.resize(large[..., 3], small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small[..., 3]).mean() < 3


def test_what_cannot_be_drawn_is_left_out() -> None:
    row = one_hand(1)
    layer = MeshLayer()
    (hand,) = row["hands"]
    stranger = {**hand, "mano": {**hand["mano"], "topology": "mano-0123456789ab"}}
    for hands in ([], [stranger], [{**hand, "mano": None}], [{**hand, "camera": None}]):
        assert layer.draw({**row, "hands": hands}, longest=320) is None
    layer.learn({"config": {"fit": {"hand": "/nowhere/MANO_RIGHT.pkl"}}})
    layer.learn({})
    assert layer.draw(row, longest=320) is not None


def test_pixel_shards_are_shown_from_their_own_pictures(tmp_path: Path) -> None:
    synth(tmp_path / "shards", count=6, seed=0, workers=1, config=ARMS)
    page = write_gallery(tmp_path / "shards", out=tmp_path / "page", videos=None, limit=6)
    cards = data_of(page)["frames"]
    assert len(cards) == 6
    for card in cards:
        assert card["problem"] == ""
        large = cv2.imread(str(page.parent / f"{card['picture']}-large.jpg"))
        assert large.shape[:2] == tuple(reversed(card["size"]))
        assert card["mesh"] == bool(card["hands"])
        if card["mesh"]:
            layer = cv2.imread(str(page.parent / f"{card['picture']}-mesh.webp"), cv2.IMREAD_UNCHANGED)
            assert layer.shape == (*large.shape[:2], 4)
            assert card["hands"][0]["fit"]["distance"] > 0
    # A second page without meshes leaves none behind.
    write_gallery(tmp_path / "shards", out=tmp_path / "page", videos=None, limit=1)
    assert len(list((tmp_path / "page" / "pictures").iterdir())) <= 3
