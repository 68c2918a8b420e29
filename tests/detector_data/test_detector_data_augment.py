"""Pictures and labels move together: against a slow reference, under mirrors, at edges, under masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from detector_data.scenes import THUMB_TIP, TIP_COLOUR, WRIST, WRIST_COLOUR, make_set

from whim.conventions import Side
from whim.detector.data import pictures
from whim.detector.data.augment import Decoded, decode, fit_whole, make_samples
from whim.detector.data.colours import cover
from whim.detector.data.config import AugmentConfig
from whim.detector.data.draws import PictureDraw, SampleDraw, TileDraw, draw_sample
from whim.detector.data.hands import Hands
from whim.detector.data.layout import compose, letterbox, move, turn, zoom
from whim.detector.data.refit import clip, transform
from whim.detector.data.warp import FILL
from whim.geometry.boxes import hull

SIZE = 160
GEOMETRY = AugmentConfig.off().model_copy(
    update={
        "mosaic": 0.7,
        "rotation": 60.0,
        "translation": 0.1,
        "scale": (0.5, 1.0),
        "flip": 0.5,
        "crop": 0.5,
    }
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> list[Decoded]:
    """Pictures twice as large as the input: they are decoded reduced."""
    pictures_ = make_set(tmp_path_factory.mktemp("pictures"), 6, size=(400, 248))
    decoded = [decode(pictures_[row], SIZE) for row in range(6)]
    assert {one.factor for one in decoded} == {2}
    return decoded


def make_sample(pool: list[Decoded], draw: SampleDraw) -> tuple[np.ndarray, Hands]:
    """RGB picture and hands of one draw."""
    out = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    (hands,) = make_samples(pool, [draw], list(out), GEOMETRY)
    return out[0], hands


def make_picture(pool: list[Decoded], draw: PictureDraw) -> tuple[np.ndarray, Hands]:
    """BGR picture and hands of a draw without colours and masks."""
    plain = draw_sample(np.random.default_rng(0), AugmentConfig.off(), own=0, pool=1, plain=True)
    picture, hands = make_sample(pool, replace(plain, pictures=(draw,)))
    return picture[..., ::-1], hands


def slow_picture(pool: list[Decoded], draw: PictureDraw) -> tuple[np.ndarray, np.ndarray]:
    """Every pixel of the made picture followed back, step by step, to a full-size source; and which lie near an edge.

    No matrices, no reduced decoding: shift, scale, turn, place on the double canvas, fit, mirror, crop, one after
    the other.
    """
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    x, y = x - SIZE * (0.5 + draw.shift[0]), y - SIZE * (0.5 + draw.shift[1])
    x, y = x / draw.scale, y / draw.scale
    cos, sin = np.cos(-draw.angle), np.sin(-draw.angle)
    x, y = cos * x - sin * y, sin * x + cos * y
    result = np.full((SIZE, SIZE, 3), float(FILL))
    edge = np.zeros((SIZE, SIZE), bool)
    for place, tile in enumerate(draw.tiles):
        record = pool[tile.index].record
        full = pictures.read(record, 1).astype(np.float64)
        left, top, right, bottom = np.array(tile.crop) * np.array([*record.size, *record.size])
        scale = SIZE / max(right - left, bottom - top)
        if len(draw.tiles) == 1:
            u, v = x + scale * (right - left) / 2, y + scale * (bottom - top) / 2
        else:
            u, v = x + SIZE - 2 * SIZE * draw.centre[0], y + SIZE - 2 * SIZE * draw.centre[1]
            u = u + scale * (right - left) if place in (0, 2) else u
            v = v + scale * (bottom - top) if place in (0, 1) else v
        u, v = u / scale, v / scale
        u = (right - left) - u if tile.flip else u
        u, v = u + left, v + top
        inside = (u >= left) & (u <= right) & (v >= top) & (v <= bottom)
        margin = 2.5 / (scale * draw.scale)
        deep = (u >= left + margin) & (u <= right - margin) & (v >= top + margin) & (v <= bottom - margin)
        near = (u >= left - margin) & (u <= right + margin) & (v >= top - margin) & (v <= bottom + margin)
        edge |= near & ~deep
        taken = cv2.remap(
            full.astype(np.float32),
            (u - 0.5).astype(np.float32),
            (v - 0.5).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        result[inside] = taken[inside]
    return result, edge


def slow_points(
    points: np.ndarray, tile: TileDraw, place: int, draw: PictureDraw, size: tuple[int, int]
) -> np.ndarray:
    """Source points (n, 2) carried forward through the same steps."""
    left, top, right, bottom = np.array(tile.crop) * np.array([*size, *size])
    scale = SIZE / max(right - left, bottom - top)
    p = points - (left, top)
    p = np.stack([(right - left) - p[:, 0], p[:, 1]], axis=1) if tile.flip else p
    p = p * scale
    if len(draw.tiles) == 1:
        p = p - np.array([right - left, bottom - top]) * scale / 2
    else:
        corner = 2 * SIZE * np.array(draw.centre)
        corner[0] -= scale * (right - left) if place in (0, 2) else 0
        corner[1] -= scale * (bottom - top) if place in (0, 1) else 0
        p = p + corner - SIZE
    cos, sin = np.cos(draw.angle), np.sin(draw.angle)
    p = np.stack([cos * p[:, 0] - sin * p[:, 1], sin * p[:, 0] + cos * p[:, 1]], axis=1)
    return p * draw.scale + SIZE * (0.5 + np.array(draw.shift))


def test_one_warp_per_tile_shows_what_the_steps_show(pool: list[Decoded]) -> None:
    kinds = set()
    for seed in range(12):
        draw = draw_sample(np.random.default_rng(seed), GEOMETRY, own=seed % 6, pool=6, plain=False).pictures[
            0
        ]
        kinds.add(len(draw.tiles))
        fast, _ = make_picture(pool, draw)
        slow, edge = slow_picture(pool, draw)
        assert edge.mean() < 0.3
        difference = np.abs(fast - slow)[~edge]
        # Half a pixel of shift gives means up to 2; reduced decoding, which averages two pixels, 0.35.
        assert difference.mean() < 0.5
        assert np.quantile(difference, 0.99) < 2
    assert kinds == {1, 4}


def test_labels_follow_the_same_steps(pool: list[Decoded]) -> None:
    for seed in range(12):
        draw = draw_sample(np.random.default_rng(seed), GEOMETRY, own=seed % 6, pool=6, plain=False).pictures[
            0
        ]
        records = [pool[tile.index].record for tile in draw.tiles]
        tiles = compose(draw, [record.size for record in records], SIZE)
        for place, (tile, record) in enumerate(zip(tiles, records, strict=True)):
            moved = transform(record.hands, tile.matrix)
            wanted = slow_points(record.hands.keypoints[0], draw.tiles[place], place, draw, record.size)
            np.testing.assert_allclose(moved.keypoints[0], wanted, atol=1e-3)
            flipped = draw.tiles[place].flip
            assert moved.side[0] == (1 - record.hands.side[0] if flipped else record.hands.side[0])


def test_many_samples_at_once_are_what_each_is_alone(pool: list[Decoded]) -> None:
    pool = [*pool, replace(pool[0], record=replace(pool[0].record, hands=Hands.none()))]
    config = AugmentConfig(mosaic=0.6, mixup=0.3, masking=0.5)
    draws = [
        draw_sample(np.random.default_rng(seed), config, own=seed % 7, pool=7, plain=False)
        for seed in range(16)
    ]
    out = np.zeros((16, SIZE, SIZE, 3), np.uint8)
    together = make_samples(pool, draws, list(out), config)
    assert {len(hands) for hands in together} > {0, 1, 2}
    for draw, picture, hands in zip(draws, out, together, strict=True):
        alone = np.zeros((1, SIZE, SIZE, 3), np.uint8)
        (wanted,) = make_samples(pool, [draw], list(alone), config)
        np.testing.assert_array_equal(picture, alone[0])
        for name, value in vars(wanted).items():
            np.testing.assert_array_equal(getattr(hands, name), value)


def test_in_a_mirror_the_side_changes_and_the_thumb_stays_the_thumb(tmp_path: Path) -> None:
    marked = make_set(tmp_path, 2, size=(320, 200), marked=True)
    for row in range(2):
        source = decode(marked[row], SIZE)
        for flip in (False, True):
            tile = TileDraw(index=0, crop=(0, 0, 1, 1), flip=flip)
            draw = PictureDraw(tiles=(tile,), centre=(0.5, 0.5), angle=0.4, scale=0.9, shift=(0.0, 0.0))
            picture, hands = make_picture([source], draw)
            assert hands.side.tolist() == [1 - row if flip else row]
            for point, colour in ((WRIST, WRIST_COLOUR), (THUMB_TIP, TIP_COLOUR)):
                x, y = hands.keypoints[0, point].astype(int)
                assert np.abs(picture[y, x].astype(int) - colour).max() < 40


def test_unknown_sides_stay_unknown_and_two_mirrors_are_none() -> None:
    hands = one_hand(np.random.default_rng(0).uniform(20, 80, (21, 2)), side=Side.UNKNOWN)
    mirror = np.diag([-1.0, 1.0, 1.0])
    assert transform(hands, mirror).side.tolist() == [Side.UNKNOWN]
    known = replace(hands, side=np.array([Side.LEFT]))
    assert transform(known, mirror).side.tolist() == [Side.RIGHT]
    assert transform(known, np.diag([1.0, -1.0, 1.0])).side.tolist() == [Side.RIGHT]
    assert transform(known, np.diag([-1.0, -1.0, 1.0])).side.tolist() == [Side.LEFT]  # half a turn


def one_hand(points: np.ndarray, *, margin: tuple[float, ...] = (6, 4, 3, 8), side: int = Side.LEFT) -> Hands:
    box = hull(points) + np.array([-1, -1, 1, 1]) * margin
    return Hands(
        boxes=box[None].astype(np.float32),
        side=np.array([side], np.int64),
        keypoints=points[None].astype(np.float32),
        visibility=np.full((1, 21), 2),
    )


def test_turned_boxes_are_refitted_to_the_keypoints() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        points = rng.uniform(20, 80, (21, 2))
        matrix = move(*rng.uniform(-9, 9, 2)) @ turn(rng.uniform(-np.pi, np.pi)) @ zoom(rng.uniform(0.4, 2))
        tight = transform(one_hand(points, margin=(0, 0, 0, 0)), matrix)
        np.testing.assert_allclose(tight.boxes[0], hull(tight.keypoints[0]), atol=1e-3)
        loose = transform(one_hand(points), matrix)
        margins = (
            (hull(loose.keypoints[0]) - loose.boxes[0])
            * (1, 1, -1, -1)
            / np.sqrt(np.linalg.det(matrix[:2, :2]))
        )
        assert (margins >= 3 - 1e-3).all()
        assert (margins <= 8 + 1e-3).all()


@pytest.mark.parametrize("keypoints", [True, False])
@pytest.mark.parametrize(
    ("matrix", "order"),
    [
        (turn(np.pi / 2), (3, 0, 1, 2)),  # what was below is now on the left
        (turn(np.pi), (2, 3, 0, 1)),
        (np.diag([-1.0, 1.0, 1.0]), (2, 1, 0, 3)),
    ],
)
def test_quarter_turns_and_mirrors_of_boxes_are_exact(
    matrix: np.ndarray, order: tuple[int, ...], keypoints: bool
) -> None:
    hands = one_hand(np.random.default_rng(2).uniform(20, 80, (21, 2)))
    if not keypoints:
        hands = replace(hands, visibility=np.zeros((1, 21), np.int64))
    x1, y1, x2, y2 = hands.boxes[0]
    corners = np.array([(x1, y1), (x2, y2)]) @ matrix[:2, :2].T
    moved = transform(hands, matrix)
    np.testing.assert_allclose(moved.boxes[0], hull(corners), atol=1e-3)
    if keypoints:
        margins = np.abs(hull(moved.keypoints[0]) - moved.boxes[0])
        np.testing.assert_allclose(margins, np.array([6, 4, 3, 8])[list(order)], atol=1e-3)


def test_without_keypoints_a_turned_box_shrinks_to_its_ellipse() -> None:
    hands = replace(one_hand(np.zeros((21, 2))), boxes=np.array([[-30, -10, 30, 10]], np.float32))
    hands = replace(hands, visibility=np.zeros((1, 21), np.int64))
    angle = np.deg2rad(40)
    angles = np.linspace(0, 2 * np.pi, 10_000)
    ellipse = np.stack([30 * np.cos(angles), 10 * np.sin(angles)], axis=1) @ turn(angle)[:2, :2].T
    np.testing.assert_allclose(transform(hands, turn(angle)).boxes[0], hull(ellipse), atol=0.01)


def test_what_is_cut_off_is_no_target() -> None:
    points = np.random.default_rng(3).uniform(-40, 40, (21, 2)) + np.array([0, 80])
    hands = one_hand(points, margin=(0, 0, 0, 0))
    area = (hands.boxes[:, 2:] - hands.boxes[:, :2]).prod(axis=1).astype(np.float64)
    kept, left = clip(hands, 160, areas=area, min_visible=0.2, min_size=3)
    assert left.tolist() == [True]
    assert kept.boxes[0, 0] == 0
    assert (kept.visibility[0] > 0).tolist() == (points[:, 0] >= 0).tolist()
    assert not clip(hands, 160, areas=area, min_visible=0.7, min_size=3)[1].any()
    assert not clip(hands, 160, areas=area, min_visible=0.2, min_size=50)[1].any()


def test_cropping_a_source_cuts_its_hand() -> None:
    hands = one_hand(np.random.default_rng(3).uniform(20, 80, (21, 2)), margin=(0, 0, 0, 0))
    moved = transform(hands, zoom(2), (50.0, 0.0, 100.0, 100.0))
    assert moved.boxes[0, 0] == pytest.approx(100, abs=8)  # the keypoints that are left begin near the cut
    assert (moved.visibility[0] > 0).tolist() == (hands.keypoints[0, :, 0] >= 50).tolist()


def test_masks_hide_keypoints_and_drop_covered_hands() -> None:
    points = np.random.default_rng(4).uniform(40, 80, (21, 2))
    hands = one_hand(points, margin=(0, 0, 0, 0))
    rng = np.random.default_rng(0)
    draw = draw_sample(rng, AugmentConfig.off(), own=0, pool=1, plain=True)
    half = replace(draw, masks=((0.25, 0.0, 0.375, 1.0),), mask_colours=((1, 2, 3),))  # x 40 to 60 of 160
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    kept = cover(picture, hands, half, max_masked=0.6)
    assert kept.visibility[0].tolist() == np.where(points[:, 0] <= 60, 1, 2).tolist()
    assert picture[80, 50].tolist() == [1, 2, 3]
    assert picture[80, 70].tolist() == [0, 0, 0]
    assert len(cover(picture, hands, half, max_masked=0.3)) == 0


def test_mixup_keeps_the_hands_of_both(pool: list[Decoded]) -> None:
    draw = draw_sample(
        np.random.default_rng(0), GEOMETRY.model_copy(update={"mixup": 1.0}), own=0, pool=6, plain=False
    )
    assert len(draw.pictures) == 2
    picture, hands = make_sample(pool, draw)
    parts = [make_picture(pool, one) for one in draw.pictures]
    blended = draw.blend * parts[0][0].astype(float) + (1 - draw.blend) * parts[1][0]
    assert np.abs(picture[..., ::-1] - blended).max() <= 1
    np.testing.assert_array_equal(hands.boxes, np.concatenate([parts[0][1].boxes, parts[1][1].boxes]))


def test_a_whole_picture_is_fitted_into_the_middle(pool: list[Decoded]) -> None:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    hands = fit_whole(pool[0], picture)
    record = pool[0].record
    scale = SIZE / 400
    top = (SIZE - 248 * scale) / 2
    np.testing.assert_allclose(hands.boxes, record.hands.boxes * scale + [0, top, 0, top], atol=1e-3)
    small = cv2.resize(pictures.read(record, 1), (160, 99), interpolation=cv2.INTER_AREA)
    rows = slice(round(top) + 3, round(top) + 96)
    assert np.abs(picture[rows, :, ::-1].astype(int) - small[3:96]).mean() < 2
    assert (picture[: int(top) - 1] == FILL).all()
    np.testing.assert_allclose(letterbox(record.size, SIZE)[:2, 2], (0, top))


def test_colours_change_as_drawn(pool: list[Decoded]) -> None:
    base = draw_sample(np.random.default_rng(0), AugmentConfig.off(), own=0, pool=6, plain=True)
    plain = make_sample(pool, base)[0].astype(float)
    value = plain / 255

    def made(**changes: object) -> np.ndarray:
        draw: SampleDraw = replace(base, **changes)  # type: ignore[arg-type]
        return make_sample(pool, draw)[0].astype(float)

    grey = made(saturation=0.0)
    assert np.ptp(grey, axis=2).max() <= 1
    np.testing.assert_allclose(grey[..., 0], plain @ [0.299, 0.587, 0.114], atol=1.5)
    both = made(gains=(1.1, 0.9, 1.0), contrast=1.2, brightness=0.05, gamma=1.3)
    wanted = np.clip((value * (1.0, 0.9, 1.1) - 0.5) * 1.2 + 0.5 + 0.05, 0, 1) ** 1.3 * 255
    assert np.abs(both - wanted).max() < 3
