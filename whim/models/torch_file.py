"""Tensors of a PyTorch checkpoint without running what its pickle asks for.

Lightning stores configuration objects beside the weights, so ``torch.load(weights_only=True)`` refuses such files.
Here only what rebuilds tensors and plain containers is understood. Any other class or function becomes an inert
record that takes whatever it is given and does nothing; its name is reported. Tensors stay in the file until they
are used.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whim.errors import BadFileError, UsageError

_DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    MemoryError, RecursionError, AssertionError, struct.error, RuntimeError, zipfile.BadZipFile,
)  # fmt: skip

_TYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class TorchFile:
    """What a checkpoint holds."""

    content: Any
    """Containers and tensors; everything else as inert records."""
    ignored: tuple[str, ...]
    """Names of classes and functions that it asked for and did not get."""


def read_torch_file(path: Path) -> TorchFile:
    """The contents of a checkpoint that ``torch.save`` wrote (PyTorch 1.6 or later).

    Raises:
        UsageError: no such file.
        BadFileError: not such a checkpoint, or damaged.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise BadFileError(
            f"{path} is no PyTorch checkpoint, or one from before PyTorch 1.6; load it there and save it again"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise BadFileError(f"{path} is a zip archive, but no PyTorch checkpoint")
            root = pickles[0].removesuffix("data.pkl")
            if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
                raise BadFileError(f"{path} was written on a machine with another byte order")
            places = {
                entry.filename.removeprefix(f"{root}data/"): _place(path, entry)
                for entry in archive.infolist()
                if entry.filename.startswith(f"{root}data/")
            }
            with archive.open(pickles[0]) as stream:
                reader = _Unpickler(stream, path, places)
                content = reader.load()
    except _DAMAGED as error:
        raise BadFileError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    return TorchFile(content=content, ignored=tuple(sorted(reader.ignored)))


def state_dict(file: TorchFile, path: Path) -> dict[str, Tensor]:
    """The tensors by name: the checkpoint itself, or what it calls ``state_dict`` or ``model``.

    Raises:
        BadFileError: it holds no such thing.
    """
    content = file.content
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict):
        raise BadFileError(f"{path} holds no weights by name")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise BadFileError(f"{path} holds no weights by name")
    return tensors


def module_tensors(module: Any) -> dict[str, Tensor]:
    """Parameters and buffers by name of a network that was saved whole, as an object (an ``Inert`` one here)."""
    state = module.state if isinstance(module, Inert) else None
    if not isinstance(state, dict):
        return {}
    tensors = {
        str(name): value
        for kind in ("_parameters", "_buffers")
        for name, value in (state.get(kind) or {}).items()
        if isinstance(value, Tensor)
    }
    for name, child in (state.get("_modules") or {}).items():
        tensors |= {f"{name}.{inner}": value for inner, value in module_tensors(child).items()}
    return tensors


def _place(path: Path, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Where an entry's bytes begin in the file, and how many there are."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed")
    with path.open("rb") as stream:
        stream.seek(entry.header_offset)
        header = stream.read(30)
    if header[:4] != b"PK\x03\x04":
        raise ValueError(f"{entry.filename} is not where the archive says")
    name, extra = struct.unpack("<HH", header[26:30])
    return entry.header_offset + 30 + name + extra, entry.file_size


class Inert:
    """Stands for an object that is not loaded. Takes everything, does nothing, and keeps the state it was given."""

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """As a list."""

    def extend(self, values: Any) -> None:
        """As a list."""

    def add(self, value: Any) -> None:
        """As a set."""


@dataclass(frozen=True)
class _StorageType:
    dtype: torch.dtype


@dataclass(frozen=True)
class _Storage:
    path: Path
    offset: int
    count: int
    dtype: torch.dtype


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor in the file, mapped, not read."""
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without its numbers")
    if 0 in size:
        return torch.empty(tuple(size), dtype=storage.dtype)
    width = storage.dtype.itemsize
    mapped = np.memmap(
        storage.path, dtype=np.uint8, mode="c", offset=storage.offset, shape=(storage.count * width,)
    )
    # ``as_strided`` refuses what would reach beyond the numbers.
    return torch.from_numpy(mapped).view(storage.dtype).as_strided(tuple(size), tuple(stride), offset)


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise ValueError("a parameter that is no tensor")
    return data


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
    **{("torch", name): _StorageType(dtype) for name, dtype in _TYPES.items()},
}


# The one written in Python: it asks ``find_class`` and ``persistent_load`` for everything, and a damaged file
# cannot make it reserve gigabytes.
_Pure: Any = vars(pickle)["_Unpickler"]


class _Unpickler(_Pure):
    def __init__(self, stream: Any, path: Path, places: dict[str, tuple[int, int]]) -> None:
        super().__init__(stream)
        self._path = path
        self._places = places
        self.ignored: set[str] = set()

    def find_class(self, module: str, name: str) -> Callable[..., Any] | Any:
        """What a name in the pickle stands for."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        self.ignored.add(f"{module}.{name}")
        return Inert

    def persistent_load(self, what: Any) -> _Storage:
        """The numbers that a tensor lies in."""
        kind, storage, key, _, count = what
        if kind != "storage" or not isinstance(storage, _StorageType):
            raise ValueError(f"numbers of an unknown kind {storage!r}")
        offset, length = self._places[str(key)]
        if length < count * storage.dtype.itemsize:
            raise ValueError(f"the numbers {key} are cut short")
        return _Storage(path=self._path, offset=offset, count=int(count), dtype=storage.dtype)
