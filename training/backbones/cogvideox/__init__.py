"""CogVideoX image-to-video: diffusers' transformer and VAE, T5, and the v-prediction objective."""
