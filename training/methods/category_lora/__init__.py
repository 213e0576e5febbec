"""The usual baseline: one adapter per category, learned, with no hypernetwork."""
