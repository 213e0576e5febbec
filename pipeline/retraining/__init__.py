"""Training again when it is due, and the champion's successor only where it is better for sure."""
