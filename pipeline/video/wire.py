"""Messages between a process and its sandboxed child: a JSON header and raw bytes, never pickles."""

import json
import socket
import struct

_HEADER = struct.Struct("!II")
# No honest header is larger; a child that claims more is not believed.
_LARGEST_HEADER = 16 * 1024**2
_LARGEST_BODY = 2 * 1024**3


class WireClosed(Exception):
    """The other side is gone, or talks nonsense."""


def send(to: socket.socket, message: dict, body: bytes = b"") -> None:
    head = json.dumps(message).encode()
    to.sendall(_HEADER.pack(len(head), len(body)) + head)
    if body:
        to.sendall(body)


def receive(source: socket.socket) -> tuple[dict, bytearray]:
    """One message.

    Raises:
        WireClosed: the other side closed, or broke the protocol.
        TimeoutError: the socket's timeout passed.
    """
    head_size, body_size = _HEADER.unpack(_exactly(source, _HEADER.size))
    if head_size > _LARGEST_HEADER or body_size > _LARGEST_BODY:
        raise WireClosed("an impossible message")
    try:
        message = json.loads(bytes(_exactly(source, head_size)))
    except ValueError as error:
        raise WireClosed("not a message") from error
    return message, _exactly(source, body_size)


def _exactly(source: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view, at = memoryview(data), 0
    while at < count:
        got = source.recv_into(view[at:])
        if got == 0:
            raise WireClosed("closed")
        at += got
    return data
