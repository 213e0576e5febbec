"""Errors of the training room: one root, one class per kind of bad request.

A message says what is wrong with the value, what would be right, and what to type.
"""


class TrainingError(Exception):
    """Root of every error a caller of `training/` can cause and repair."""


class InvalidGeometry(TrainingError):
    """A sample geometry that the backbone cannot encode or denoise."""


class BadBatch(TrainingError):
    """Tensors that do not make a training batch: shapes, masks or counts that disagree."""


class WeightsUnreachable(TrainingError):
    """Weights that are neither on this machine nor to be had from the hub."""


class UnsupportedBackbone(TrainingError):
    """A backbone whose configuration the methods here do not implement."""


class BadMethodSettings(TrainingError):
    """Settings of a method that do not fit the backbone they are applied to."""


class StateMismatch(TrainingError):
    """Trained tensors that belong to another model: names or shapes differ."""


class NoBatch(TrainingError):
    """The stream cannot deliver what the loop asks for; only a person can put it right."""


class BadFigures(TrainingError):
    """Figures that nothing can be said of: none, not finite, or pairs that do not match."""


class TooLittleMemory(TrainingError):
    """A run that does not fit its devices, found before it started or while it ran."""


class BadMask(TrainingError):
    """A mask that says nothing about the video that it belongs to."""


class BadAdapter(TrainingError):
    """A file that holds no adapter, or one of another model."""
