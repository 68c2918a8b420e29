"""How networks are opened and closed. The adapters say what to do with them."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.errors import BadFileError, require
from whim.perception.types import Image


def onnx_session(path: Path, threads: int) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU with ``threads`` threads.

    Raises:
        BadFileError: the file is not an ONNX model.
    """
    ort = require("onnxruntime", extra="annotate")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class below Exception
        raise BadFileError(
            f"{path}: not a model onnxruntime can load ({error}); run: whim models verify"
        ) from error


def centred_input(image: Image, size: int) -> NDArray[np.float32]:
    """(H, W, 3) RGB bytes -> (1, size, size, 3) float32 in -1..1, stretched as in training."""
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return (small.astype(np.float32) / np.float32(127.5) - np.float32(1.0))[None]


class LandmarkerTask:
    """A MediaPipe landmarker in image mode, alive until it is closed by name or the process ends."""

    def __init__(self, kind: str, model: Path, **options: Any) -> None:
        """Open a ``kind`` ("HandLandmarker" or "PoseLandmarker") with its own options.

        Raises:
            BadFileError: the file is not a bundle for this task.
        """
        mediapipe = require("mediapipe", extra="annotate")
        self._image = mediapipe.Image
        self._format = mediapipe.ImageFormat.SRGB
        vision = mediapipe.tasks.vision
        base = mediapipe.tasks.BaseOptions(model_asset_path=str(model))
        try:
            self._task = getattr(vision, kind).create_from_options(
                getattr(vision, f"{kind}Options")(base_options=base, **options)
            )
        except (RuntimeError, ValueError) as error:
            raise BadFileError(
                f"{model}: not a bundle MediaPipe can load ({error}); run: whim models verify"
            ) from error
        # MediaPipe's finaliser closes the task, which can deadlock under the garbage collector
        # (google-ai-edge/mediapipe#6233) and fails at exit, when its threads are gone. One reference more
        # than anybody can drop keeps the finaliser from ever running; ``close`` frees the network itself.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._task))

    def detect(self, image: Image) -> Any:
        """MediaPipe's result for one picture (H, W, 3) RGB."""
        return self._task.detect(self._image(image_format=self._format, data=np.ascontiguousarray(image)))

    def close(self) -> None:
        """Free the network; closing twice does nothing."""
        self._task.close()
