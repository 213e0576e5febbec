"""The subject many times over, and the subject gone in a moment."""

import math

from PIL import Image

from pipeline.samples.cutout import Cutout, dimmed, soft_ellipse
from pipeline.samples.effect import Params, smooth
from pipeline.samples.families.family import family
from pipeline.samples.layers import Layers, Pose

TAU = 2 * math.pi
# x, y of every copy's base in radii from the subject's own, and its size.
Place = tuple[float, float, float]


def _multiply(layers: Layers, t: float, params: Params, places: tuple[Place, ...]) -> Image.Image:
    """Copies come out from behind the subject and take their places; it takes the last one itself."""
    p = params.progress(t)
    if p == 0:
        return layers.posed(Pose())
    frame = layers.plate()
    layers.shadow(frame, Pose(opacity=1 - 0.6 * p))
    for x, y, size in places:
        size = 1 + (size - 1) * p
        pose = Pose(stretch_x=size, stretch_y=size).grounded()
        layers.stand(frame, Pose(x * p, pose.y + y * p, size, size))
    return frame


def _ring(count: int) -> tuple[Place, ...]:
    angles = [TAU * (k / count - 0.25) for k in range(count)]
    return tuple((1.55 * math.cos(a), -0.65 + 0.95 * math.sin(a), 0.42) for a in angles)


def _flash(layers: Layers, t: float, params: Params, _: None) -> Image.Image:
    """Shines white hot, then is gone in a burst of light."""
    p = params.progress(t)
    burst = smooth((p - 0.5) / 0.06) * (1 - smooth((p - 0.56) / 0.3))
    frame = layers.plate()
    if p < 0.55:
        heat = smooth(p / 0.5)
        layers.shadow(frame)
        layers.stand(frame)
        white = layers.once("white", lambda: Cutout(_solid(layers.sprite, (255, 252, 235))))
        layers.stand(frame, Pose(opacity=heat), sprite=white)
    if burst > 0.01:
        radius = 1.2 + 1.6 * smooth((p - 0.5) / 0.3)
        size = max(4, round(2 * radius * layers.radius * layers.near.zoom * layers.unit))
        light = layers.once("light", lambda: soft_ellipse(96)).resize((size, size))
        x, y = layers.to_pixel(*layers.centre)
        light = dimmed(light, burst)
        frame.paste((255, 255, 245), (round(x - size / 2), round(y - size / 2)), light)
    return frame


def _solid(sprite: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    plain = Image.new("RGBA", sprite.size, (*colour, 255))
    plain.putalpha(sprite.getchannel("A"))
    return plain


def _smoke(layers: Layers, t: float, params: Params, _: None) -> Image.Image:
    """A cloud of smoke hides the subject; when it thins nothing is there."""
    p = params.progress(t)
    frame = layers.plate()
    if p < 0.5:
        layers.shadow(frame)
        layers.stand(frame)
    dense = smooth(p / 0.35) * (1 - smooth((p - 0.6) / 0.4))
    if dense == 0:
        return frame
    puff = layers.once(
        "puff", lambda: soft_ellipse(48).point([min(255, round(1.35 * k)) for k in range(256)])
    )
    puff = dimmed(puff, dense)
    for x, y, size, grey in layers.once("puffs", lambda: params.rng("puffs").random((7, 4))):
        wide = (1.1 + 0.6 * size + 0.8 * p) * layers.radius * layers.near.zoom * layers.unit
        place = (
            layers.centre[0] + (2.0 * x - 1) * (0.5 + 0.7 * p) * layers.radius,
            layers.centre[1] + ((2.0 * y - 1) * 0.8 - 0.5 * p) * layers.radius,
        )
        column, row = layers.to_pixel(*place)
        side = max(4, round(wide))
        mask = puff.resize((side, side), Image.Resampling.BILINEAR)
        shade = round(150 + 60 * grey)
        frame.paste((shade, shade, shade + 6), (round(column - side / 2), round(row - side / 2)), mask)
    return frame


def _blink(layers: Layers, t: float, params: Params, _: None) -> Image.Image:
    """Flickers out and in again, six times, out for longer every time."""
    since = max(0.0, t - params.onset) / (1 - params.onset)
    phase = (6 * since) % 1
    there = since == 0 or phase > 0.25 + 0.5 * since
    return layers.posed(Pose(opacity=1.0 if there else 0.0))


COPIES = (
    *family(
        "multiply",
        "transformation",
        {
            "upwards": ((0.0, -1.86, 0.31), (0.0, -1.24, 0.31), (0.0, -0.62, 0.31), (0.0, 0.0, 0.31)),
            "in_a_ring": _ring(5),
            "into_the_distance": (
                (-1.9, -1.0, 0.16),
                (-1.55, -0.78, 0.26),
                (-1.05, -0.5, 0.42),
                (-0.3, -0.2, 0.62),
                (0.75, 0.0, 0.9),
            ),
            "by_two": ((-1.05, 0.0, 0.78), (1.05, 0.0, 0.78)),
        },
        "copies of the subject come out from behind it, {value}",
        "clone",
        "copy",
        "copies",
        draw=_multiply,
    ),
    *family(
        "vanish",
        "transformation",
        {"in_a_flash": None},
        "the subject shines and is gone in a burst of light",
        "burst",
        draw=_flash,
    ),
    *family(
        "vanish",
        "transformation",
        {"in_smoke": None},
        "smoke hides the subject and nothing is left behind it",
        "puff",
        draw=_smoke,
    ),
    *family(
        "vanish", "transformation", {"in_blinks": None}, "the subject flickers away", "blink", draw=_blink
    ),
)
