"""Read the pickles that hand data comes in, without running what they ask for.

A pickle is a program: it may call any importable function. Here only what rebuilds numpy arrays, plain
containers, SciPy's sparse matrices and chumpy's constants is understood; every other name is refused, and
named. SciPy and chumpy need not be installed: their objects become inert records that know how to turn into
an array.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from whim.errors import BadFileError

_DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, MemoryError, RecursionError, UnicodeDecodeError, ImportError, AssertionError, struct.error,
)  # fmt: skip


_LARGEST_DENSE = 50_000_000


class UnsafePickleError(BadFileError):
    """A pickle asks for something that is not data."""

    code = "unsafe-pickle"


def load_pickle(path: Path) -> Any:
    """The contents of a pickle file; chumpy and sparse objects become numpy arrays.

    Raises:
        UnsafePickleError: when it asks for anything but data; nothing of it has been run.
        BadFileError: when it is truncated or no pickle.
    """
    return _load(path.read_bytes(), path)


def load_object_npy(path: Path) -> Any:
    """The contents of an ``.npy`` file that holds one pickled object (numpy's ``allow_pickle`` stays off).

    Raises: as ``load_pickle``.
    """
    stream = io.BytesIO(path.read_bytes())
    try:
        version = np.lib.format.read_magic(stream)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        _, _, dtype = header(stream)
    except ValueError as error:
        raise BadFileError(f"{path} is not an .npy file: {error}") from error
    if not dtype.hasobject:
        raise BadFileError(f"{path} holds a plain array of {dtype}, not a pickled object")
    content = _load(stream.read(), path)
    return to_arrays(content.item()) if isinstance(content, np.ndarray) and content.ndim == 0 else content


def _load(data: bytes, path: Path) -> Any:
    try:
        # latin1 keeps the bytes of arrays that Python 2 wrote as strings.
        return to_arrays(_DataUnpickler(io.BytesIO(data), encoding="latin1").load())
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path}: {error}") from error
    except _DAMAGED as error:
        raise BadFileError(f"{path} is damaged or no pickle ({type(error).__name__}: {error})") from error


def to_arrays(value: Any) -> Any:
    """Replace chumpy and sparse records by arrays, in nested containers too."""
    if isinstance(value, _Record):
        return value.array()
    if isinstance(value, dict):
        return {key: to_arrays(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_arrays(item) for item in value)
    return value


class _Record:
    """An object of a class that is not loaded: its state and nothing else."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __new__(cls, *_: Any) -> _Record:
        record = super().__new__(cls)
        record.state = {}
        return record

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise ValueError(f"unknown state of a {type(self).__name__}")
        self.state = state

    def array(self) -> np.ndarray:
        raise NotImplementedError


class _Chumpy(_Record):
    """``chumpy.Ch`` holds its value in ``x``; ``chumpy.reordering.Select`` picks entries of another one."""

    def array(self) -> np.ndarray:
        state = self.state
        if "x" in state:
            return np.asarray(to_arrays(state["x"]))
        if "a" in state and "idxs" in state:
            chosen = np.asarray(to_arrays(state["a"])).ravel()[np.asarray(state["idxs"])]
            shape = state.get("preferred_shape")
            return chosen if shape is None else chosen.reshape(shape)
        raise ValueError(f"a chumpy object with the fields {sorted(map(str, state))} is not a constant")


class _Compressed(_Record):
    """A compressed sparse matrix, made dense."""

    by_column = False

    def array(self) -> np.ndarray:
        state = self.state
        shape = tuple(int(n) for n in state["_shape" if "_shape" in state else "shape"])
        starts, inner, values = (np.asarray(state[key]) for key in ("indptr", "indices", "data"))
        outer = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        if np.prod(shape) > _LARGEST_DENSE:
            raise ValueError(f"a sparse matrix of shape {shape}")
        dense = np.zeros(shape)
        np.add.at(dense, (inner, outer) if self.by_column else (outer, inner), values)
        return dense


class _CompressedColumns(_Compressed):
    by_column = True


class _ArrayClass:
    """Stands for ``numpy.ndarray``, which pickles only name to say what to rebuild."""


def _reconstruct(cls: type, shape: Any, code: Any) -> np.ndarray:
    if cls is not _ArrayClass:
        raise ValueError("an array of an unknown class")
    return np.ndarray((0,), dtype=np.int8)


def _scalar(dtype: np.dtype, data: Any = b"") -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise ValueError("a scalar that is no number")
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype=dtype, count=1)[0]


def _from_buffer(data: Any, dtype: np.dtype, shape: Any, order: Any) -> np.ndarray:
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _reconstructor(cls: type, base: type, state: Any) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, _Record)):
        raise ValueError("an object of an unknown class")
    return cls()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise ValueError(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


_NUMPY_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMPY_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): np.dtype,
    **{(module, "_reconstruct"): _reconstruct for module in _NUMPY_CORE},
    **{(module, "scalar"): _scalar for module in _NUMPY_CORE},
    **{(module, "_frombuffer"): _from_buffer for module in _NUMPY_NUMERIC},
    ("copyreg", "_reconstructor"): _reconstructor,
    ("copy_reg", "_reconstructor"): _reconstructor,
    ("builtins", "object"): object,
    ("__builtin__", "object"): object,
    ("_codecs", "encode"): _encode,
}


# The unpickler written in Python: the one in C reserves gigabytes when a damaged file names a large memo
# index.
_Unpickler: Any = vars(pickle)["_Unpickler"]


class _DataUnpickler(_Unpickler):  # type: ignore[misc]
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "chumpy" or module.startswith("chumpy."):
            return type(f"chumpy.{name}", (_Chumpy,), {})
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csc_array"):
            return _CompressedColumns
        if module.startswith("scipy.sparse") and name in ("csr_matrix", "csr_array"):
            return _Compressed
        raise UnsafePickleError(
            f"the file asks Python to load {module}.{name}, which is not data; it was refused and nothing "
            "was run. Get the file again from its publisher"
        )
