"""Matching and average precision on cases whose answer is known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whim.metrics.detection import Counts, average_precision, match

TRUTH = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
NONE = np.zeros((0, 4))


def test_a_truth_is_taken_once_and_the_best_score_chooses_first():
    predictions = [[0, 0, 10, 10], [0, 0, 10, 8]]
    assert match(predictions, [0.5, 0.9], TRUTH, 0.5).tolist() == [0.0, 0.8]


def test_a_prediction_takes_the_free_truth_it_overlaps_most():
    truth = [[0, 0, 10, 10], [0, 0, 10, 6]]
    assert match([[0, 0, 10, 6], [0, 0, 10, 6]], [0.9, 0.8], truth, 0.5).tolist() == [1.0, 0.6]


def test_the_threshold_itself_is_enough():
    assert match([[0, 0, 10, 5]], [1.0], TRUTH, 0.5).tolist() == [0.5]
    assert match([[0, 0, 10, 4.9]], [1.0], TRUTH, 0.5).tolist() == [0.0]


@pytest.mark.parametrize(
    ("predictions", "truth", "recall", "precision", "f1", "mean_iou"),
    [
        (TRUTH, TRUTH, 1.0, 1.0, 1.0, 1.0),
        (TRUTH[:1], TRUTH, 0.5, 1.0, 2 / 3, 1.0),
        (TRUTH, TRUTH[:1], 1.0, 0.5, 2 / 3, 1.0),
        (NONE, TRUTH, 0.0, math.nan, 0.0, math.nan),
        (TRUTH, NONE, math.nan, 0.0, 0.0, math.nan),
        (NONE, NONE, math.nan, math.nan, math.nan, math.nan),
        ([[0, 0, 10, 8]], TRUTH, 0.5, 1.0, 2 / 3, 0.8),
    ],
)
def test_counts(predictions, truth, recall, precision, f1, mean_iou):
    counts = Counts.of(match(predictions, np.ones(len(predictions)), truth, 0.3), len(truth))
    assert [counts.recall, counts.precision, counts.f1, counts.mean_iou] == pytest.approx(
        [recall, precision, f1, mean_iou], nan_ok=True
    )


def test_counts_add_up_over_pictures():
    total = Counts.of([0.8, 0.0], 1) + Counts.of([0.6], 2)
    assert total == Counts(truths=3, predictions=3, matches=2, iou_sum=pytest.approx(1.4))


def _slow_average_precision(scores, matched, truths):
    """The definition: at each of 101 recalls the best precision of any cut that reaches it."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    cuts = []
    for length in range(1, len(order) + 1):
        true = sum(matched[index] > 0 for index in order[:length])
        cuts.append((true / truths, true / length))
    best = [max((p for r, p in cuts if r >= k / 100), default=0.0) for k in range(101)]
    return sum(best) / 101


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_its_definition(seed):
    random = np.random.default_rng(seed)
    scores = random.permutation(40) / 40
    matched = random.random(40) * (random.random(40) < 0.6)
    expected = _slow_average_precision(scores.tolist(), matched.tolist(), 50)
    assert average_precision(scores, matched, 50) == pytest.approx(expected, abs=1e-12)


def test_average_precision_limits():
    assert average_precision([0.9, 0.8], [1.0, 0.7], 2) == 1.0
    assert average_precision([], [], 3) == 0.0
    assert average_precision([0.9], [0.0], 3) == 0.0
    assert math.isnan(average_precision([0.9], [0.0], 0))
    # One of two found: precision 1 at the 51 recalls 0, .01, ... .5 and nothing beyond.
    assert average_precision([0.9], [1.0], 2) == pytest.approx(51 / 101)
