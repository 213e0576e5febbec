"""Requests worked off: taken in at a desk, dispatched to replicas of Ray Serve, watched while they run."""
