"""What the training of a small Wan does otherwise than that of a small CogVideoX."""
