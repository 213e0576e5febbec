"""One untrusted video file, read safely: identified, probed, planned, decoded, scored and encoded."""
