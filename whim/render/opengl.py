"""The fast renderer: OpenGL 3.3 through moderngl, in a context without a window (EGL).

Two passes: colours at ``supersample`` times the size, whose means a third program takes; face and depth at the
picture's own size. Rows are drawn upside down, so that OpenGL's first row is the picture's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whim.render.context import Context, in_context
from whim.render.scene import assemble
from whim.render.types import (
    MAX_LIGHTS,
    NO_LABEL,
    Camera,
    Floats,
    Floats32,
    Ints,
    Light,
    Mesh,
    Rendered,
    Soup,
)

_DEFAULT_LIGHT = Light()


class OpenGLRenderer:
    """Draws with OpenGL. The process opens one context, for all renderers and threads.

    In a process that was forked from one with an open context, a context of its own is opened, where that is
    safe: after Mesa's software renderer. Drivers of graphics cards do not survive a fork.

    Raises:
        MissingExtraError: without moderngl.
        UsageError: when no context opens (``no-opengl``), or not after a fork (``forked-opengl``).
    """

    name = "opengl"

    def __init__(self) -> None:
        self.device: str = in_context(lambda context: context.device)

    def render(
        self, meshes: Sequence[Mesh], camera: Camera, light: Light = _DEFAULT_LIGHT, *, supersample: int = 1
    ) -> Rendered:
        """As ``Renderer.render``. Of surfaces that are nearly equally far either may be seen.

        Raises:
            ValueError: for a ``supersample`` below 1, or a picture larger than the driver can draw.
        """
        if supersample < 1:
            raise ValueError(f"supersample must be at least 1; got {supersample}")
        soup = assemble(meshes)
        shape = camera.height, camera.width
        colour, alpha = np.zeros((*shape, 3), dtype=np.float32), np.zeros(shape, dtype=np.float32)
        depth = np.full(shape, np.inf, dtype=np.float32)
        labels = np.full(shape, NO_LABEL, dtype=np.int32)
        x, y, width, height = _box(soup, camera)
        if width > 0 and height > 0 and len(soup.faces):
            # Draw and fetch no more of the picture than may be covered.
            view = replace(camera, cx=camera.cx - x, cy=camera.cy - y, width=width, height=height)
            # Faces seen from both sides come last: two draws, with and without culling.
            order = np.argsort(soup.two_sided, kind="stable")
            size = camera.width, camera.height
            colours, geometry = in_context(
                lambda context: _draw(context, soup, soup.faces[order], view, size, light, supersample)
            )
            part = slice(y, y + height), slice(x, x + width)
            colour[part], alpha[part] = colours[..., :3], colours[..., 3]
            face = geometry[..., 1].astype(np.int32)
            depth[part] = np.where(face > 0, geometry[..., 0], np.float32(np.inf))
            labels[part] = np.insert(soup.labels[order], 0, NO_LABEL)[face]
        return Rendered(colour=colour, alpha=alpha, depth=depth, labels=labels)


def _box(soup: Soup, camera: Camera) -> tuple[int, int, int, int]:
    """Column, row, width and height of the part of the picture that may be covered."""
    limit = np.array([camera.width, camera.height])
    if len(soup.positions) == 0:
        return 0, 0, 0, 0
    if (soup.positions[:, 2] < camera.near).any():
        return 0, 0, camera.width, camera.height
    points = camera.project(soup.positions)
    low = np.clip(np.floor(points.min(axis=0)) - 1, 0, limit).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)) + 2, 0, limit).astype(int)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _draw(
    context: Context, soup: Soup, faces: Ints, view: Camera, size: tuple[int, int], light: Light, factor: int
) -> tuple[Floats32, Floats32]:
    """What the view sees: colour and alpha (H, W, 4), and depth and number of the face from 1 (H, W, 2).

    Drawn in the corner of targets for whole pictures of that size. Runs in OpenGL's thread.
    """
    gl = context.gl
    if max(size) * factor > context.largest:
        raise ValueError(
            f"OpenGL on {context.device} draws at most {context.largest} pixels a side, and {size[0]} x {size[1]} "
            f"with supersample {factor} is more: use the numpy renderer"
        )
    targets = context.targets(size, factor)
    corner = 0, 0, view.width, view.height
    made: list[Any] = []

    def new(thing: Any) -> Any:
        made.append(thing)
        return thing

    try:
        vertices = np.concatenate([soup.positions.astype(np.float32), soup.attributes], axis=1)
        points, index = new(gl.buffer(vertices.tobytes())), new(gl.buffer(faces.astype("i4").tobytes()))
        _set_light(context.colour, light)
        clip = _clip_matrix(soup, view).T.astype("f4").tobytes()
        closed = int(len(faces) - soup.two_sided.sum())
        gl.front_face = "cw"  # as rows are upside down
        for target, program, attributes, layout, scale in (
            (targets.samples, context.colour, ("position", "normal", "colour"), "3f 3f 3f", factor),
            (targets.geometry, context.geometry, ("position",), "3f 24x", 1),
        ):
            target.use()
            target.viewport = tuple(scale * side for side in corner)
            target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0, viewport=target.viewport)
            program["clip"].write(clip)
            array = new(gl.vertex_array(program, [(points, layout, *attributes)], index))
            for culled, first, count in ((True, 0, closed), (False, closed, len(faces) - closed)):
                if count:
                    gl.enable_only(gl.DEPTH_TEST | (gl.CULL_FACE if culled else gl.NOTHING))
                    if "first_face" in program:
                        program["first_face"].value = first
                    array.render(gl.TRIANGLES, vertices=3 * count, first=3 * first)
        if factor > 1:
            gl.enable_only(gl.NOTHING)
            targets.means.use()
            targets.means.viewport = corner
            targets.sample_colours.use(location=0)
            context.mean(factor).render(gl.TRIANGLES, vertices=3)
        return _read(targets.means, corner, 4), _read(targets.geometry, corner, 2)
    finally:
        for thing in reversed(made):
            thing.release()


def _read(target: Any, corner: tuple[int, int, int, int], components: int) -> Floats32:
    values = np.empty((corner[3], corner[2], components), dtype=np.float32)
    target.read_into(values, viewport=corner, components=components, dtype="f4")
    return values


def _clip_matrix(soup: Soup, camera: Camera) -> Floats:
    """(4, 4) from the camera's axes to OpenGL's clip space; the first pixel's centre is half a pixel inside."""
    z = soup.positions[:, 2]
    # The nearer the planes, the finer the depth.
    near = max(camera.near, 0.999 * float(z[z > 0.0].min(initial=np.inf)))
    near = near if np.isfinite(near) else camera.near
    far = 1.001 * max(float(z.max()), 1.01 * near)
    w, h = camera.width, camera.height
    return np.array(
        [
            [2.0 * camera.fx / w, 0.0, 2.0 * (camera.cx + 0.5) / w - 1.0, 0.0],
            [0.0, 2.0 * camera.fy / h, 2.0 * (camera.cy + 0.5) / h - 1.0, 0.0],
            [0.0, 0.0, (far + near) / (far - near), -2.0 * far * near / (far - near)],
            [0.0, 0.0, 1.0, 0.0],
        ]
    )


def _set_light(program: Any, light: Light) -> None:
    count = len(light.towards)
    padding = np.zeros((MAX_LIGHTS - count, 3))
    program["lights"].value = count
    program["towards"].write(np.concatenate([light.directions, padding]).astype("f4").tobytes())
    strengths = np.asarray(light.strengths, dtype=np.float64).reshape(-1, 3)
    program["strength"].write(np.concatenate([strengths, padding]).astype("f4").tobytes())
    program["sky"].value, program["ground"].value = light.sky, light.ground
    program["surface"].value = light.wrap, light.specular, light.shininess
