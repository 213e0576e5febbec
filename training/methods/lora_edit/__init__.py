"""LoRA-Edit: a LoRA for one video, and a mask that says what of it is preserved (2506.10082)."""
