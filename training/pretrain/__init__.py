"""Training a small backbone from nothing: its VAE, then its DiT and text encoder."""
