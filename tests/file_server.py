"""A file server on 127.0.0.1 for tests, that supports Range and misbehaves in the ways real servers do."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file, and how the server treats it.

    drops: at how many bytes into each successive answer the connection is cut; later answers are whole.
    statuses: of each successive answer; later ones are 200 or 206. Both are for GET alone.
    hold_at: bytes after which a GET waits until `go` is set.
    announced: the length that a HEAD states instead of the true one. length: the one of a GET.
    """

    data: bytes
    content_type: str = "application/octet-stream"
    etag: str = ""
    modified: str = "Sat, 01 Jan 2022 00:00:00 GMT"
    drops: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    announced: int | None = None
    length: int | None = None
    ranges: bool = True
    honours_if_range: bool = True
    head: bool = True
    hold_at: int = 0
    go: threading.Event = field(default_factory=threading.Event)
    states_length: bool = True

    def __post_init__(self) -> None:
        self.etag = self.etag or f'"{hashlib.sha256(self.data).hexdigest()[:16]}"'


@dataclass
class Server:
    """files: path -> Served. log: (method, path, Range header) of each request."""

    files: dict[str, Served] = field(default_factory=dict)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    def asked(self, method: str) -> list[tuple[str, str]]:
        """(path, Range) of the requests by one method."""
        return [(path, asked) for kind, path, asked in self.log if kind == method]


@contextmanager
def serving() -> Iterator[Server]:
    """A server in a thread, ended with the block."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer("HEAD")

        def do_GET(self) -> None:
            self.answer("GET")

        def answer(self, method: str) -> None:
            wanted = self.headers.get("Range", "")
            server.log.append((method, self.path, wanted))
            file = server.files.get(self.path)
            if file is None:
                return self.refuse(404)
            if method == "HEAD" and not file.head:
                return self.refuse(405)
            if method == "GET" and file.statuses and (status := file.statuses.pop(0)) != 200:
                return self.refuse(status)
            condition = self.headers.get("If-Range")
            changed = file.honours_if_range and condition not in (None, file.etag, file.modified)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and file.ranges and not changed else 0
            body = file.data[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(file.data) - 1}/{len(file.data)}")
            length = file.announced if method == "HEAD" and file.announced is not None else len(body)
            if method == "GET" and file.length is not None:
                length = file.length
            for name, value in (
                ("Content-Type", file.content_type), ("ETag", file.etag), ("Last-Modified", file.modified),
                ("Content-Length", str(length) if file.states_length else ""),
            ):  # fmt: skip
                if value and value != "none":
                    self.send_header(name, value)
            if not file.states_length:
                self.close_connection = True
                self.send_header("Connection", "close")
            self.end_headers()
            if method == "GET":
                cut = file.drops.pop(0) if file.drops else None
                if file.hold_at and not start:
                    self.wfile.write(body[: file.hold_at])
                    file.go.wait(60)
                    body = body[file.hold_at :]
                with contextlib.suppress(OSError):  # the client may have gone
                    self.wfile.write(body[:cut])
                if cut is not None or len(body) < length:
                    self.close_connection = True

        def refuse(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
