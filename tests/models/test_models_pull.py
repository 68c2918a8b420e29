"""Catalogue entries from every kind of source, through failures, into the cache."""

import errno
import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from http_server import LocalServer

from whim import cli
from whim.errors import MissingWeightError, UsageError
from whim.models import catalog as catalog_module
from whim.models.catalog import load_catalog, weight_path
from whim.models.pull import list_models, pull, render_models, render_results, verify
from whim.models.sources import extract
from whim.perception.registry import ADAPTERS, adapter

WEIGHTS = b"some weights" * 1000
OTHER = b"other weights" * 1000


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


def entry(name: str, source: dict[str, Any], content: bytes = WEIGHTS) -> dict[str, Any]:
    return {
        "name": name, "role": "hands", "what": "a test", "paper_system": "OpenPose", "stands_in": True,
        "licence": "MIT", "licence_url": "https://example.org/licence", "file": f"{name}.bin",
        "size": len(content), "sha256": digest(content), "build": "copy", "source": source,
    }  # fmt: skip


@pytest.fixture
def make_catalog(tmp_path: Path) -> Callable[..., Path]:
    def make(*entries: dict[str, Any]) -> Path:
        path = tmp_path / f"catalog{len(list(tmp_path.glob('catalog*')))}.yaml"
        path.write_text(yaml.safe_dump({"entries": list(entries)}))
        return path

    return make


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


def test_pull_then_pull_again_without_network(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    path = make_catalog(entry("w", https(server)))
    assert [r.status for r in pull(None, catalog=path)] == ["pulled"]
    assert (cache / "models" / "w" / "w.bin").read_bytes() == WEIGHTS
    asked = len(server.requests)
    assert [r.status for r in pull(None, catalog=path)] == ["ready"]
    assert len(server.requests) == asked
    assert not (cache / "downloads").exists()


def test_one_failure_does_not_stop_the_others(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    wrong = https(server, "/wrong.bin") | {"sha256": "0" * 64}
    path = make_catalog(
        entry("wrong", wrong),
        entry("gone", https(server, "/gone.bin", always_status=404)),
        entry("w", https(server)),
    )
    results = {result.name: result for result in pull(None, catalog=path)}
    assert {name: result.status for name, result in results.items()} == {
        "wrong": "failed",
        "gone": "failed",
        "w": "pulled",
    }
    assert digest(WEIGHTS) in results["wrong"].detail
    assert "404" in results["gone"].detail
    assert not (cache / "models" / "wrong").exists()
    assert "failed" in render_results(list(results.values()))


def test_a_wrong_built_file_is_deleted(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    broken = entry("w", https(server)) | {"sha256": "1" * 64}
    (result,) = pull(None, catalog=make_catalog(broken))
    assert result.status == "failed"
    assert not (cache / "models" / "w" / "w.bin").exists()


def test_a_full_disk_leaves_nothing_half_written(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = make_catalog(entry("w", https(server)))
    with monkeypatch.context() as patch:
        patch.setattr("whim.models.pull.shutil.copyfile", full)
        (result,) = pull(None, catalog=path)
    assert (result.status, "no space left" in result.detail) == ("failed", True)
    assert not list((cache / "models").rglob("*.bin"))
    assert [r.status for r in pull(None, catalog=path)] == ["pulled"]


@pytest.mark.parametrize("form", ["wheel", "sdist"])
def test_members_of_a_package_archive(
    server: LocalServer,
    make_catalog: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    form: str,
) -> None:
    members = {"pkg/a.bin": WEIGHTS, "pkg/b.bin": OTHER}
    name, archive = (
        ("pkg-1.0-py3-none-any.whl", wheel(members))
        if form == "wheel"
        else ("pkg-1.0.tar.gz", sdist(members))
    )
    page = {
        "meta": {"api-version": "1.0"}, "name": "pkg",
        "files": [
            {"filename": name, "url": server.add(f"/files/{name}", archive), "hashes": {"sha256": digest(archive)}}
        ],
    }  # fmt: skip
    server.add("/simple/pkg/", json.dumps(page).encode(), content_type="application/vnd.pypi.simple.v1+json")
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/"))
    source = {"kind": "pypi", "project": "pkg", "archive": name, "sha256": digest(archive)}
    path = make_catalog(
        entry("a", source | {"members": ["pkg/a.bin"]}),
        entry("b", source | {"members": ["pkg/b.bin"]}, OTHER),
        entry("c", source | {"members": ["pkg/missing.bin"]}),
        entry("d", source | {"members": ["pkg/a.bin"], "archive": "pkg-2.0.tar.gz"}),
    )
    results = pull(None, catalog=path)
    assert [result.status for result in results] == ["pulled", "pulled", "failed", "failed"]
    assert "has no file pkg/missing.bin" in results[2].detail
    assert "has no pkg-2.0.tar.gz" in results[3].detail
    assert server.hits(f"/files/{name}") == 1  # one download serves all entries


def test_a_project_that_is_not_there(
    server: LocalServer, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/"))
    source = {"kind": "pypi", "project": "nothing", "archive": "x.whl", "sha256": "0" * 64, "members": ["a"]}
    (result,) = pull(None, catalog=make_catalog(entry("w", source)))
    assert (result.status, "nothing" in result.detail) == ("failed", True)


def test_members_cannot_land_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    archive = tmp_path / "evil.whl"
    archive.write_bytes(wheel({"../../evil.bin": b"x"}))
    extract(archive, ("../../evil.bin",), folder)
    assert [path.name for path in folder.iterdir()] == ["evil.bin"]
    assert not (tmp_path / "evil.bin").exists()


def test_links_and_folders_in_a_tar_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    with tarfile.open(archive, "w:gz") as tarred:
        for name, kind in (("link", tarfile.SYMTYPE), ("folder", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tarred.addfile(info)
    for member in ("link", "folder"):
        with pytest.raises(Exception, match=f"has no file {member}"):
            extract(archive, (member,), tmp_path)


def fake_npm(folder: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "packed.tgz").write_bytes(archive)
    script = folder / "npm"
    script.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "pack pkg@1.0 --pack-destination" ] && cp {folder}/packed.tgz "$4/pkg-1.0.tgz"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def npm_source(archive: bytes) -> dict[str, Any]:
    return {
        "kind": "npm",
        "package": "pkg",
        "version": "1.0",
        "sha256": digest(archive),
        "members": ["package/a.bin"],
    }


def test_npm_package(
    tmp_path: Path, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = sdist({"package/a.bin": WEIGHTS})
    fake_npm(tmp_path / "bin", archive, monkeypatch)
    (result,) = pull(None, catalog=make_catalog(entry("w", npm_source(archive))))
    assert result.status == "pulled", result.detail


def test_npm_package_with_another_checksum(
    tmp_path: Path, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path / "bin", sdist({"package/a.bin": OTHER}), monkeypatch)
    (result,) = pull(None, catalog=make_catalog(entry("w", npm_source(b"another"))))
    assert (result.status, "sha256" in result.detail) == ("failed", True)


def test_without_npm_the_entry_is_skipped(
    make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr(
        "whim.models.sources.shutil.which", lambda name: None if name == "npm" else which(name)
    )
    (result,) = pull(None, catalog=make_catalog(entry("w", npm_source(b""))))
    assert (result.status, result.detail) == ("skipped", "npm is not installed")


def test_hugging_face_honours_endpoint_and_token(
    server: LocalServer,
    make_catalog: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.add("/owner/repo/resolve/abc/sub/w.bin", WEIGHTS)
    monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    source = {
        "kind": "huggingface",
        "repository": "owner/repo",
        "revision": "abc",
        "path": "sub/w.bin",
        "sha256": digest(WEIGHTS),
    }
    (result,) = pull(None, catalog=make_catalog(entry("w", source)))
    assert result.status == "pulled", result.detail
    assert server.headers[-1]["Authorization"] == "Bearer hf_secret"
    (result,) = pull(None, catalog=make_catalog(entry("v", source | {"path": "none.bin"})))
    assert result.status == "failed"
    shown = capsys.readouterr()
    assert "hf_secret" not in result.detail + shown.out + shown.err


def test_verify_deletes_what_is_wrong(
    server: LocalServer, make_catalog: Callable[..., Path], cache: Path
) -> None:
    path = make_catalog(entry("w", https(server)), entry("v", https(server, "/v.bin")))
    pull(["w"], catalog=path)
    assert [r.status for r in verify(None, catalog=path)] == ["ready", "missing"]
    target = cache / "models" / "w" / "w.bin"
    target.write_bytes(WEIGHTS[:-1] + b"?")
    assert [r.status for r in verify(["w"], catalog=path)] == ["failed"]
    assert not target.exists()
    assert [r.status for r in pull(["w"], catalog=path)] == ["pulled"]


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="nearest is 'pedestrian-ssdlite'"):
        pull(["pedestrian-ssd"])


def test_a_missing_weight_gives_command_and_licence() -> None:
    with pytest.raises(MissingWeightError, match=r"licence MIT.*run: whim models pull pedestrian-ssdlite"):
        weight_path("pedestrian-ssdlite")


def test_the_shipped_catalogue_is_whole() -> None:
    entries = {entry.name: entry for entry in load_catalog()}
    assert len(entries) == len(load_catalog())
    assert all(entry.licence_url.startswith("https://") for entry in entries.values())
    needed = {name for use in ADAPTERS for name in adapter(use).weights}
    assert needed == {name for name, entry in entries.items() if entry.role != "demo"}
    assert not entries["mediapipe-hand-landmarker"].stands_in
    assert entries["handtrack-ssd320"].stands_in


def test_a_bad_catalogue_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text("entries: [{name: x}]")
    with pytest.raises(UsageError, match=r"catalog\.yaml"):
        catalog_module.load_catalog(path)


def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["status"] for row in rows} == {"not pulled"}
    assert "pedestrian-ssdlite" in render_models(list_models())
    assert cli.main(["models", "verify", "pedestrian-ssdlite"]) == 0
    assert "whim models pull pedestrian-ssdlite" in capsys.readouterr().out
    assert cli.main(["models", "pull", "no-such"]) == 2
