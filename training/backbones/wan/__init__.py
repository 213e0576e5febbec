"""Wan 2.1 image-to-video: diffusers' transformer and VAE, UMT5, CLIP's image encoder, flow matching."""
