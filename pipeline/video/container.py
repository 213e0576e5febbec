"""Which files may reach a decoder: an allow-list of containers, by content and never by name.

FFmpeg guesses the format of what it is given, and some formats it knows are little programs: playlists,
concat scripts, session descriptions that make it open other files and sockets. Here the first bytes
name the format, the format is forced, and FFmpeg reads through a Python file object: it is never given a
path or a URL, and its requests to open anything else are refused.
"""

from typing import BinaryIO

import av

from pipeline.video.rejection import Rejection

SNIFF_BYTES = 4096
# A movie header larger than this is not a movie header.
LARGEST_MOOV = 64 * 1024**2

_MOV_ATOMS = {
    b"ftyp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
    b"pnot",
    b"styp",
    b"moof",
    b"sidx",
    b"emsg",
    b"uuid",
    b"udta",
    b"pict",
    b"junk",
    b"prfl",
}
_MAGIC = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"FLV\x01", "flv"),
    (b"FWS", "swf"),
    (b"CWS", "swf"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"OggS", "ogg"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "mxf"),
    (b"YUV4MPEG2 ", "yuv4mpegpipe"),
    (b"DKIF", "ivf"),
    (b".RMF", "rm"),
    (b"nut/multimedia container", "nut"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpegvideo"),
    (b"\x00\x00\x01\xb0", "m4v"),
    (b"\x1f\x07\x00", "dv"),
)
# Text that FFmpeg would read as a script: named in the reason, so that the owner knows why.
_SCRIPTS = (
    (b"#extm3u", "an HLS playlist"),
    (b"ffconcat", "a concat script"),
    (b"<mpd", "a DASH manifest"),
    (b"<smil", "a SMIL playlist"),
    (b"<asx", "an ASX playlist"),
    (b"[playlist]", "a playlist"),
    (b"[reference]", "a reference playlist"),
    (b"v=0", "a session description"),
    (b"rtsptext", "a reference movie"),
    (b"rtsp://", "a reference to a stream"),
    (b"http://", "a reference to a URL"),
    (b"https://", "a reference to a URL"),
)
_PICTURES = (b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cjP  ")


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container that these first bytes begin, or None if it is none we open."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[4:8] in _MOV_ATOMS:
        return "mov"
    # JPEG 2000 has a signature of its own before the type; of its two forms one is a picture.
    if head[4:8] == b"jP  " and head[16:20] == b"ftyp" and head[20:24] == b"mjp2":
        return "mov"
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"):
        return "avi"
    if head.startswith(b"\x89PNG\r\n\x1a\n") and b"acTL" in head[:512]:
        return "apng"
    for size, offset in ((188, 0), (192, 4), (204, 0)):
        syncs = head[offset : 5 * size : size]
        if len(syncs) >= 2 and set(syncs) == {0x47}:
            return "mpegts"
    return _raw_stream(head)


def _raw_stream(head: bytes) -> str | None:
    """Annex B start codes without a container: the first unit's type tells H.264 from HEVC."""
    start = 4 if head.startswith(b"\x00\x00\x00\x01") else 3 if head.startswith(b"\x00\x00\x01") else 0
    if not start or len(head) < start + 2:
        return None
    first, second = head[start], head[start + 1]
    if first & 0x80:
        return None
    if (first >> 1) & 0x3F in (32, 33, 34, 35, 39) and first & 1 == 0 and second & 0xF8 == 0:
        return "hevc"
    return "h264" if first & 0x1F in (1, 5, 6, 7, 9) else None


def identify(file: BinaryIO) -> str:
    """The container of an open file, which is left at its beginning.

    Raises:
        Rejection: empty, no video container, or one that refers to other files.
    """
    file.seek(0)
    head = file.read(SNIFF_BYTES)
    file.seek(0)
    if not head:
        raise Rejection("empty_file", "The file is empty.")
    name = container_of(head)
    if name is None:
        raise Rejection(*_why_not(head))
    if name == "mov":
        _check_movie(file)
        file.seek(0)
    return name


def _why_not(head: bytes) -> tuple[str, str]:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, what in _SCRIPTS:
        if text.startswith(mark):
            return "refers_elsewhere", f"The file is {what}, which can read other files; it is never opened."
    if text.startswith(b"version https://git-lfs"):
        return "not_downloaded", "It is only Git LFS's pointer to the file; run `git lfs pull` where it lies."
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "picture", "The file is a WebP picture; convert an animation to MP4 first."
    if head.startswith((b"\x89PNG", *_PICTURES)):
        return "picture", "The file is a picture, not a video."
    if head.startswith((b"ID3", b"fLaC", b"\x0bw")) or (head[:4] == b"RIFF" and head[8:12] == b"WAVE"):
        return "no_video", "It is a sound file, without a picture."
    if is_text(head):
        return "not_a_video", "The file is text, whatever its name says."
    return "not_a_video", "The file does not begin like any video container that is read here."


def is_text(head: bytes) -> bool:
    """Whether these first bytes hold no control characters but those of plain text."""
    sample = head[:1024]
    return sum(byte < 9 or 13 < byte < 32 for byte in sample) == 0


def _boxes(data: bytes, start: int, end: int):
    while start + 8 <= end:
        size, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        header = 8
        if size == 1 and start + 16 <= end:
            size, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < header:
            return
        yield kind, start + header, min(start + size, end)
        start += size


def _top_boxes(file: BinaryIO, length: int):
    """Triples (kind, begin of its content, end) of a movie's outermost boxes, in their order."""
    at = 0
    for _ in range(100_000):
        if at + 8 > length:
            return
        file.seek(at)
        header = file.read(16)
        size, kind, skip = int.from_bytes(header[:4], "big"), header[4:8], 8
        if size == 1:
            size, skip = int.from_bytes(header[8:16], "big"), 16
        elif size == 0:
            size = length - at
        if size < skip:
            return
        yield kind, at + skip, at + size
        at += size


def _check_movie(file: BinaryIO) -> None:
    """Refuse a QuickTime or MP4 file whose pictures lie in another file, or are encrypted."""
    for kind, start, end in _top_boxes(file, file.seek(0, 2)):
        if kind == b"moov":
            if end - start > LARGEST_MOOV:
                raise Rejection("too_large", f"The movie header claims {(end - start) / 1e6:.0f} MB.")
            file.seek(start)
            _check_references(file.read(end - start))


def lacks_bytes(file: BinaryIO, name: str) -> bool | None:
    """Whether a file ends before what its own structure says it holds; None where that does not say.

    Only this makes a torso. A header may count frames that were never meant to be shown: those that an edit
    list cuts off, and the empty ones with which an AVI holds the frame before.
    """
    length = file.seek(0, 2)
    if name == "mov":
        return any(end > length for _, _, end in _top_boxes(file, length))
    if name == "avi":
        file.seek(0)
        claimed = int.from_bytes(file.read(8)[4:], "little")
        # One that was never finished has no size.
        return 8 + claimed > length if claimed else None
    return None


_PARENTS = {b"trak", b"mdia", b"minf", b"dinf", b"stbl"}


def _check_references(moov: bytes) -> None:
    pending = [(0, len(moov))]
    while pending:
        for kind, start, end in _boxes(moov, *pending.pop()):
            if kind in _PARENTS:
                pending.append((start, end))
            elif kind == b"rmra":
                raise Rejection("refers_elsewhere", "The movie is a reference to another movie.")
            elif kind == b"stsd":
                if any(entry == b"encv" for entry, _, _ in _boxes(moov, start + 8, end)):
                    raise Rejection("encrypted", "The video is encrypted.")
            elif kind == b"dref":
                for entry, at, stop in _boxes(moov, start + 8, end):
                    # Flag 1: the media lie in this file, whatever the entry names.
                    if stop - at >= 4 and not moov[at + 3] & 1:
                        reference = entry.decode("latin-1").strip()
                        raise Rejection(
                            "refers_elsewhere",
                            f"The movie keeps its media in another file ({reference} reference).",
                        )


def _refuse(url: str, flags: int, options: dict) -> None:
    raise PermissionError(f"a video may not open {url!r}")


def open_container(file: BinaryIO, name: str) -> av.container.InputContainer:
    """Open a file object for demuxing with the format forced and every other opening refused."""
    file.seek(0)
    return av.open(
        file,
        mode="r",
        format=name,
        container_options={"protocol_whitelist": "", "format_whitelist": name_whitelist(name)},
        metadata_errors="replace",
        io_open=_refuse,
    )


def name_whitelist(name: str) -> str:
    """The demuxers FFmpeg may use for a container: that one, under FFmpeg's own full name."""
    return {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}.get(name, name)
