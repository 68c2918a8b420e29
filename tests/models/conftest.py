"""A cache folder of its own, a server on loopback and catalogues on the spot."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from http_server import LocalServer


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and registries that answer nobody until a test sets its own."""
    monkeypatch.setenv("WHIM_CACHE", str(tmp_path / "cache"))
    for name in ("HF_ENDPOINT", "PIP_INDEX_URL", "npm_config_registry"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """Reached past the proxy that the environment names, which answers nobody."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with LocalServer() as running:
        yield running


@pytest.fixture
def make_catalog(tmp_path: Path) -> Callable[..., Path]:
    def make(*entries: dict[str, Any]) -> Path:
        path = tmp_path / f"catalog{len(list(tmp_path.glob('catalog*')))}.yaml"
        path.write_text(yaml.safe_dump({"entries": list(entries)}))
        return path

    return make
