"""Overlapping windows of a video: what a GPU of little memory fits a LoRA on, one after the other."""

from training.errors import BadMethodSettings


def windows(count: int, size: int | None) -> list[slice]:
    """Windows of `size` frames, each beginning with the last frame of the one before (2506.10082, sec. 4.5).

    Of 49 frames and size 13: frames 1–13, 13–25, 25–37 and 37–49, counted from 1. The last one begins earlier
    where the video does not end with a whole one.

    Args:
        count: frames of the video, 4k + 1.
        size: frames of a window; None is the whole video.

    Raises:
        BadMethodSettings: the size is not 4k + 1 or below 5.
    """
    if size is None or size >= count:
        return [slice(0, count)]
    if size % 4 != 1 or size < 5:
        raise BadMethodSettings(
            f"edit.window={size} frames cannot be folded by four: use 4k + 1, as in 13, or null for the whole"
            " video."
        )
    starts = list(range(0, count - size + 1, size - 1))
    if starts[-1] + size < count:
        starts.append(count - size)
    return [slice(start, start + size) for start in starts]
