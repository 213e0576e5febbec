"""Latents and text embeddings as the catalogue keeps them, and how training fetches them again."""
