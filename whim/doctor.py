"""``whim doctor``: is this machine ready, and what to do where it is not."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whim import __version__
from whim.resources import cache_dir

OPENCV_WHEELS = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)
EXTRAS = {
    "fetch": ("yt-dlp",),
    "annotate": ("mediapipe", "onnxruntime", "ray", "onnx", "pypi-simple"),
    "render": ("moderngl", "glcontext"),
    "train": ("torch", "safetensors"),
}


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    verdict: str
    """``ok``, ``note`` (works, with less) or ``problem``."""
    text: str


def examine() -> list[Check]:
    """Every check, cheap ones only: nothing is downloaded and no network is loaded."""
    return [_python(), _opencv(), *_extras(), *_programs(), _machine(), _cache(), *_weights()]


def exit_code(checks: list[Check]) -> int:
    """1 when there is a problem, else 0."""
    return int(any(check.verdict == "problem" for check in checks))


def render(checks: list[Check]) -> str:
    """Report for the terminal."""
    width = max(len(check.name) for check in checks)
    return "\n".join(f"{check.verdict:<8} {check.name:<{width}}  {check.text}" for check in checks)


def to_json(checks: list[Check]) -> list[dict[str, Any]]:
    """The same as JSON."""
    return [check.__dict__ for check in checks]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"{version}, whim {__version__} from {Path(__file__).parent}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _opencv() -> Check:
    found = [f"{name} {version}" for name in OPENCV_WHEELS if (version := _version(name))]
    if len(found) == 1:
        return Check("opencv", "ok", found[0])
    text = "no OpenCV" if not found else f"{', '.join(found)}: they overwrite each other"
    return Check("opencv", "problem", f"{text}; pip uninstall all, then pip install opencv-contrib-python")


def _extras() -> list[Check]:
    checks = []
    for extra, packages in EXTRAS.items():
        found = {package: _version(package) for package in packages}
        missing = [package for package, version in found.items() if version is None]
        if missing:
            checks.append(Check(extra, "note", f"{', '.join(missing)} missing; pip install 'whim[{extra}]'"))
        else:
            checks.append(
                Check(extra, "ok", ", ".join(f"{name} {version}" for name, version in found.items()))
            )
    return checks


def _programs() -> list[Check]:
    npm = shutil.which("npm")
    return [
        Check("npm", "ok", npm)
        if npm
        else Check(
            "npm",
            "note",
            "not installed: the handtrackjs hand detector is left out (ContactHands' place stays empty)",
        )
    ]


def _machine() -> Check:
    from whim.annotate.workers import capacity

    limits = capacity()
    return Check(
        "machine",
        "ok",
        f"{limits.cores} cores, {limits.free_bytes / 1e9:.1f} GB free: carries {limits.workers} workers",
    )


def _cache() -> Check:
    folder = cache_dir()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if not os.access(existing, os.W_OK):
        return Check("cache", "problem", f"{folder} cannot be written; set WHIM_CACHE to another folder")
    return Check("cache", "ok", f"{folder}, {free:.0f} GB free")


def _weights() -> list[Check]:
    from whim.models.pull import list_models

    rows = list_models()
    missing = [row.name for row in rows if row.status != "ready"]
    if not missing:
        return [Check("weights", "ok", f"{len(rows)} of {len(rows)} in the cache")]
    return [Check("weights", "note", f"not pulled: {', '.join(missing)}; run: whim models pull")]
