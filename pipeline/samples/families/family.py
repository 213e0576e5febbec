"""A family: one function and a table of values, and from them an effect for every value."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.samples.effect import Aim, Apply, Effect, holding
from pipeline.samples.layers import Pose


def family(
    name: str,
    group: str,
    values: Mapping[str, Any],
    says: str,
    *synonyms: str,
    draw: Callable | None = None,
    aim: Callable | None = None,
    pose: Callable | None = None,
    margin: tuple[float, float] = (0.0, 0.0),
) -> tuple[Effect, ...]:
    """The effects `<name>_<value>`.

    Args:
        values: what a person calls each → what the function takes as its last argument.
        says: the description; `{value}` stands for the value's words.
        synonyms: words for the family that no caption may contain.
        draw, aim, pose: the function, one of the three: `Effect.apply`, `aim` or `pose` with one argument
            more.
    """
    effects = []
    for value, setting in values.items():
        how = {"aim": _with(aim, setting), "pose": _with(pose, setting)}
        apply = _with(draw, setting) or (_seen(how["aim"]) if aim else holding(how["pose"]))
        effects.append(
            Effect(
                f"{name}_{value}",
                group,
                says.format(value=value.replace("_", " ")),
                apply,
                synonyms,
                margin,
                family=name,
                value=value,
                **how,
            )
        )
    return tuple(effects)


def _with(function: Callable | None, setting: Any) -> Callable | None:
    """The function with its last argument given."""
    if function is None:
        return None
    return lambda *others: function(*others, setting)


def _seen(aim: Aim) -> Apply:
    """The frames of a move of the camera."""
    return lambda layers, t, params: layers.seen(*aim(layers.extent, t, params)).posed(Pose())
