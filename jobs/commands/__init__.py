"""The commands of `video2lora`, a thin file per group: what may be typed, and which room is then called."""
