"""The CLIP model that turns clips and words into vectors: where its weights are, how it is used."""
