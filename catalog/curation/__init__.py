"""What a curator does: acts about clips, categories and pairs, signed by an `Author`, about a `Selection`."""

from catalog.curation.author import Author
from catalog.curation.selection import Selection

__all__ = ["Author", "Selection"]
