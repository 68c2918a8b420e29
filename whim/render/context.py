"""The one OpenGL context of a process, and the thread that owns it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from whim.errors import UsageError, require
from whim.render import shaders

T = TypeVar("T")

_KEPT_SIZES = 4
_MESA_THREADS = "LP_NUM_THREADS"


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What is drawn into, for one size of picture."""

    samples: Any
    """Colour and alpha of the samples; the same as ``means`` without supersampling."""
    sample_colours: Any
    means: Any
    geometry: Any
    parts: tuple[Any, ...]
    """All textures and buffers, to be released."""


class Context:
    """A context with its programs and targets. Everything here runs in the context's own thread."""

    def __init__(self) -> None:
        moderngl = require("moderngl", extra="render")
        # With threads of its own, Mesa's software renderer would wait forever in a forked process for threads
        # that are not there; and a data pipeline has a process per core anyhow.
        chosen = os.environ.get(_MESA_THREADS)
        os.environ[_MESA_THREADS] = chosen or "0"
        try:
            self.gl: Any = moderngl.create_context(standalone=True, backend="egl", require=330)
        except Exception as error:  # moderngl raises bare ones
            raise UsageError(f"no OpenGL context opens here ({error})", code="no-opengl") from error
        finally:
            if chosen is None:
                del os.environ[_MESA_THREADS]
        self.device: str = self.gl.info["GL_RENDERER"]
        self.largest: int = self.gl.info["GL_MAX_TEXTURE_SIZE"]
        software = any(name in self.device for name in ("llvmpipe", "softpipe"))
        self.survives_fork = software and chosen in (None, "0")
        self.colour = self.gl.program(vertex_shader=shaders.VERTEX, fragment_shader=shaders.COLOUR)
        self.geometry = self.gl.program(vertex_shader=shaders.VERTEX, fragment_shader=shaders.GEOMETRY)
        self._means: dict[int, Any] = {}
        self._targets: OrderedDict[tuple[int, int, int], Targets] = OrderedDict()

    def mean(self, factor: int) -> Any:
        """The vertex array, of three vertices, that fills the viewport with means of samples."""
        if factor not in self._means:
            program = self.gl.program(
                vertex_shader=shaders.WHOLE_PICTURE, fragment_shader=shaders.mean(factor)
            )
            self._means[factor] = self.gl.vertex_array(program, [])
        return self._means[factor]

    def targets(self, size: tuple[int, int], factor: int) -> Targets:
        """Targets for pictures of (width, height) with ``factor`` squared samples per pixel.

        Those of the last few sizes are kept.
        """
        key = (*size, factor)
        if key not in self._targets:
            while len(self._targets) >= _KEPT_SIZES:
                for part in self._targets.popitem(last=False)[1].parts:
                    part.release()
            self._targets[key] = self._new_targets(size, factor)
        self._targets.move_to_end(key)
        return self._targets[key]

    def _new_targets(self, size: tuple[int, int], factor: int) -> Targets:
        gl = self.gl
        fine = size[0] * factor, size[1] * factor
        colours, fine_depth = gl.texture(fine, 4, dtype="f4"), gl.depth_renderbuffer(fine)
        seen, depth = gl.texture(size, 2, dtype="f4"), gl.depth_renderbuffer(size)
        samples, geometry = gl.framebuffer([colours], fine_depth), gl.framebuffer([seen], depth)
        parts = [samples, geometry, colours, fine_depth, seen, depth]
        means = samples
        if factor > 1:
            mean_colours = gl.texture(size, 4, dtype="f4")
            means = gl.framebuffer([mean_colours])
            parts += [means, mean_colours]
        return Targets(
            samples=samples, sample_colours=colours, means=means, geometry=geometry, parts=tuple(parts)
        )


class _Owner:
    """A thread with a context: OpenGL's calls must come from the thread in which the context is current."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="opengl")
        try:
            self.context = self.thread.submit(Context).result()
        except BaseException:
            self.thread.shutdown(wait=False)
            raise


_owner: _Owner | None = None
_left_by_parents: list[_Owner] = []
_lock = threading.Lock()


def _forget_lock() -> None:
    """Another thread may have held it when the process was forked."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(after_in_child=_forget_lock)


def in_context(work: Callable[[Context], T]) -> T:
    """Run ``work`` with this process's context, opened at the first call, in its thread.

    Raises:
        MissingExtraError: without moderngl.
        UsageError: when no context opens, or not after a fork.
    """
    global _owner
    with _lock:
        if _owner is not None and _owner.process != os.getpid():
            if not _owner.context.survives_fork:
                raise UsageError(
                    f"this process was forked from one that already drew with OpenGL on {_owner.context.device}, "
                    "whose driver does not survive that: start workers by spawn, or use the numpy renderer",
                    code="forked-opengl",
                )
            # Never touched again, not even by the garbage collector: it is the parent's.
            _left_by_parents.append(_owner)
            _owner = None
        if _owner is None:
            _owner = _Owner()
        owner = _owner
    return owner.thread.submit(work, owner.context).result()
