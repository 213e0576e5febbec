"""Video-As-Prompt (2510.20888): the reference stands in the context, carried by experts beside the DiT."""
