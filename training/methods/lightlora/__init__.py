"""LightLoRA: low-rank residuals on frozen linears, and what methods that make them have in common."""
