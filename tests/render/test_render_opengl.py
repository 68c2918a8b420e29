"""The OpenGL renderer against the numpy one, and its life between threads and processes."""

from __future__ import annotations

import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest
from render.shapes import camera, rectangle, soup

from whim.conventions import Side
from whim.errors import UsageError
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import pose_from_angles, sample_angles
from whim.render import choose, context
from whim.render.choose import open_renderer
from whim.render.hand import hand_mesh
from whim.render.opengl import OpenGLRenderer
from whim.render.software import NumpyRenderer
from whim.render.types import Camera, Light, Mesh, Rendered


def hands() -> list[Mesh]:
    """Two hands that overlap, one cut by the border of the picture."""
    model = load_open_hand()
    rng = np.random.default_rng(4)
    poses = pose_from_angles(model, sample_angles(rng, 2))
    return [
        hand_mesh(model, rng.normal(size=10), pose, orient, place, side, colour, label=label)
        for label, (pose, orient, place, side, colour) in enumerate(
            (
                (poses[0], (1.5, 0.4, 0.2), (0.12, 0.05, 0.55), Side.RIGHT, (0.9, 0.5, 0.2)),
                (poses[1], (1.2, -0.3, 0.3), (-0.02, -0.04, 0.6), Side.LEFT, rng.random((778, 3))),
            ),
            start=1,
        )
    ]


def compare(one: Rendered, other: Rendered, allowed: float) -> None:
    """Equal but for a share ``allowed`` of the covered pixels: OpenGL rounds corners to 1/256 of a pixel, which
    moves edges."""
    covered = int((one.labels > 0).sum())
    assert covered > 50
    differs = one.labels != other.labels
    assert differs.sum() <= allowed * covered
    alpha = np.abs(one.alpha - other.alpha) > 1e-3
    assert alpha.sum() <= allowed * covered
    same = ~differs & (one.labels > 0)
    # Across an edge inside one mesh either face may be seen.
    depth = np.abs(one.depth[same] - other.depth[same]) > 1e-5
    assert depth.sum() <= allowed * covered
    levels = np.abs(one.picture((0, 0, 0)).astype(int) - other.picture((0, 0, 0))).max(axis=2)
    assert (levels > 2).sum() <= allowed * covered
    assert np.isinf(other.depth[other.labels == 0]).all()


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_both_draw_the_same_hands(opengl: OpenGLRenderer, supersample: int) -> None:
    view = Camera(fx=260.0, fy=250.0, cx=97.3, cy=70.9, width=200, height=150)
    light = Light(
        towards=((-0.4, -0.7, -0.6), (0.9, 0.1, -0.2)), strengths=((0.8, 0.8, 0.7), (0.1, 0.2, 0.4))
    )
    drawn = [r.render(hands(), view, light, supersample=supersample) for r in (NumpyRenderer(), opengl)]
    assert {*np.unique(drawn[0].labels)} == {0, 1, 2}
    compare(*drawn, allowed=0.002)


def test_both_draw_the_same_triangles(opengl: OpenGLRenderer) -> None:
    """One- and two-sided, labelled face by face, behind the camera and through the near plane."""
    view = camera(240, 180, fx=300.0, fy=270.0, cx=115.0, cy=88.0, near=0.05)
    meshes = soup(np.random.default_rng(7), nearest=-0.6)
    compare(NumpyRenderer().render(meshes, view), opengl.render(meshes, view), allowed=0.02)


def test_both_draw_nothing_of_nothing(opengl: OpenGLRenderer) -> None:
    view = camera()
    behind = rectangle(view, 2, 2, 9, 9).moved(np.diag([1.0, -1.0, -1.0]))
    beside = rectangle(view, -50, -50, -40, -40)
    for meshes in ([], [behind], [beside], [behind, beside]):
        drawn = opengl.render(meshes, view, supersample=2)
        assert not drawn.labels.any()
        assert not drawn.alpha.any()
        assert not drawn.colour.any()
        assert np.isinf(drawn.depth).all()
    # What was drawn before does not shine through.
    drawn = opengl.render([rectangle(view, 2, 2, 9, 9)], view, supersample=2)
    assert drawn.labels.any()
    assert not opengl.render([behind], view, supersample=2).labels.any()


def test_sizes_beyond_the_driver_are_refused(opengl: OpenGLRenderer) -> None:
    view = camera(40_000, 8)
    with pytest.raises(ValueError, match="numpy renderer"):
        opengl.render([rectangle(view, 2, 2, 9, 7)], view)


def test_any_thread_may_draw(opengl: OpenGLRenderer) -> None:
    meshes, view = soup(np.random.default_rng(5)), camera(120, 90, fx=150.0, fy=130.0, cx=60.0, cy=44.0)
    here = opengl.render(meshes, view)
    with ThreadPoolExecutor(max_workers=3) as pool:
        for drawn in pool.map(lambda _: opengl.render(meshes, view), range(6)):
            assert (drawn.labels == here.labels).all()
            assert (drawn.colour == here.colour).all()


def test_a_forked_process_opens_its_own_context_or_says_why_not(opengl: OpenGLRenderer) -> None:
    meshes, view = soup(np.random.default_rng(5)), camera()
    here = opengl.render(meshes, view, supersample=2)
    survives = context.in_context(lambda opened: opened.survives_fork)
    child = os.fork()
    if child == 0:
        outcome = 1
        try:
            drawn = opengl.render(meshes, view, supersample=2)
            outcome = 0 if survives and (drawn.colour == here.colour).all() else 2
        except UsageError as error:
            outcome = 0 if not survives and error.code == "forked-opengl" else 3
        finally:
            os._exit(outcome)
    for _ in range(300):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the forked process hangs")
    assert os.waitstatus_to_exitcode(status) == 0
    assert (opengl.render(meshes, view, supersample=2).colour == here.colour).all()


def test_after_a_fork_a_driver_of_a_card_is_not_touched(
    opengl: OpenGLRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = context._owner
    assert owner is not None
    monkeypatch.setattr(owner, "process", -1)
    monkeypatch.setattr(owner.context, "survives_fork", False)
    with pytest.raises(UsageError, match="forked") as caught:
        opengl.render([rectangle(camera(), 2, 2, 9, 9)], camera())
    assert caught.value.code == "forked-opengl"
    assert open_renderer("auto").name == "numpy"


def test_auto_takes_opengl_where_it_opens(opengl: OpenGLRenderer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert open_renderer().name == "opengl"
    assert opengl.device in caplog.text


def test_auto_falls_back_to_numpy_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def closed() -> None:
        raise UsageError("no OpenGL context opens here (no driver)", code="no-opengl")

    monkeypatch.setattr(choose, "OpenGLRenderer", closed)
    caplog.set_level(logging.INFO)
    assert open_renderer("auto").name == "numpy"
    assert "no driver" in caplog.text
    with pytest.raises(UsageError, match="no driver"):
        open_renderer("opengl")


def test_renderers_have_names() -> None:
    assert get_args(choose.Backend) == ("auto", "numpy", "opengl")
    assert open_renderer("numpy").name == "numpy"
    with pytest.raises(UsageError, match="vulkan"):
        open_renderer("vulkan")  # type: ignore[arg-type]
