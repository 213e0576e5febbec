"""Pages that open from disk: what a run did, what it made, what the catalogue holds."""
