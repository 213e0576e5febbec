"""Families of effects: one thing that can happen, in every way that a person would give a name to."""
