"""One file over HTTP: resumed where it stopped, verified by checksum, whole or absent."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from whim.errors import WhimError, require
from whim.files import sha256 as digest_of
from whim.progress import Progress

TRIES = 4
TIMEOUT_S = 30.0


class DownloadError(WhimError):
    """A file could not be had."""

    code = "download"


class ChecksumError(DownloadError):
    """A file is not the one the catalogue names; it was deleted."""

    code = "checksum"


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    headers: Mapping[str, str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Download ``url`` to ``target``, unless it is there already with that checksum.

    A ``.part`` beside it is continued with a Range request.

    A part that turns out wrong (left by another version, or spliced by a careless server) is deleted and the
    file fetched once from its beginning.

    Raises:
        ChecksumError: the whole file has another checksum; nothing is kept.
        DownloadError: the server refuses, or the line breaks again and again. The part is kept.
        OSError: the file cannot be written (disk full).
    """
    if is_whole(target, sha256):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = part.exists() and part.stat().st_size > 0
    _fill(url, part, headers or {}, sleep)
    if resumed and digest_of(part) != sha256:
        part.unlink()
        _fill(url, part, headers or {}, sleep)
    check(part, sha256, without_password(url))
    part.replace(target)


def is_whole(path: Path, expected: str) -> bool:
    """True when an earlier entry or run has brought this file, and it is undamaged."""
    return path.is_file() and digest_of(path) == expected


def without_password(text: str) -> str:
    """``text`` with the ``user:password@`` of every address in it removed: private indexes carry a token there."""
    return re.sub(r"//[^/\s]*@", "//", text)


def check(path: Path, expected: str, name: str) -> None:
    """Compare a file with its checksum and delete it when it differs.

    Raises:
        ChecksumError: it differs.
    """
    if (actual := digest_of(path)) != expected:
        path.unlink()
        raise ChecksumError(f"{name}: sha256 is {actual}, expected {expected}; the file was deleted")


def _fill(url: str, part: Path, headers: Mapping[str, str], sleep: Callable[[float], None]) -> None:
    """Bring ``part`` to its full length, trying again after a broken line or a busy server."""
    requests = require("requests", extra="annotate")
    name = without_password(url)
    for attempt in range(1, TRIES + 1):
        try:
            with _ask(requests, url, part, headers) as response:
                if response.status_code == 416:  # the part is already as long as the file, or longer
                    return
                response.raise_for_status()
                _write(response, part)
                return
        except requests.HTTPError as error:
            status = error.response.status_code
            if attempt == TRIES or (status < 500 and status != 429):
                raise DownloadError(f"{name}: the server answers {status}") from error
        except requests.RequestException as error:
            if attempt == TRIES:
                raise DownloadError(
                    f"{name}: {type(error).__name__} after {TRIES} tries; the part is kept"
                ) from error
        sleep(2.0**attempt)


def _ask(requests: Any, url: str, part: Path, headers: Mapping[str, str]) -> Any:
    have = part.stat().st_size if part.exists() else 0
    # Identity: a compressed answer would break both the range and the length.
    wanted = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    return requests.get(url, headers=wanted, stream=True, timeout=TIMEOUT_S)


def _write(response: Any, part: Path) -> None:
    goes_on = response.status_code == 206
    length = response.headers.get("Content-Length")
    have = part.stat().st_size if goes_on else 0
    with (
        part.open("ab" if goes_on else "wb") as stream,
        Progress(int(length) if length else None, part.stem, "B") as bar,
    ):
        for block in response.iter_content(1 << 15):  # small: a block that breaks off is lost
            stream.write(block)
            bar.step(amount=len(block))
    # Over urllib3 1, requests is silent about a connection that closes early.
    if length and part.stat().st_size != have + int(length):
        from requests import ConnectionError as Broken

        raise Broken("the connection closed before the end of the file")
