"""Precision over recall as a picture: SVG, which every browser and most viewers of Markdown show."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#1b6ca8", "#c8553d", "#4f8a3c", "#8a5fa8", "#b8860b", "#3c8a86", "#6b6b6b", "#a83c6c")
_WIDTH, _HEIGHT, _LEFT, _TOP, _SIDE = 640, 420, 52, 34, 340


def precision_recall_svg(title: str, curves: Mapping[str, NDArray[np.float64]]) -> str:
    """Curves (101,), precision at recall 0 to 1, by name; empty ones are named and not drawn."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for step in range(0, 11, 2):
        x, y = _point(step / 10, step / 10)
        right, bottom = _LEFT + _SIDE, _TOP + _SIDE
        parts += [
            f'<path d="M{x:.1f} {_TOP}V{bottom}M{_LEFT} {y:.1f}H{right}" stroke="#ddd" fill="none"/>',
            f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{step / 10:.1f}</text>',
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{step / 10:.1f}</text>',
        ]
    middle = _TOP + _SIDE / 2
    parts += [
        f'<text x="{_LEFT + _SIDE / 2}" y="{_TOP + _SIDE + 33}" text-anchor="middle">recall</text>',
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">precision</text>',
    ]
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        text = escape(name)
        if len(curve):
            points = (_point(recall, value) for recall, value in zip(_recalls(curve), curve, strict=True))
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            text += f" ({100 * float(np.mean(curve)):.1f})"
        else:
            text += " (no truth)"
        y = _TOP + 12 + 20 * number
        x = _LEFT + _SIDE + 18
        parts += [
            f'<path d="M{x} {y}h18" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{x + 24}" y="{y + 4}">{text}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _recalls(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linspace(0.0, 1.0, len(curve))


def _point(recall: float, precision: float) -> tuple[float, float]:
    return _LEFT + _SIDE * recall, _TOP + _SIDE * (1.0 - precision)
