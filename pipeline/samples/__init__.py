"""Procedural effect clips: scenes that nobody has to license, effects whose names are known."""
