"""A training run: Ray Train workers, the DeepSpeed engine, checkpoints, and what is watched."""
