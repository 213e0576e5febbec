"""Verdicts that can be taken back: thresholds, near-duplicates, membership of categories, splits."""
