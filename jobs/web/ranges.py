"""Parts of bytes, as a browser asks for them when a person jumps within a video (RFC 9110, section 14)."""

import hashlib
import re

from starlette.requests import Request
from starlette.responses import Response

_BYTES = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
# A browser asks again with the tag after an hour, and is told that nothing changed.
_KEPT = "private, max-age=3600"


def served(request: Request, data: bytes, media_type: str) -> Response:
    """The bytes, the one range of them that was asked for, 304 where they are known, or 416.

    Several ranges, and what is no range at all, give everything, as the RFC allows.
    """
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"etag": tag, "accept-ranges": "bytes", "cache-control": _KEPT}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    match = _BYTES.fullmatch(request.headers.get("range", ""))
    if match is None or match.groups() == ("", "") or request.headers.get("if-range", tag) != tag:
        return Response(data, media_type=media_type, headers=headers)
    first, last = match.groups()
    if first:
        start, stop = int(first), min(int(last), len(data) - 1) if last else len(data) - 1
        if last and int(last) < int(first):  # no range: to be ignored
            return Response(data, media_type=media_type, headers=headers)
    else:
        start, stop = max(0, len(data) - int(last)), len(data) - 1
    if start > stop:
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{len(data)}"})
    headers["content-range"] = f"bytes {start}-{stop}/{len(data)}"
    return Response(data[start : stop + 1], 206, headers, media_type)
