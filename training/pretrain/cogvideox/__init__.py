"""What the training of a small CogVideoX does otherwise than that of a small Wan."""
