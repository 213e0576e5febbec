"""What a run will need, before a worker is asked for."""
