"""What a trained model is worth: clips generated for held-out ones, measured, compared with another's."""
