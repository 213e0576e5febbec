"""How much one untrusted file may cost."""

from pydantic import BaseModel, ConfigDict, Field


class DecodeLimits(BaseModel):
    """What a file may ask for before it is given up; each is a row with a reason, never the end of a run.

    Attributes:
        decode_seconds: processor seconds that a file may cost. One whose decoder stands still for as long, or
            that comes to no end in twenty times as long, is given up too, and tried again by the next run:
            the machine may have been busy.
        memory_mb: address space the decoder may take beyond what it starts with.
        max_bytes: size of the file.
        max_pixels: width times height of a frame.
        max_seconds: how long the video may play.
        max_frames: how many frames it may have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    decode_seconds: float = Field(60.0, gt=0)
    memory_mb: int = Field(2048, ge=64)
    max_bytes: int = Field(4 * 1024**3, ge=1)
    max_pixels: int = Field(8192 * 4320, ge=1)
    max_seconds: float = Field(1800.0, gt=0)
    max_frames: int = Field(120_000, ge=1)

    @property
    def longest_seconds(self) -> float:
        """Wall-clock seconds after which a file is given up on any machine."""
        return 20 * self.decode_seconds

    def too_large(self, size: int) -> tuple[str, str]:
        """Code and reason of a file of more bytes than these."""
        return "too_large", f"The file has {size / 1e9:.1f} GB; at most {self.max_bytes / 1e9:.1f} GB."
