"""Which renderer draws."""

from __future__ import annotations

import logging
from typing import Literal, get_args

from whim.errors import UsageError
from whim.render.opengl import OpenGLRenderer
from whim.render.software import NumpyRenderer
from whim.render.types import Renderer

Backend = Literal["auto", "numpy", "opengl"]

_LOG = logging.getLogger(__name__)


def open_renderer(backend: Backend = "auto") -> Renderer:
    """The renderer of that name; ``auto`` is OpenGL where it works and numpy elsewhere, and logs which.

    Both give the same pictures up to rounding at edges.

    Raises:
        MissingExtraError: for ``opengl`` without moderngl.
        UsageError: for ``opengl`` where no context opens, and for another name.
    """
    if backend not in get_args(Backend):
        raise UsageError(f"no renderer is called {backend!r}; there are {', '.join(get_args(Backend))}")
    renderer: Renderer = NumpyRenderer()
    if backend != "numpy":
        try:
            renderer = OpenGLRenderer()
        except UsageError as error:
            if backend == "opengl":
                raise
            _LOG.info("drawing with numpy: %s", error)
            return renderer
    _LOG.info(
        "drawing with %s",
        renderer.name if renderer.name == renderer.device else f"OpenGL on {renderer.device}",
    )
    return renderer
