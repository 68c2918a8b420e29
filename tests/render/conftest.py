"""OpenGL where it is."""

from __future__ import annotations

import pytest

from whim.errors import UsageError
from whim.render.opengl import OpenGLRenderer


@pytest.fixture(scope="session")
def opengl() -> OpenGLRenderer:
    try:
        return OpenGLRenderer()
    except UsageError as error:
        pytest.skip(f"no OpenGL here: {error}")
