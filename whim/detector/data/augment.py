"""Sources and draws -> training pictures and their hands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.detector.data import pictures
from whim.detector.data.colours import cover, recolour
from whim.detector.data.config import AugmentConfig
from whim.detector.data.draws import SampleDraw
from whim.detector.data.hands import Hands
from whim.detector.data.layout import Tile, compose, letterbox
from whim.detector.data.records import Record
from whim.detector.data.refit import clip, transform
from whim.detector.data.warp import FILL, padded, paste

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A record and its picture: BGR, reduced by ``factor``, padded for :func:`whim.detector.data.warp.paste`."""

    record: Record
    picture: Image
    factor: int


def decode(record: Record, size: int) -> Decoded:
    """Read a picture no larger than an input of ``size`` needs.

    Raises:
        BadFileError: as :func:`whim.detector.data.pictures.read`.
    """
    factor = pictures.reduction(record.size, size)
    return Decoded(record=record, picture=padded(pictures.read(record, factor)), factor=factor)


def make_samples(
    pool: Sequence[Decoded], draws: Sequence[SampleDraw], out: Sequence[Image], config: AugmentConfig
) -> list[Hands]:
    """Fill ``out``, n arrays (S, S, 3), with the RGB pictures of ``draws``; returns their hands."""
    size = out[0].shape[0]
    tiles = [
        [compose(one, [pool[tile.index].record.size for tile in one.tiles], size) for one in draw.pictures]
        for draw in draws
    ]
    canvases = [np.empty((size, size, 3), np.uint8) for _ in range(2)]
    for target, draw, parts in zip(out, draws, tiles, strict=True):
        for canvas, part in zip(canvases, parts, strict=False):
            canvas[:] = FILL
            for tile in part:
                paste(canvas, pool[tile.index].picture, pool[tile.index].factor, tile)
        if len(parts) > 1:
            cv2.addWeighted(canvases[0], draw.blend, canvases[1], 1 - draw.blend, 0, dst=canvases[0])
        recolour(canvases[0], draw, target)
    flat = [[tile for part in parts for tile in part] for parts in tiles]
    hands = place_hands([[(pool[t.index].record.hands, t) for t in one] for one in flat], size, config)
    return [
        cover(target, one, draw, config.max_masked)
        for target, one, draw in zip(out, hands, draws, strict=True)
    ]


def place_hands(
    samples: Sequence[Sequence[tuple[Hands, Tile]]], size: int, config: AugmentConfig
) -> list[Hands]:
    """For each sample the hands of its tiles that can be seen; all hands at once, as there are few in each."""
    counts = [sum(len(hands) for hands, _ in sample) for sample in samples]
    pairs = [(hands, tile) for sample in samples for hands, tile in sample if len(hands)]
    if not pairs:
        return [Hands.none() for _ in samples]
    hands = Hands.join([one for one, _ in pairs])
    repeats = [len(one) for one, _ in pairs]
    matrices = np.repeat(np.stack([tile.matrix for _, tile in pairs]), repeats, axis=0)
    crops = np.repeat(np.array([tile.crop for _, tile in pairs]), repeats, axis=0)
    whole = transform(hands, matrices).boxes.astype(np.float64)
    areas = (whole[:, 2:] - whole[:, :2]).prod(axis=1)
    shown, left = clip(
        transform(hands, matrices, crops),
        size,
        areas=areas,
        min_visible=config.min_visible,
        min_size=config.min_size,
    )
    ends = np.cumsum(np.bincount(np.repeat(np.arange(len(samples)), counts)[left], minlength=len(samples)))
    return [shown.select(slice(end - n, end)) for end, n in zip(ends, np.diff(ends, prepend=0), strict=True)]


def fit_whole(source: Decoded, out: Image) -> Hands:
    """Fill ``out`` (S, S, 3) with the RGB picture as it is, fitted into the input: what validation sees."""
    size = out.shape[0]
    canvas = np.full((size, size, 3), FILL, np.uint8)
    width, height = source.record.size
    tile = Tile(index=0, crop=(0, 0, width, height), matrix=letterbox((width, height), size))
    paste(canvas, source.picture, source.factor, tile)
    cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB, dst=out)
    return transform(source.record.hands, tile.matrix)
