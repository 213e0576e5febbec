"""A way to an S3 server on which things go wrong: a proxy that answers in its place when it is told to."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import IO
from urllib.parse import urlsplit

WRITES = ("PUT", "POST", "DELETE")
# What a fault does with a request; PASS lets it through.
PASS, BUSY, SLOW, RESET, DENIED, GONE = "pass", "busy", "slow", "reset", "denied", "gone"
_FRAMING = {
    "transfer-encoding",
    "content-length",
    "content-encoding",
    "expect",
    "connection",
    "x-amz-trailer",
}
_FRAMING |= {"x-amz-decoded-content-length", "x-amz-content-sha256", "x-amz-sdk-checksum-algorithm"}
_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message></Error>'


@dataclass
class FaultyStore:
    """The proxy's address, and what it does: called with method, path and how many requests came before."""

    url: str
    fault: Callable[[str, str, int], str] = lambda method, path, number: PASS
    met: dict[str, int] = field(default_factory=dict)
    requests: int = 0


def now_and_then(method: str, path: str, number: int) -> str:
    """Every third request fares ill, each in another way."""
    return (BUSY, SLOW, RESET)[number // 3 % 3] if number % 3 == 1 else PASS


def read_only(method: str, path: str, number: int) -> str:
    """A bucket that takes nothing any more."""
    return DENIED if method in WRITES else PASS


def _unchunked(stream: IO[bytes]) -> bytes:
    """A body that comes in chunks; what trails behind them is dropped."""
    parts = []
    while size := int(stream.readline().partition(b";")[0], 16):
        parts.append(stream.read(size))
        stream.readline()
    while stream.readline().strip():
        pass
    return b"".join(parts)


@contextmanager
def faulty_store(behind: str) -> Iterator[FaultyStore]:
    """A proxy to the server at `behind`, until the block ends."""
    place, lock = urlsplit(behind), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            with lock:
                number, store.requests = store.requests, store.requests + 1
                what = store.fault(self.command, self.path, number)
                store.met[what] = store.met.get(what, 0) + 1
            if what in (RESET, GONE):
                # With unread bytes and no lingering the other side gets a reset, not an end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            body = self._body()
            if what == SLOW:
                time.sleep(0.5)
            if what == BUSY:
                self._send(503, {}, _ERROR.format("SlowDown", "Reduce your request rate.").encode())
            elif what == DENIED:
                self._send(403, {}, _ERROR.format("AccessDenied", "Access Denied").encode())
            else:
                self._pass(body)

        def _body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = _unchunked(self.rfile)
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            # AWS's own chunks, within or without those of HTTP.
            framed = "aws-chunked" in self.headers.get("Content-Encoding", "")
            return _unchunked(BytesIO(body)) if framed else body

        def _pass(self, body: bytes) -> None:
            onward = HTTPConnection(place.hostname, place.port, timeout=60)
            onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _FRAMING:
                    onward.putheader(name, value)
            onward.putheader("Content-Length", str(len(body)))
            onward.endheaders(body)
            answer = onward.getresponse()
            self._send(answer.status, dict(answer.getheaders()), answer.read())
            onward.close()

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            length = str(len(body))
            for name, value in headers.items():
                if name.lower() == "content-length":
                    length = value  # a HEAD tells of a body that does not come
                elif name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store = FaultyStore(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
