"""The web: pages that a server renders, for a team that curates a catalogue and everyone who asks it."""
