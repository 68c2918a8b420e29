"""A server on loopback, tiny videos as bytes, and a configuration that never really waits."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from http_server import LocalServer
from noise_video import FACTS, encode

from whim.shards.ledger import Entry, read_ledger
from whim.sources.fetch.config import FetchConfig
from whim.sources.manifest import ManifestEntry, write_manifest


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


@pytest.fixture(autouse=True)
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment must not come between the fetch and this machine's own server."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MP4 with the facts of ``FACTS``."""
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MP4 with audio only."""
    path = tmp_path_factory.mktemp("sound") / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture
def config() -> FetchConfig:
    return FetchConfig(retries=2, backoff_s=0, pause_s=0, sleep_s=0, sleep_requests_s=0, socket_timeout_s=5)


@pytest.fixture
def manifest(tmp_path: Path, server: LocalServer) -> Callable[..., Path]:
    """``manifest({"a": "/a.mp4", "b": None})``: ids and paths, all expected to be as ``clip``."""

    def write(paths: dict[str, str | None], **facts: Any) -> Path:
        expected = FACTS | facts
        entries = [
            ManifestEntry(video_id=key, split="train", url=path and server.url(path), **expected)
            for key, path in paths.items()
        ]
        target = tmp_path / "manifest.csv"
        write_manifest(target, entries, "for a test")
        return target

    return write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "videos"


@pytest.fixture
def entry_of(out: Path) -> Callable[[str], Entry]:
    return lambda key: read_ledger(out)[1][key]
