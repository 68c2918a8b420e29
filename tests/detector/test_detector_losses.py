"""Eq. 5 against slow loops written from its description, and what must not matter."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from whim.conventions import Side  # noqa: E402
from whim.detector.config import AssignConfig, DetectorConfig, LossConfig, NetworkConfig  # noqa: E402
from whim.detector.decode import decode_boxes, decode_keypoints  # noqa: E402
from whim.detector.losses.assign import assign, pad  # noqa: E402
from whim.detector.losses.loss import detector_loss, head_losses  # noqa: E402
from whim.detector.losses.overlap import ciou, keypoint_error  # noqa: E402
from whim.detector.network.detector import Detector, Outputs  # noqa: E402
from whim.detector.network.head import Raw  # noqa: E402
from whim.detector.targets import HandTargets  # noqa: E402

SIZE = 96


def scene(seed: int, *, bins: int = 16, batch: int = 3, hands: int = 5) -> tuple[Raw, HandTargets]:
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    centres, strides = [], []
    for stride in (8, 16, 32):
        n = SIZE // stride
        y, x = torch.meshgrid(torch.arange(n) + 0.5, torch.arange(n) + 0.5, indexing="ij")
        centres.append(torch.stack([x, y], -1).reshape(-1, 2).double())
        strides.append(torch.full((n * n,), float(stride), dtype=torch.float64))
    cells = sum(map(len, centres))
    raw = Raw(
        box=(rand(batch, cells, 4 * bins) * 4 if bins > 1 else rand(batch, cells, 4) * 4).requires_grad_(),
        side=(rand(batch, cells, 2) * 4 - 2).requires_grad_(),
        keypoints=(rand(batch, cells, 63) * 2 - 1).requires_grad_(),
        centres=torch.cat(centres),
        strides=torch.cat(strides),
    )
    low = rand(hands, 2) * 50
    size = rand(hands, 2) * 40 + 4
    boxes = torch.cat([low, low + size], 1)
    visibility = (rand(hands, 21) * 3).long()
    visibility[0] = 0
    side = torch.tensor([Side.LEFT, Side.RIGHT, Side.UNKNOWN, Side.RIGHT, Side.LEFT] * hands)[:hands]
    return raw, HandTargets(
        boxes=boxes,
        side=side,
        keypoints=low[:, None] + rand(hands, 21, 2) * size[:, None],
        visibility=visibility,
        image_index=torch.tensor([0, 0, 2, 2, 0] * hands)[:hands],
    )


def slow_ciou(a: list[float], b: list[float]) -> float:
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = [(p[2] - p[0]) * (p[3] - p[1]) for p in (a, b)]
    iou = w * h / (sum(area) - w * h)
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    apart = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    v = (
        4
        / math.pi**2
        * (math.atan((b[2] - b[0]) / (b[3] - b[1])) - math.atan((a[2] - a[0]) / (a[3] - a[1]))) ** 2
    )
    return iou - apart / diagonal - v * v / (1 - iou + v)


def test_ciou_equals_its_definition_and_is_one_for_equal_boxes() -> None:
    raw, targets = scene(0)
    boxes = decode_boxes(raw, 16)[0, :40]
    for box in boxes.tolist():
        for truth in targets.boxes.tolist():
            found = ciou(torch.tensor(box), torch.tensor(truth))
            assert float(found) == pytest.approx(slow_ciou(box, truth), abs=1e-4)
    torch.testing.assert_close(ciou(targets.boxes, targets.boxes), torch.ones(5, dtype=torch.float64))


def slow_assign(
    raw: Raw, targets: HandTargets, picture: int, bins: int, config: AssignConfig
) -> dict[int, tuple[int, float]]:
    """Cell -> (row of the picture's hands, score)."""
    boxes = decode_boxes(raw, bins)[picture].tolist()
    scores = raw.side[picture].sigmoid().tolist()
    rows = [i for i in range(len(targets.boxes)) if targets.image_index[i] == picture]
    centres = (raw.centres * raw.strides[:, None]).tolist()
    overlap, metric = {}, {}
    claims: dict[int, list[int]] = {}
    for hand, row in enumerate(rows):
        x1, y1, x2, y2 = targets.boxes[row].tolist()
        half = [max(x2 - x1, config.smallest) / 2, max(y2 - y1, config.smallest) / 2]
        middle = [(x1 + x2) / 2, (y1 + y2) / 2]
        for cell, centre in enumerate(centres):
            overlap[hand, cell] = max(0.0, slow_ciou(boxes[cell], targets.boxes[row].tolist()))
            if all(abs(centre[k] - middle[k]) < half[k] for k in (0, 1)):
                side = int(targets.side[row])
                score = max(scores[cell]) if side < 0 else scores[cell][side]
                metric[hand, cell] = score**config.alpha * overlap[hand, cell] ** config.beta
        own = sorted((c for h, c in metric if h == hand and metric[h, c] > 0), key=lambda c: -metric[hand, c])
        for cell in own[: config.candidates]:
            claims.setdefault(cell, []).append(hand)
    winners = {cell: max(hands, key=lambda h: overlap[h, cell]) for cell, hands in claims.items()}
    result = {}
    for cell, hand in winners.items():
        cells = [c for c, h in winners.items() if h == hand]
        highest = max(metric[hand, c] for c in cells)
        most = max(overlap[hand, c] for c in cells)
        result[cell] = hand, metric[hand, cell] / max(highest, 1e-9) * most
    return result


@pytest.mark.parametrize("seed", range(3))
def test_assignment_equals_the_loop(seed: int) -> None:
    raw, targets = scene(seed)
    config = AssignConfig(candidates=6, beta=1.0)
    found = assign(
        raw.side.sigmoid(),
        decode_boxes(raw, 16),
        None,
        raw.centres * raw.strides[:, None],
        pad(targets, 3),
        config,
    )
    for picture in range(3):
        wanted = slow_assign(raw, targets, picture, 16, config)
        cells = torch.nonzero(found.hand[picture] >= 0)[:, 0].tolist()
        assert set(cells) == set(wanted)
        for cell in cells:
            assert int(found.hand[picture, cell]) == wanted[cell][0]
            assert float(found.score[picture, cell]) == pytest.approx(wanted[cell][1], abs=1e-4)


def slow_losses(raw: Raw, targets: HandTargets, config: DetectorConfig) -> dict[str, torch.Tensor]:
    bins = config.network.bins
    boxes, points = decode_boxes(raw, bins), decode_keypoints(raw)
    side = raw.side.new_zeros(())
    dfl, box, total = side.clone(), side.clone(), 0.0
    distances, seen = [], []
    for picture in range(len(raw.box)):
        cells = slow_assign(raw, targets, picture, bins, config.assign)
        rows = [i for i in range(len(targets.boxes)) if targets.image_index[i] == picture]
        for cell in range(raw.box.shape[1]):
            wanted, mask = [0.0, 0.0], [1.0, 1.0]
            if cell in cells:
                hand, score = cells[cell]
                row = rows[hand]
                total += score
                label = int(targets.side[row])
                if label < 0:
                    label = int(raw.side[picture, cell].argmax())
                    mask[1 - label] = 0.0
                wanted[label] = score
                truth = targets.boxes[row]
                box = box + (1 - ciou(boxes[picture, cell], truth)) * score
                stride, centre = raw.strides[cell], raw.centres[cell]
                for k, distance in enumerate(
                    [*(centre - truth[:2] / stride).tolist(), *(truth[2:] / stride - centre).tolist()]
                ):
                    distance = min(max(distance, 0.0), bins - 1.01)
                    log = raw.box[picture, cell].reshape(4, bins)[k].log_softmax(0)
                    low = int(distance)
                    dfl = dfl - score / 4 * (
                        (1 - distance + low) * log[low] + (distance - low) * log[low + 1]
                    )
                visible = targets.visibility[row]
                if (visible > 0).any():
                    area = (truth[2] - truth[0]) * (truth[3] - truth[1])
                    each = []
                    for k in range(21):
                        if visible[k] > 0:
                            d2 = (points[picture, cell, k, :2] - targets.keypoints[row, k]).pow(2).sum()
                            each.append(1 - torch.exp(-d2 / (8 / 441 * area)))
                    distances.append(torch.stack(each).mean())
                    logits = raw.keypoints[picture, cell].reshape(21, 3)[:, 2]
                    seen.append(F.binary_cross_entropy_with_logits(logits, (visible == 2).to(logits.dtype)))
            for k in (0, 1):
                logit = raw.side[picture, cell, k]
                side = side + mask[k] * F.binary_cross_entropy_with_logits(logit, logit.new_tensor(wanted[k]))
    norm = max(total, 1.0)
    return {
        "side": side / norm,
        "dfl": dfl / norm,
        "box": box / norm,
        "keypoints": torch.stack(distances).mean(),
        "visibility": torch.stack(seen).mean(),
    }


def test_every_term_and_its_gradient_equal_the_loop() -> None:
    config = DetectorConfig(assign=AssignConfig(candidates=5, beta=1.0))
    raw, targets = scene(4)
    fast = head_losses(raw, pad(targets, 3), config, single=False)
    slow = slow_losses(raw, targets, config)
    for name in fast:
        assert fast[name].item() == pytest.approx(slow[name].item(), rel=2e-4), name
        gradients = []
        for losses in (fast, slow):
            found = torch.autograd.grad(
                losses[name], (raw.box, raw.side, raw.keypoints), retain_graph=True, allow_unused=True
            )
            gradients.append([torch.zeros(1) if g is None else g for g in found])
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a.double(), b.double().expand_as(a), atol=1e-5, rtol=1e-3)


def test_the_sum_has_the_papers_weights() -> None:
    config = DetectorConfig(loss=LossConfig(visibility=0.0))
    raw, targets = scene(5)
    total, terms = detector_loss(Outputs(one_to_many=raw, one_to_one=None), targets, config)
    wanted = 0.5 * terms["side"] + 1.5 * terms["dfl"] + 15 * terms["box"] + 10 * terms["keypoints"]
    torch.testing.assert_close(total, wanted)


def test_the_order_of_hands_does_not_matter() -> None:
    config = DetectorConfig()
    raw, targets = scene(6)
    order = torch.tensor([4, 2, 0, 3, 1])
    shuffled = HandTargets(**{name: value[order] for name, value in vars(targets).items()})
    one, other = (
        detector_loss(Outputs(one_to_many=raw, one_to_one=None), t, config)[0] for t in (targets, shuffled)
    )
    torch.testing.assert_close(one, other)


def test_what_is_not_known_trains_nothing() -> None:
    raw, targets = scene(7)
    blind = HandTargets(**{**vars(targets), "visibility": torch.zeros_like(targets.visibility)})
    losses = head_losses(raw, pad(blind, 3), DetectorConfig(), single=False)
    (gradient,) = torch.autograd.grad(losses["keypoints"] + losses["visibility"], raw.keypoints)
    assert (gradient == 0).all()
    # A hand of unknown side pulls up the surer logit and leaves the other alone.
    sideless = HandTargets(**{**vars(targets), "side": torch.full_like(targets.side, Side.UNKNOWN)})
    padded = pad(sideless, 3)
    losses = head_losses(raw, padded, DetectorConfig(), single=False)
    (gradient,) = torch.autograd.grad(losses["side"], raw.side)
    found = assign(
        raw.side.sigmoid(),
        decode_boxes(raw, 16),
        None,
        raw.centres * raw.strides[:, None],
        padded,
        AssignConfig(),
    )
    picture, cell = torch.nonzero(found.hand >= 0, as_tuple=True)
    other = 1 - raw.side[picture, cell].argmax(-1)
    assert len(cell)
    assert (gradient[picture, cell, other] == 0).all()


def test_pictures_without_hands_and_tiny_hands() -> None:
    raw, targets = scene(8)
    empty = HandTargets(**{name: value[:0] for name, value in vars(targets).items()})
    total, _ = detector_loss(Outputs(one_to_many=raw, one_to_one=None), empty, DetectorConfig())
    total.backward()
    assert torch.isfinite(total)
    tiny = targets.boxes.clone()
    tiny[:, 2:] = tiny[:, :2] + 3.0
    small = HandTargets(**{**vars(targets), "boxes": tiny})
    found = assign(
        raw.side.sigmoid(), decode_boxes(raw, 16), None, raw.centres * raw.strides[:, None], pad(small, 3),
        AssignConfig(),
    )  # fmt: skip
    assert (found.hand >= 0).any()  # though no cell's centre need lie in a box of 3 pixels
    nothing = assign(
        raw.side.sigmoid(), decode_boxes(raw, 16), None, raw.centres * raw.strides[:, None], pad(small, 3),
        AssignConfig(smallest=0.0),
    )  # fmt: skip
    assert (found.hand >= 0).sum() > (nothing.hand >= 0).sum()


def test_one_cell_per_hand_for_the_second_head() -> None:
    raw, targets = scene(9)
    found = assign(
        raw.side.sigmoid(), decode_boxes(raw, 16), None, raw.centres * raw.strides[:, None], pad(targets, 3),
        AssignConfig(), single=True,
    )  # fmt: skip
    for picture in range(3):
        hands = found.hand[picture][found.hand[picture] >= 0].tolist()
        assert len(hands) == len(set(hands))


def test_keypoints_can_lead_the_assignment() -> None:
    raw, targets = scene(10, hands=2)
    targets = HandTargets(**{**vars(targets), "visibility": torch.full_like(targets.visibility, 2)})
    padded = pad(targets, 3)
    points = decode_keypoints(raw)[..., :2]
    box = decode_boxes(raw, 16)
    found = assign(
        raw.side.sigmoid(), box, points, raw.centres * raw.strides[:, None], padded,
        AssignConfig(candidates=1, alpha=0.0, beta=1.0, keypoints=1.0),
    )  # fmt: skip
    picture, cell = torch.nonzero(found.hand >= 0, as_tuple=True)
    size = padded.boxes[0, :, 2:] - padded.boxes[0, :, :2]
    for p, c in zip(picture.tolist(), cell.tolist(), strict=True):
        hand = int(found.hand[p, c])
        oks = (
            (-keypoint_error(points[p], padded.keypoints[p, hand], size[hand].prod().expand(len(points[p]))))
            .exp()
            .mean(-1)
        )
        assert float(found.score[p, c]) == pytest.approx(float(oks[c]), abs=1e-6)


@pytest.mark.parametrize(
    "network", [NetworkConfig(scale="n"), NetworkConfig(scale="n", bins=1, one_to_one=True)]
)
def test_it_learns_two_pictures(network: NetworkConfig) -> None:
    torch.manual_seed(0)
    pictures = torch.full((2, 3, 96, 96), 0.4)
    boxes = torch.tensor([[10.0, 12, 46, 60], [40.0, 30, 88, 80]])
    for index, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
        pictures[index, index, y1:y2, x1:x2] = 0.95
    low, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    grid = torch.linspace(0.1, 0.9, 21)[None, :, None]
    targets = HandTargets(
        boxes=boxes,
        side=torch.tensor([0, 1]),
        keypoints=low + grid * size,
        visibility=torch.full((2, 21), 2),
        image_index=torch.tensor([0, 1]),
    )
    config = DetectorConfig(network=network)
    model = Detector(network)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = last = 0.0
    for step in range(90):
        loss, _ = detector_loss(model(pictures), targets, config)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first, last = (float(loss), last) if step == 0 else (first, float(loss))
    assert last < 0.35 * first
    from whim.detector.decode import decode, pairwise_iou

    model.train()  # batch norm has seen 90 batches of two pictures: its running means still lag behind
    with torch.no_grad():
        outputs = model(pictures)
    raw = outputs.one_to_one or outputs.one_to_many
    for index, found in enumerate(decode(raw, network.bins, config.decode, suppress=True)):
        assert float(pairwise_iou(found.boxes[:1], boxes[index : index + 1])) > 0.7
        assert int(found.side[0]) == index
