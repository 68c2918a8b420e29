"""A small web server on loopback whose paths misbehave on request.

::

    with LocalServer() as server:
        server.add("/clip.mp4", body, drop_after=10_000, drop_times=1)
        download(server.url("/clip.mp4"))
        assert server.hits("/clip.mp4") == 2
"""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

_PIECE = 1 << 14


@dataclass(kw_only=True)
class Resource:
    """One path of the server and how it misbehaves."""

    body: bytes
    content_type: str = "application/octet-stream"
    fail_first: int = 0
    """The first n requests are answered with ``status``."""
    status: int = 503
    always_status: int | None = None
    """Answer every request with this status."""
    drop_after: int | None = None
    """Cut the connection after this many bytes of the body, ``drop_times`` times."""
    drop_times: int = 1
    ignore_range: bool = False
    delay: float = 0.0
    """Seconds between pieces of the body: a slow line."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every answer, for example ``Retry-After``."""
    hits: int = 0


class LocalServer:
    """Threading HTTP server on 127.0.0.1 with a request log. Use as a context manager."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str | None]] = []
        """(method, path, Range header or None) of every request, in order of arrival."""
        self.headers: list[dict[str, str]] = []
        """All headers of every request, in the same order."""
        self.resources: dict[str, Resource] = {}
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def add(self, path: str, body: bytes = b"", **behaviour: Any) -> str:
        """Serve ``body`` at ``path``; see :class:`Resource` for the behaviours. Returns the URL."""
        self.resources[path] = Resource(body=body, **behaviour)
        return self.url(path)

    def url(self, path: str) -> str:
        """Full address of ``path``."""
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def hits(self, path: str) -> int:
        """Number of requests for ``path`` so far."""
        with self.lock:
            return sum(1 for _, requested, _ in self.requests if requested == path)

    def __enter__(self) -> LocalServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: LocalServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up (yt-dlp's probe does) is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the request log of the server is what tests look at."""

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def _answer(self, *, send_body: bool) -> None:
        owner = self.server.owner
        path = self.path.split("?", 1)[0]
        wanted = self.headers.get("Range")
        with owner.lock:
            owner.requests.append((self.command, path, wanted))
            owner.headers.append(dict(self.headers.items()))
            resource = owner.resources.get(path)
            if resource is not None:
                resource.hits += 1
                failing = resource.hits <= resource.fail_first
                drops = resource.drop_after is not None and resource.drop_times > 0
                dropping = send_body and not failing and drops
                if dropping:
                    resource.drop_times -= 1
        if resource is None:
            return self._status_only(HTTPStatus.NOT_FOUND)
        if resource.always_status is not None:
            return self._status_only(resource.always_status, resource.headers)
        if failing:
            return self._status_only(resource.status, resource.headers)

        total = len(resource.body)
        span = None if resource.ignore_range or wanted is None else _parse_range(wanted, total)
        if span is not None and span[0] >= span[1]:
            return self._status_only(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{total}"}
            )
        start, end = span or (0, total)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK)
        self.send_header("Content-Type", resource.content_type)
        self.send_header("Content-Length", str(end - start))
        for name, value in resource.headers.items():
            self.send_header(name, value)
        if not resource.ignore_range:
            self.send_header("Accept-Ranges", "bytes")
        if span:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{total}")
        if dropping:
            self.send_header("Connection", "close")
        self.end_headers()
        if not send_body:
            return None
        stop = min(end, start + resource.drop_after) if dropping and resource.drop_after is not None else end
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            for at in range(start, stop, _PIECE):
                self.wfile.write(resource.body[at : min(at + _PIECE, stop)])
                if resource.delay and owner.closing.wait(resource.delay):
                    break
        if stop != end:
            self.close_connection = True
        return None

    def _status_only(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _parse_range(text: str, total: int) -> tuple[int, int] | None:
    """Half-open span of a single ``bytes=`` range; None when it is not one."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", text.strip())
    if not found or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if not first:
        return max(0, total - int(last)), total
    return int(first), min(total, int(last) + 1) if last else total
