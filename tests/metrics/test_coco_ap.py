"""COCO's AP: against pycocotools where it is installed, and always against the definition written out slowly."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from whim.metrics.coco_ap import AREAS, IOUS, RECALLS, Judged, evaluate


def scene(rng, *, crowds=True, uncounted=False):
    """Random pictures: near copies of the truth, false boxes, equal scores, sides, crowds."""
    pictures = []
    for _ in range(int(rng.integers(2, 9))):
        m = int(rng.integers(0, 6))
        corner = rng.uniform(0, 300, (m, 2))
        truth = np.hstack([corner, corner + np.exp(rng.uniform(np.log(8), np.log(200), (m, 2)))])
        copies = np.repeat(truth, rng.integers(0, 4, m), axis=0)
        copies = (
            copies + rng.normal(0, 1, copies.shape) * 0.08 * (copies[:, 2:] - copies[:, :2])[:, [0, 1, 0, 1]]
        )
        corner = rng.uniform(0, 300, (int(rng.integers(0, 130 if rng.random() < 0.1 else 6)), 2))
        false = np.hstack([corner, corner + rng.uniform(5, 150, corner.shape)])
        boxes = np.vstack([copies, false])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        crowd = np.zeros((0, 4))
        if crowds and rng.random() < 0.5:
            corner = rng.uniform(0, 200, (1, 2))
            crowd = np.hstack([corner, corner + rng.uniform(50, 200, (1, 2))])
        pictures.append(
            Judged(
                boxes=boxes,
                scores=np.round(rng.uniform(0, 1, len(boxes)), 1),
                classes=rng.integers(0, 2, len(boxes)),
                truth=truth,
                truth_classes=rng.integers(0, 2, m),
                uncounted=rng.random(m) < 0.3 if uncounted else None,
                crowd=crowd,
            )
        )
    return pictures


def slow_ap(pictures, number, iou, *, most=100, area="all"):
    """The definition, one prediction at a time: (AP, recall) of a class at one IoU, or None without truth."""
    low, high = AREAS[area]
    hits, total = [], 0
    for one in pictures:
        truths = []
        for index, box in enumerate(one.truth):
            if one.truth_classes[index] == number:
                size = (box[2] - box[0]) * (box[3] - box[1])
                skip = not low <= size <= high or (one.uncounted is not None and bool(one.uncounted[index]))
                truths.append({"box": box, "skip": skip, "crowd": False, "taken": False})
        truths += [{"box": box, "skip": True, "crowd": True, "taken": False} for box in one.crowd]
        total += sum(not t["skip"] for t in truths)
        mine = [i for i in range(len(one.boxes)) if one.classes[i] == number]
        mine.sort(key=lambda i: -one.scores[i])
        for i in mine[:most]:
            box = one.boxes[i]
            own = (box[2] - box[0]) * (box[3] - box[1])
            chosen = None
            for group in (False, True):
                best = min(iou, 1 - 1e-10)
                for t in truths:
                    if t["skip"] is group and (t["crowd"] or not t["taken"]):
                        w = min(box[2], t["box"][2]) - max(box[0], t["box"][0])
                        h = min(box[3], t["box"][3]) - max(box[1], t["box"][1])
                        inter = max(w, 0) * max(h, 0)
                        other = (t["box"][2] - t["box"][0]) * (t["box"][3] - t["box"][1])
                        overlap = inter / (own if t["crowd"] else own + other - inter)
                        if overlap >= best:
                            best, chosen = overlap, t
                if chosen is not None:
                    break
            if chosen is not None:
                chosen["taken"] = True
            skip = chosen["skip"] if chosen is not None else not low <= own <= high
            hits.append((one.scores[i], chosen is not None, skip))
    if not total:
        return None
    hits.sort(key=lambda hit: -hit[0])
    points, right, wrong = [], 0, 0
    for _, hit, skip in hits:
        right += hit and not skip
        wrong += not hit and not skip
        points.append((right / total, right / (right + wrong) if right + wrong else 0.0))
    values = [max((p for r, p in points if r >= recall), default=0.0) for recall in RECALLS]
    return float(np.mean(values)), right / total


@pytest.mark.parametrize("area", AREAS)
def test_equals_the_definition(area):
    rng = np.random.default_rng(7)
    for trial in range(12):
        pictures = scene(rng, uncounted=trial % 2 == 1)
        result = evaluate(pictures, classes=(0, 1), area=area)
        for column in (0, 1):
            for row in (0, 4, 9):
                expected = slow_ap(pictures, column, IOUS[row], area=area)
                if expected is None:
                    assert np.isnan(result.precision[row, :, column]).all()
                else:
                    assert result.precision[row, :, column].mean() == pytest.approx(expected[0], abs=1e-9)
                    assert result.recall[row, column] == pytest.approx(expected[1])


def test_equals_pycocotools():
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(3)
    compared = 0
    for _ in range(40):
        pictures = scene(rng)
        for agnostic in (False, True):
            shown = [one.agnostic() for one in pictures] if agnostic else pictures
            classes = (0,) if agnostic else (0, 1)
            stats = their_stats(coco, cocoeval, shown, classes)
            if stats is None:
                continue
            for name, row in (("all", 0), ("small", 3), ("medium", 4), ("large", 5)):
                mine = evaluate(shown, classes=classes, area=name)
                assert np.nan_to_num(mine.ap, nan=-1.0) == pytest.approx(stats[row], abs=1e-6)
                assert np.nan_to_num(mine.ar, nan=-1.0) == pytest.approx(stats[8 + max(0, row - 2)], abs=1e-6)
            mine = evaluate(shown, classes=classes)
            assert np.nan_to_num([mine.ap_at(0.5), mine.ap_at(0.75)], nan=-1.0) == pytest.approx(
                stats[1:3], abs=1e-6
            )
            compared += 1
    assert compared > 60


def their_stats(coco, cocoeval, pictures, classes):
    """The twelve numbers of pycocotools; None where it cannot run."""
    truths, found = [], []

    def xywh(box):
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    for number, one in enumerate(pictures, start=1):
        rows = [(box, cls, 0) for box, cls in zip(one.truth, one.truth_classes, strict=True)]
        rows += [(box, cls, 1) for box in one.crowd for cls in classes]
        for box, cls, crowd in rows:
            x, y, w, h = xywh(box)
            truths.append(
                {"id": len(truths) + 1, "image_id": number, "category_id": int(cls) + 1, "bbox": [x, y, w, h],
                 "area": w * h, "iscrowd": crowd}
            )  # fmt: skip
        for box, score, cls in zip(one.boxes, one.scores, one.classes, strict=True):
            found.append(
                {"image_id": number, "category_id": int(cls) + 1, "bbox": xywh(box), "score": float(score)}
            )
    if not found:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        gt = coco.COCO()
        gt.dataset = {
            "info": {}, "images": [{"id": n + 1} for n in range(len(pictures))], "annotations": truths,
            "categories": [{"id": cls + 1} for cls in classes],
        }  # fmt: skip
        gt.createIndex()
        judge = cocoeval.COCOeval(gt, gt.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


def test_known_answers():
    truth = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    sides = np.array([0, 1])

    def judged(boxes, scores, classes, **more):
        boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        return Judged(boxes=boxes, scores=np.array(scores, dtype=np.float64), classes=np.array(classes, np.int64),
                      truth=truth, truth_classes=sides, **more)  # fmt: skip

    perfect = judged(truth, [0.9, 0.8], sides)
    assert evaluate([perfect], classes=(0, 1)).ap == pytest.approx(1.0)
    swapped = judged(truth, [0.9, 0.8], 1 - sides)
    assert evaluate([swapped], classes=(0, 1)).ap == 0.0
    assert evaluate([swapped.agnostic()]).ap == pytest.approx(1.0)  # the side does not count there
    none = judged([], [], [])
    assert evaluate([none.agnostic()]).ap == 0.0
    empty = Judged(
        boxes=truth, scores=np.ones(2), classes=sides, truth=np.zeros((0, 4)), truth_classes=sides[:0]
    )
    assert np.isnan(evaluate([empty.agnostic()]).ap)
    # An uncounted hand costs neither way; a crowd region swallows what lies in it.
    half = judged(truth[:1], [0.9], [0], uncounted=np.array([False, True])).agnostic()
    assert evaluate([half]).ap == pytest.approx(1.0)
    false = np.vstack([truth, [[50.0, 50, 60, 60]] * 3])
    region = np.array([[45.0, 45, 90, 90]])
    assert evaluate([judged(false, [0.5, 0.5, 0.9, 0.9, 0.9], [0] * 5, crowd=region).agnostic()]).ap == 1.0
    assert evaluate([judged(false, [0.5, 0.5, 0.9, 0.9, 0.9], [0] * 5).agnostic()]).ap < 0.45
