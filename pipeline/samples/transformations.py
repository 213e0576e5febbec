"""Effects that bend, move or recolour the subject and leave the camera and the background alone."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pipeline.samples.effect import Effect, Params, holding, mix, smooth
from pipeline.samples.layers import Layers, Pose
from pipeline.samples.subjects import SPAN

TAU = 2 * math.pi


def inflate(layers: Layers, t: float, params: Params) -> Image.Image:
    """The outline is blown up, hollows first, until the subject is a balloon of itself."""
    p = params.progress(t)
    outline = layers.once("outline", lambda: _outline(layers.sprite))
    balloon = outline + (1.3 * params.strength - outline) * np.float32(p)
    steps = len(outline)
    bottom = float((np.sin(np.arange(steps) / steps * TAU) * balloon).max())
    lift = bottom - 1.0
    frame = layers.plate()
    layers.shadow(frame, Pose(stretch_x=1 + 0.3 * p))

    def blow(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        v = v + np.float32(lift)
        index = _angles(steps)[_cell(v), _cell(u)]
        edge = balloon.take(index)
        inside = np.minimum((u * u + v * v) / (edge * edge), 1.0)
        pull = outline.take(index) / edge * (1 - 0.4 * p + 0.4 * p * inside)
        return u * pull, v * pull

    layers.warp(frame, (-1.6, -2.2, 1.6, 1.25), blow)
    return frame


CELLS = 64  # of the table of angles, to a local unit


def _cell(place: np.ndarray) -> np.ndarray:
    """Where the table of angles has a coordinate."""
    return np.clip((place + 4) * np.float32(CELLS), 0, 8 * CELLS - 1).astype(np.int32)


@lru_cache(maxsize=1)
def _angles(steps: int) -> np.ndarray:
    """The angles of the places in [-4, 4]², `steps` to a circle; to compute them takes long."""
    axis = (np.arange(8 * CELLS) + 0.5) / CELLS - 4
    return (np.arctan2(axis[:, None], axis[None, :]) * (steps / TAU)).astype(np.int16) % steps


def _outline(sprite: Image.Image) -> np.ndarray:
    """How far the silhouette reaches at every angle from its middle, local units, float32 [720]."""
    alpha = np.asarray(sprite.getchannel("A").resize((192, 192)), np.float32)
    reach, place = _spokes()
    farthest = np.where(alpha.take(place) > 127, reach, 0.1).max(0)
    # Smoothed around the circle: a step in the outline would tear the picture.
    kernel = np.hanning(33) / np.hanning(33).sum()
    wrapped = np.concatenate([farthest[-16:], farthest, farthest[:16]])
    return np.convolve(wrapped, kernel, mode="valid").astype(np.float32)


@lru_cache(maxsize=1)
def _spokes() -> tuple[np.ndarray, np.ndarray]:
    """160 distances from the middle [160, 1]; where they lie in 192 × 192 pixels at 720 angles [160, 720]."""
    angle = np.arange(720) / 720 * TAU
    reach = np.linspace(0, SPAN, 160, endpoint=False)[:, None]
    column = ((reach * np.cos(angle) / SPAN + 1) * 96).astype(int).clip(0, 191)
    row = ((reach * np.sin(angle) / SPAN + 1) * 96).astype(int).clip(0, 191)
    return reach, row * 192 + column


def deflate(layers: Layers, t: float, params: Params) -> Image.Image:
    """The outline is sucked in between a few stiff folds; it flutters, topples and sinks to a limp scrap."""
    p = params.progress(t)
    lean = 0.75 * params.direction * p + 0.22 * math.sin(TAU * 9 * t) * math.sin(math.pi * p)
    tall, wide = 1 - 0.62 * p * params.strength, 1 - 0.08 * p
    folds = 5 + params.seed % 2
    frame = layers.plate()
    layers.shadow(frame, Pose(stretch_x=wide, stretch_y=tall).grounded())

    def fold(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        v = (v - 1 + tall) / tall
        u = (u + lean * (v - 1) * 0.4) / wide
        distance = np.hypot(u, v)
        dent = np.cos(folds * np.arctan2(v, u) + TAU * params.phase)
        pull = 1 + p * (0.3 + 0.45 * dent) * np.minimum(distance, 1.0)
        return u * pull, v * pull

    layers.warp(frame, (-1.9, -1.3, 1.9, 1.2), fold)
    return frame


def drips(params: Params) -> list[tuple[float, float, float]]:
    """Waves that make drips of different lengths: how many to a unit, phase, height."""
    rng = params.rng("drips")
    return [(k, rng.uniform(0, TAU), rng.uniform(0.5, 1.0)) for k in (3.0, 6.0, 11.0)]


def melt(layers: Layers, t: float, params: Params) -> Image.Image:
    """Columns sag at their own pace, drip, and spread into a puddle."""
    p = params.progress(t)
    waves = layers.once("drips", lambda: drips(params))
    body = 1 - 0.72 * p * params.strength
    frame = layers.plate()
    layers.shadow(frame, Pose(stretch_x=1 + p, stretch_y=body).grounded())

    def sag(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        drips = sum(a * np.sin(k * u + s) for k, s, a in waves) / 2.4
        height = (1 - v) / (body * (1 + 0.55 * drips * math.sin(0.88 * math.pi * p)))
        low = np.clip((v + 0.3) / 1.3, 0, 1)
        spread = 1 + 1.5 * p * low * low
        return (u + 0.08 * p * drips) / spread, 1 - height - 0.18 * p * low

    layers.warp(frame, (-2.4, -1.3, 2.4, 1.25), sag)
    return frame


def levitate(t: float, params: Params) -> Pose:
    """The subject leaves the ground and hovers; its shadow stays behind, smaller and paler."""
    p = params.progress(min(1.0, 1.6 * t))
    bob = 0.1 * math.sin(TAU * (1.5 * t + params.phase)) * p
    rise = (0.78 * params.strength + bob) * p
    turn = 0.14 * params.direction * math.sin(TAU * 1.2 * t) * p
    return Pose(y=-rise, turn=turn)


def squish(t: float, params: Params) -> Pose:
    """Pressed flat from above three times, springing back in between, flat at the end."""
    ramp = smooth((t - params.onset) / 0.1)
    press = ramp * (0.5 - 0.5 * math.cos(TAU * 2.5 * max(0.0, t - params.onset) / (1 - params.onset)))
    press *= params.strength
    return Pose(stretch_x=1 + 0.75 * press, stretch_y=1 - 0.6 * press).grounded()


def spin(t: float, params: Params) -> Pose:
    """Turns about its own middle, two times and more."""
    turn = TAU * 2.25 * params.strength * params.direction * params.progress(t)
    return Pose(turn=turn)


def shrink(t: float, params: Params) -> Pose:
    """Becomes tiny where it stands, its proportions unchanged."""
    size = mix(1.0, 0.14 / params.strength, params.progress(t))
    return Pose(stretch_x=size, stretch_y=size).grounded()


def vanish(t: float, params: Params) -> Pose:
    """Turns transparent evenly until only the background is left."""
    return Pose(opacity=1 - params.progress(1.15 * t))


def multiply(layers: Layers, t: float, params: Params) -> Image.Image:
    """Copies step out from behind it to both sides."""
    p = params.progress(t)
    frame = layers.plate()
    gap = 0.85 * params.strength
    for k in (2, -2, 1, -1, 0):
        size = 1 - p * (0.4 + 0.1 * abs(k))
        pose = Pose(x=k * gap * p, stretch_x=size, stretch_y=size).grounded()
        layers.shadow(frame, pose)
        layers.stand(frame, pose)
    return frame


def bounce(t: float, params: Params) -> Pose:
    """Hops up and down, flattened a little at every landing."""
    ramp = smooth((t - params.onset) / 0.08)
    swing = abs(math.sin(math.pi * 4 * max(0.0, t - params.onset) / (1 - params.onset) * 0.99))
    landing = max(0.0, 1 - swing / 0.35) * ramp
    pose = Pose(stretch_x=1 + 0.22 * landing, stretch_y=1 - 0.25 * landing).grounded()
    return replace(pose, y=pose.y - 0.8 * params.strength * ramp * swing)


def swirl(layers: Layers, t: float, params: Params) -> Image.Image:
    """Wound up around its middle like cream in coffee."""
    angle = params.direction * 4.6 * params.strength * params.progress(t)
    frame = layers.plate()
    layers.shadow(frame)

    def wind(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fade = np.clip(1 - (u * u + v * v) / 1.5, 0, 1)
        theta = angle * fade * fade
        cos, sin = np.cos(theta), np.sin(theta)
        return cos * u - sin * v, sin * u + cos * v

    layers.warp(frame, (-SPAN, -SPAN, SPAN, SPAN), wind)
    return frame


def wobble(layers: Layers, t: float, params: Params) -> Image.Image:
    """Sways like jelly, base fixed, waves running up the body."""
    p = smooth((t - params.onset) / 0.15)
    frame = layers.plate()
    layers.shadow(frame)

    def sway(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        free = (1 - v) / 2
        wave = np.sin(TAU * (4 * (t - params.onset)) * params.direction + 4.5 * v)
        return u - 0.42 * params.strength * p * wave * np.sqrt(np.maximum(free, 0.0)), v

    layers.warp(frame, (-1.8, -1.3, 1.8, 1.2), sway)
    return frame


def slice_apart(layers: Layers, t: float, params: Params) -> Image.Image:
    """Cut into level bands that slide to the left and to the right in turn."""
    p = params.progress(t)
    bands = 6
    shift = 0.85 * params.strength * p * params.direction
    frame = layers.plate()
    layers.shadow(frame, Pose(stretch_x=1 + 0.5 * p))

    def cut(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        side = np.where(np.floor((v + 1.2) / 2.4 * bands) % 2 > 0, 1.0, -1.0).astype(np.float32)
        return u + side * np.float32(shift), v

    layers.warp(frame, (-2.2, -1.3, 2.2, 1.2), cut)
    return frame


def climb(layers: Layers, frame: Image.Image, share: float, recoloured: Image.Image) -> None:
    """Show the recoloured sprite from the base up to `share` of the height, the old one above."""
    if share <= 0:
        layers.stand(frame)
        return
    size = layers.sprite.height
    level = (1 - share * 1.25) * size
    rows = np.clip((np.arange(size) - level) / (0.12 * size) + 0.5, 0, 1) * 255
    mask = Image.fromarray(np.repeat(rows.astype(np.uint8)[:, None], size, axis=1))
    layers.stand(frame, sprite=Image.composite(recoloured, layers.sprite, mask))


def gild(layers: Layers, t: float, params: Params) -> Image.Image:
    """Turns to gold from the base up, glints twinkling on it."""
    p = params.progress(t)

    def golden() -> Image.Image:
        grey = np.asarray(layers.sprite.convert("L"), np.float32) / 255
        rows = np.linspace(0, 16, len(grey), dtype=np.float32)[:, None]
        light = 0.45 + 0.3 * grey + 0.45 * (0.5 + 0.5 * np.sin(8 * grey + rows)) ** 2
        gold = light[..., None] * np.array([285, 205, 40], np.float32)
        gold += np.clip(light - 0.85, 0, 1)[..., None] * np.array([200, 300, 500], np.float32)
        gold = np.clip(gold, 0, 255).astype(np.uint8)
        return Image.fromarray(np.dstack([gold, np.asarray(layers.sprite)[..., 3]]))

    frame = layers.plate()
    layers.shadow(frame)
    climb(layers, frame, p, layers.once("gold", golden))
    pen = ImageDraw.Draw(frame)
    for x, y, start in layers.once("glints", lambda: params.rng("glints").uniform(-0.8, 0.8, (14, 3))):
        shine = p * max(0.0, math.sin(TAU * (3 * t + 2 * start))) if 1 - y < 2.2 * p else 0.0
        if shine <= 0.15:
            continue
        arm = 0.34 * shine * layers.radius
        middle = (layers.centre[0] + x * layers.radius, layers.centre[1] + y * layers.radius)
        for dx, dy in ((arm, 0.0), (0.0, arm)):
            ends = (
                layers.to_pixel(middle[0] - dx, middle[1] - dy),
                layers.to_pixel(middle[0] + dx, middle[1] + dy),
            )
            pen.line(ends, fill=(255, 252, 215), width=max(1, round(0.012 * layers.unit)))
    return frame


def freeze(layers: Layers, t: float, params: Params) -> Image.Image:
    """Ice climbs the subject while frost grows in from the edges of the picture."""
    p = params.progress(t)

    def icy() -> Image.Image:
        grey = np.asarray(layers.sprite.convert("L"), np.float32)[..., None] / 255
        ice = np.array([120, 190, 235], np.float32) + grey * np.array([120, 65, 20], np.float32)
        return Image.fromarray(np.dstack([ice.astype(np.uint8), np.asarray(layers.sprite)[..., 3]]))

    def frost() -> np.ndarray:
        x, y = layers.world()
        wide, tall = layers.extent
        edge = np.maximum(np.abs(x) / (wide / 2), np.abs(y) / (tall / 2))
        rough = Image.fromarray(params.rng("frost").random((40, 40), dtype=np.float32))
        rough = np.asarray(rough.resize((layers.width, layers.height), Image.Resampling.BICUBIC))
        return edge + 0.35 * (rough - 0.5)

    frame = layers.plate()
    layers.shadow(frame)
    climb(layers, frame, p, layers.once("ice", icy))
    reach = np.clip((layers.once("frost", frost) - 1.2 + 0.62 * p * params.strength) * 5, 0, 0.9)
    frame.paste((226, 242, 255), (0, 0), Image.fromarray((255 * reach).astype(np.uint8)))
    return frame


def ignite(layers: Layers, t: float, params: Params) -> Image.Image:
    """Flames lick up around the subject, which blackens."""
    p = params.progress(1.2 * t)
    size = layers.sprite.width

    def fuel() -> np.ndarray:
        """Where flames can be: the silhouette smeared upwards, on a canvas twice as high."""
        alpha = np.asarray(layers.sprite.getchannel("A").resize((64, 64)), np.float32) / 255
        tall = np.vstack([np.zeros((64, 64), np.float32), alpha])
        for row in range(126, -1, -1):
            tall[row] = np.maximum(tall[row], tall[row + 1] * 0.965)
        smeared = Image.fromarray((255 * tall).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2.5))
        return np.asarray(smeared, np.float32) / 255

    def turbulence() -> np.ndarray:
        rng = params.rng("flames")
        coarse = np.tile(rng.random((24, 8), dtype=np.float32), (3, 1))
        return np.asarray(Image.fromarray(coarse).resize((64, 576), Image.Resampling.BICUBIC))

    black = layers.once("char", lambda: _charred(layers.sprite))
    frame = layers.plate()
    layers.shadow(frame)
    layers.stand(frame, sprite=Image.blend(layers.sprite, black, min(1.0, p)))
    start = int(3 * 192 * t * params.strength) % 192
    licks = layers.once("turbulence", turbulence)[start : start + 128]
    heat = np.clip(layers.once("fuel", fuel) * (0.35 + 1.2 * licks) * p - 0.3, 0, 1)
    flame = _FLAMES.take((1023 * heat).astype(np.int16)).view(np.uint8).reshape(*heat.shape, 4)
    scale = size / 64
    x, y = layers.to_pixel(*layers.centre)
    middle = (x, y - size / 2)
    fire = Image.fromarray(flame).resize((size, 2 * size), Image.Resampling.BILINEAR)
    frame.paste(fire, (round(middle[0] - 32 * scale), round(middle[1] - 64 * scale)), fire)
    return frame


def _flames() -> np.ndarray:
    """Colours of heat 0..1 in 1024 steps, RGBA in one number each: clear, red, yellow, white."""
    heat = np.linspace(0, 1, 1024)
    bands = (255 + 0 * heat, 90 + 330 * heat, 420 * heat - 170, 1020 * heat)
    return np.stack([np.clip(band, 0, 255) for band in bands], -1).astype(np.uint8).view(np.uint32)[:, 0]


_FLAMES = _flames()


def _charred(sprite: Image.Image) -> Image.Image:
    red, green, blue, alpha = sprite.split()
    dark = [band.point(lambda value: value // 6 + 8) for band in (red, green, blue)]
    return Image.merge("RGBA", [*dark, alpha])


def _effect(name: str, apply, description: str, *synonyms: str) -> Effect:
    return Effect(name, "transformation", description, apply, synonyms)


def _posed(name: str, pose, description: str, *synonyms: str) -> Effect:
    return Effect(name, "transformation", description, holding(pose), synonyms, pose=pose)


TRANSFORMATIONS: tuple[Effect, ...] = (
    _effect(
        "inflate", inflate, "the subject swells into a round balloon", "balloon", "swell", "puff", "bulge"
    ),
    _effect(
        "deflate", deflate, "the air leaves the subject, which sinks into folds", "sag", "wrinkle", "collapse"
    ),
    _effect("melt", melt, "the subject drips and spreads into a puddle", "drip", "puddle", "liquid", "wax"),
    _posed("levitate", levitate, "the subject rises and hovers", "float", "hover", "rise", "fly", "lift"),
    _posed(
        "squish", squish, "the subject is pressed flat again and again", "squash", "press", "flatten", "crush"
    ),
    _posed("spin", spin, "the subject turns about its middle", "rotate", "turn", "whirl", "twirl"),
    _posed("shrink", shrink, "the subject becomes tiny", "tiny", "smaller", "dwindle"),
    _posed("vanish", vanish, "the subject turns transparent until it is gone", "disappear", "fade", "ghost"),
    _effect("multiply", multiply, "copies of the subject step out to both sides", "clone", "copy", "copies"),
    _posed("bounce", bounce, "the subject hops up and down", "hop", "jump", "leap"),
    _effect("swirl", swirl, "the subject is wound up around its middle", "twist", "vortex", "coil"),
    _effect("wobble", wobble, "the subject sways like jelly", "jelly", "sway", "jiggle", "wave"),
    _effect("slice", slice_apart, "the subject is cut into bands that slide apart", "cut", "split", "chop"),
    _effect("gild", gild, "the subject turns to gold", "gold", "golden", "metal"),
    _effect("freeze", freeze, "ice and frost cover the subject", "ice", "icy", "frost", "frozen"),
    _effect("ignite", ignite, "the subject burns", "fire", "flame", "burn", "burning"),
)
