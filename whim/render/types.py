"""What goes into a renderer and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whim.render.colour import Image, blend

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]

MAX_LIGHTS = 4
NO_LABEL = 0
"""Value of the label image where there is no mesh."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """A triangle mesh in the camera's axes.

    Raises:
        ValueError: for other shapes, faces without vertices, numbers that are not finite, labels below 1.
    """

    vertices: Floats
    """(V, 3) metres, OpenCV camera axes (x right, y down, z forward)."""
    faces: Ints
    """(F, 3) counter-clockwise seen from outside: (p1 - p0) x (p2 - p0) points outwards."""
    colours: ArrayLike = (0.7, 0.7, 0.7)
    """(V, 3), or (3,) for all: sRGB in 0..1, as in a picture; shading happens in linear light."""
    label: ArrayLike = 1
    """Number in the label image, above 0; one for the mesh, or (F,) one per face."""
    normals: ArrayLike | None = None
    """(V, 3) unit normals, or None: area-weighted means of the faces around each vertex. Vertices that no two
    faces share therefore give a sharp edge."""
    two_sided: bool = False
    """Show faces from behind too: for surfaces that are not closed."""

    def __post_init__(self) -> None:
        vertices = np.asarray(self.vertices, dtype=np.float64)
        faces = np.asarray(self.faces, dtype=np.int64)
        if vertices.size == 0:
            vertices = vertices.reshape(-1, 3)
        if faces.size == 0:
            faces = faces.reshape(-1, 3)
        colours = _numbers(self.colours, (len(vertices), 3), "colours")
        label = np.asarray(self.label, dtype=np.int64)
        normals = None if self.normals is None else _numbers(self.normals, vertices.shape, "normals")
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
            raise ValueError(f"vertices must be finite and of shape (V, 3); got {vertices.shape}")
        if faces.ndim != 2 or faces.shape[1] != 3:
            raise ValueError(f"faces must have the shape (F, 3); got {faces.shape}")
        if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
            raise ValueError(f"faces name vertices outside 0..{len(vertices) - 1}")
        if label.shape not in ((), (len(faces),)) or (label < 1).any() or (label > 2**31 - 1).any():
            raise ValueError(f"label must be above {NO_LABEL}, one for the mesh or one per face")
        for name, value in (
            ("vertices", vertices),
            ("faces", faces),
            ("colours", np.clip(colours, 0.0, 1.0)),
            ("label", np.broadcast_to(label, (len(faces),))),
            ("normals", normals),
        ):
            object.__setattr__(self, name, value)

    def moved(self, rotation: ArrayLike, translation: ArrayLike = (0.0, 0.0, 0.0)) -> Mesh:
        """The mesh after x -> R x + t, with R (3, 3) a rotation and t (3,) in metres."""
        turn = np.asarray(rotation, dtype=np.float64)
        normals = None if self.normals is None else np.asarray(self.normals) @ turn.T
        return replace(self, vertices=self.vertices @ turn.T + np.asarray(translation), normals=normals)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera with OpenCV's axes and OpenCV's pixels.

    The centre of the first pixel is at (0, 0), so the picture spans -0.5 to width - 0.5. Boxes and keypoints of
    WHIM's label rows count from the picture's corner instead: there that centre is (0.5, 0.5). Use
    ``from_label`` for the camera of a label row.

    Raises:
        ValueError: for a size or focal length that is not positive.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    near: float = 0.01
    """Metres; what is nearer than this is cut away."""

    def __post_init__(self) -> None:
        numbers = np.array([self.fx, self.fy, self.cx, self.cy, self.near], dtype=np.float64)
        if not np.isfinite(numbers).all() or min(self.fx, self.fy, self.near) <= 0.0:
            raise ValueError(f"focal lengths and near must be positive, all numbers finite; got {self}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a camera needs at least one pixel; got {self.width} x {self.height}")

    @classmethod
    def from_label(
        cls, focal: ArrayLike, center: ArrayLike, width: int, height: int, *, near: float = 0.01
    ) -> Camera:
        """From the ``focal`` and ``center`` of a label row's camera, pixels from the picture's corner."""
        fx, fy = np.broadcast_to(np.asarray(focal, dtype=np.float64), (2,)).tolist()
        cx, cy = (np.asarray(center, dtype=np.float64) - 0.5).tolist()
        return cls(fx=fx, fy=fy, cx=cx, cy=cy, width=width, height=height, near=near)

    def project(self, points: ArrayLike) -> Floats:
        """(..., 2) pixels, first centre at 0, of points (..., 3) in front of the camera."""
        p = np.asarray(points, dtype=np.float64)
        return np.asarray(p[..., :2] / p[..., 2:] * (self.fx, self.fy) + (self.cx, self.cy))

    def scaled(self, factor: float) -> Camera:
        """The same view with ``factor`` times as many pixels (rounded) on each side.

        The corner of the picture stays, so a pixel of the old picture is exactly ``factor`` of the new one.
        """
        return replace(
            self,
            fx=self.fx * factor,
            fy=self.fy * factor,
            cx=(self.cx + 0.5) * factor - 0.5,
            cy=(self.cy + 0.5) * factor - 0.5,
            width=max(1, round(self.width * factor)),
            height=max(1, round(self.height * factor)),
        )


@dataclass(frozen=True, kw_only=True)
class Light:
    """Lights far away, light from all around, and how the surface answers (wrapped Lambert, Blinn-Phong).

    All strengths are linear light. The defaults suit hands: a key light from above left behind the camera.

    Raises:
        ValueError: for no direction in a direction, or more than ``MAX_LIGHTS`` of them.
    """

    towards: Sequence[tuple[float, float, float]] = ((-0.4, -0.7, -0.6),)
    """Directions from the surface to the lights, camera axes; need not be of length one."""
    strengths: Sequence[tuple[float, float, float]] = ((0.95, 0.93, 0.9),)
    """RGB of each light."""
    sky: tuple[float, float, float] = (0.26, 0.27, 0.29)
    """RGB of the light that falls on what faces up (-y)."""
    ground: tuple[float, float, float] = (0.15, 0.13, 0.12)
    """RGB of the light that falls on what faces down; in between it is mixed. Equal to ``sky``: plain ambient."""
    wrap: float = 0.3
    """How far past the edge of the shade light still reaches, 0 (Lambert) to 1; soft as skin is."""
    specular: float = 0.08
    """Strength of highlights."""
    shininess: float = 20.0
    """Exponent of highlights: larger is smaller."""

    def __post_init__(self) -> None:
        towards = self.directions
        if len(self.towards) > MAX_LIGHTS or len(self.strengths) != len(self.towards):
            raise ValueError(f"at most {MAX_LIGHTS} lights, each with a direction and a strength")
        if not np.isfinite(towards).all():
            raise ValueError("every light needs a direction of some length")

    @property
    def directions(self) -> Floats:
        """(L, 3) of length one."""
        towards = np.asarray(self.towards, dtype=np.float64).reshape(-1, 3)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(towards / np.linalg.norm(towards, axis=1, keepdims=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendered:
    """A rendered picture. Depth and label are those seen along the ray through each pixel's centre, whatever
    the supersampling; colour and alpha are means over the pixel's samples."""

    colour: Floats32
    """(H, W, 3) linear light, multiplied by alpha."""
    alpha: Floats32
    """(H, W) share of the pixel that is covered."""
    depth: Floats32
    """(H, W) metres along z of the first surface; infinite where there is none."""
    labels: NDArray[np.int32]
    """(H, W) label of that surface, or ``NO_LABEL``."""

    def over(self, picture: Image, *, opacity: float = 1.0) -> Image:
        """A copy of a picture (H, W, 3), uint8 sRGB, with the meshes over it; mixed in linear light.

        Raises:
            ValueError: for a picture of another size.
        """
        return blend(picture, self.colour, self.alpha, opacity)

    def picture(self, background: tuple[int, int, int] = (255, 255, 255)) -> Image:
        """(H, W, 3) uint8 sRGB over one colour."""
        return self.over(np.full((*self.alpha.shape, 3), background, dtype=np.uint8))


class Renderer(Protocol):
    """What both backends are."""

    name: str
    """``numpy`` or ``opengl``."""
    device: str
    """What draws, for logs and provenance."""

    def render(
        self, meshes: Sequence[Mesh], camera: Camera, light: Light = ..., *, supersample: int = 1
    ) -> Rendered:
        """Meshes as the camera sees them; ``supersample`` squared samples per pixel.

        Where two surfaces are equally far, the mesh that comes first is seen.

        Raises:
            ValueError: for a ``supersample`` below 1.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Soup:
    """All meshes of a scene in one."""

    positions: Floats
    """(V, 3)"""
    attributes: Floats32
    """(V, 6) unit normal, colour in linear light."""
    faces: Ints
    """(F, 3)"""
    labels: NDArray[np.int32]
    """(F,)"""
    two_sided: NDArray[np.bool_] = field(repr=False)
    """(F,)"""


def _numbers(values: Any, shape: tuple[int, ...], name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in (shape, shape[-1:]) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite and of shape {shape}; got {array.shape}")
    return np.broadcast_to(array, shape)
