"""Effects that take the subject to pieces: the pieces are cut once and then fly each their own way."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from pipeline.samples.cutout import Cutout, dimmed, soft_ellipse
from pipeline.samples.effect import Effect, Params, smooth
from pipeline.samples.layers import Layers, Pose
from pipeline.samples.subjects import SPAN

TAU = 2 * math.pi


@dataclass(frozen=True)
class Piece:
    """A cut-out of the sprite and where its middle was, in local units."""

    cutout: Cutout
    x: float
    y: float
    dice: tuple[float, float, float, float]  # four random numbers in [-1, 1]


def _pieces(layers: Layers, params: Params, count: int, jitter: float) -> list[Piece]:
    """Cut the sprite into about `count` convex pieces around jittered grid points."""
    side = round(math.sqrt(count))
    rng = params.rng("pieces")
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    points = 1.05 * (points + rng.uniform(-jitter, jitter, points.shape) / side)
    dice = rng.uniform(-1, 1, (len(points), 4))
    size = layers.sprite.width
    axis = (((np.arange(size) + 0.5) / size * 2 - 1) * SPAN).astype(np.float32)
    away = [(axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2 for x, y in points.astype(np.float32)]
    owner = np.argmin(away, axis=0)
    alpha = np.asarray(layers.sprite.getchannel("A"))
    pieces = []
    for k in range(len(points)):
        mine = (owner == k) & (alpha > 8)
        if not mine.any():
            continue
        rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        # One transparent pixel around a piece: its edges stay soft when it is turned.
        top, bottom, left, right = rows[0] - 1, rows[-1] + 2, columns[0] - 1, columns[-1] + 2
        cut = layers.sprite.crop((left, top, right, bottom))
        mask = np.zeros((bottom - top, right - left), np.uint8)
        mask[1:-1, 1:-1] = np.where(mine, alpha, 0)[top + 1 : bottom - 1, left + 1 : right - 1]
        cut.putalpha(Image.fromarray(mask))
        x, y = ((left + right) / size - 1) * SPAN, ((top + bottom) / size - 1) * SPAN
        pieces.append(Piece(Cutout(cut), float(x), float(y), tuple(dice[k])))
    return pieces


def _show(layers: Layers, frame: Image.Image, piece: Piece, x: float, y: float, **how: float) -> None:
    """Place a piece with its middle at local (x, y)."""
    middle = layers.to_pixel(layers.centre[0] + x * layers.radius, layers.centre[1] + y * layers.radius)
    size = how.get("size", 1.0)
    size *= layers.scale
    turn = how.get("turn", 0.0) + layers.near.roll
    piece.cutout.place(frame, middle, (size, size), turn, how.get("opacity", 1.0))


def _disc(
    layers: Layers, frame: Image.Image, radius: float, colour: tuple[int, int, int], opacity: float
) -> None:
    """A soft disc of light or smoke over the subject, `radius` in local units."""
    size = max(4, round(2 * radius * layers.radius * layers.near.zoom * layers.unit))
    if opacity <= 0:
        return
    mask = layers.once("disc", lambda: soft_ellipse(96))
    mask = dimmed(mask, min(1.0, opacity)).resize((size, size))
    x, y = layers.to_pixel(*layers.centre)
    frame.paste(colour, (round(x - size / 2), round(y - size / 2)), mask)


def explode(layers: Layers, t: float, params: Params) -> Image.Image:
    """A tremble, a blast of fire, pieces flying out in all directions, smoke that thins."""
    bang = 0.16 + params.onset
    if t < bang:
        tremble = 0.05 * math.sin(TAU * 25 * t) * smooth((t - params.onset) / 0.1)
        return layers.posed(Pose(x=tremble))
    after = (t - bang) / (1 - bang)
    flight = 1 - (1 - after) ** 1.7
    frame = layers.plate()
    layers.shadow(frame, Pose(opacity=1 - smooth(3 * after)))
    _disc(layers, frame, 1.2 + 1.3 * flight, (64, 58, 56), 1.1 * smooth(6 * after) * (1 - after) ** 1.2)
    for piece in layers.once("pieces", lambda: _pieces(layers, params, 36, 0.45)):
        angle = math.atan2(piece.y, piece.x) + 0.3 * piece.dice[0]
        reach = (2.5 + 1.2 * piece.dice[1]) * params.strength * flight
        x, y = piece.x + reach * math.cos(angle), piece.y + reach * math.sin(angle) + 1.2 * after * after
        _show(layers, frame, piece, x, y, turn=7 * piece.dice[2] * after, size=1 - 0.2 * after)
    fire = max(0.0, 1 - 2.4 * after)
    _disc(layers, frame, 2.3 * (0.4 + smooth(5 * after)), (255, 120, 20), 1.3 * fire)
    _disc(layers, frame, 1.5 * (0.4 + smooth(5 * after)), (255, 240, 170), 1.4 * fire * fire)
    return frame


def crumble(layers: Layers, t: float, params: Params) -> Image.Image:
    """Small blocks break off from the top down and fall into a heap."""
    p = max(0.0, (t - params.onset) / (params.finish - params.onset)) * params.strength
    frame = layers.plate()
    layers.shadow(frame)
    pieces = layers.once("pieces", lambda: _pieces(layers, params, 64, 0.25))
    for piece in sorted(pieces, key=lambda piece: -piece.y):
        release = 0.3 * (piece.y + 1) / 2 + 0.12 * (piece.dice[0] + 1) / 2
        falling = max(0.0, p - release)
        heap = 0.95 - 0.3 * max(0.0, 1 - abs(piece.x)) * abs(piece.dice[1])
        drop = 9.0 * falling * falling
        landed = piece.y + drop >= heap
        y = max(piece.y, min(heap, piece.y + drop))
        slide = min(falling, 0.5) * (1.2 * piece.dice[2] + 0.8 * piece.x)
        size = 1 - 0.3 * smooth(3 * falling)
        turn = 3.0 * piece.dice[3] * min(falling, 0.45)
        _show(layers, frame, piece, piece.x + slide, y, turn=turn, size=size * (0.9 if landed else 1.0))
    return frame


def shatter(layers: Layers, t: float, params: Params) -> Image.Image:
    """White cracks run through it, then large shards drift apart and hang in the air."""
    p = params.progress(t)
    frame = layers.plate()
    apart = smooth((p - 0.25) / 0.75)
    layers.shadow(frame, Pose(opacity=1 - 0.6 * apart))
    shards = layers.once("shards", lambda: [_rimmed(k, layers) for k in _pieces(layers, params, 16, 0.8)])
    if p < 0.02:
        layers.stand(frame)
        return frame
    for piece in shards:
        reach = 1 + 0.85 * apart * params.strength
        x, y = piece.x * reach + 0.12 * piece.dice[0] * apart, piece.y * reach + 0.12 * piece.dice[1] * apart
        _show(layers, frame, piece, x, y, turn=0.9 * piece.dice[2] * apart)
    return frame


def _rimmed(piece: Piece, layers: Layers) -> Piece:
    """The piece with a bright rim, as broken glass has."""
    alpha = np.asarray(piece.cutout.image.getchannel("A"))
    width = max(1, round(0.035 * layers.radius * layers.unit))
    inside = alpha > 127
    for axis in (0, 1):
        for step in (-width, width):
            inside = inside & np.roll(alpha > 127, step, axis)
    rgb = np.where(inside[..., None], np.asarray(piece.cutout.image)[..., :3], 245).astype(np.uint8)
    return Piece(Cutout(Image.fromarray(np.dstack([rgb, alpha]))), piece.x, piece.y, piece.dice)


def dissolve(layers: Layers, t: float, params: Params) -> Image.Image:
    """Eaten away in grains from one side; the grains drift off on the wind."""
    p = params.progress(t) * 1.35
    size = layers.sprite.width
    wind = params.direction

    def grain() -> np.ndarray:
        noise = Image.fromarray(params.rng("grain").random((22, 22), dtype=np.float32))
        rough = np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC))
        across = np.linspace(0, 1, size, dtype=np.float32)[None, :]
        # The side that the wind blows towards goes first.
        return 0.45 * rough + 0.55 * (1 - across if wind > 0 else across)

    order = layers.once("grain", grain)
    left = np.clip((order - p) * 14 + 0.5, 0, 1)
    alpha = np.asarray(layers.sprite.getchannel("A"))
    sprite = layers.sprite.copy()
    sprite.putalpha(Image.fromarray((left * alpha).astype(np.uint8)))
    frame = layers.plate()
    layers.shadow(frame, Pose(opacity=1 - min(1.0, p)))
    layers.stand(frame, sprite=sprite)
    pen = ImageDraw.Draw(frame)
    radius = layers.radius * layers.unit * layers.near.zoom
    middle = layers.to_pixel(*layers.centre)
    dust = layers.once("dust", lambda: _dust(layers, params, order))
    ages = p - layers.once("leaving", lambda: np.array([grain[2] for grain in dust]))
    for k in np.flatnonzero((ages > 0) & (ages < 0.6)):
        u, v, _, colour, speed, lift = dust[k]
        age = float(ages[k])
        x = middle[0] + radius * (u + wind * speed * 2.6 * age)
        y = middle[1] + radius * (v - lift * 1.6 * age)
        half = radius * 0.055 * (1 - age / 0.6)
        pen.rectangle((x - half, y - half, x + half, y + half), fill=colour)
    return frame


def _dust(layers: Layers, params: Params, order: np.ndarray) -> list[tuple]:
    """Grains: local position, when it leaves, colour, speed and lift."""
    rng = params.rng("dust")
    pixels = np.asarray(layers.sprite)
    grains = []
    for u, v, speed, lift in rng.uniform(0, 1, (420, 4)):
        u, v = 2 * u - 1, 2 * v - 1
        row, column = (min(len(pixels) - 1, int((k + SPAN) / (2 * SPAN) * len(pixels))) for k in (v, u))
        if pixels[row, column, 3] > 127:
            colour = tuple(int(k) for k in pixels[row, column, :3])
            grains.append((u, v, float(order[row, column]), colour, 0.6 + speed, lift))
    return grains


def _effect(name: str, apply, description: str, *synonyms: str) -> Effect:
    return Effect(name, "transformation", description, apply, synonyms)


FRAGMENTATIONS: tuple[Effect, ...] = (
    _effect(
        "dissolve",
        dissolve,
        "the subject is eaten away in grains that drift off",
        "dust",
        "particle",
        "erode",
    ),
    _effect(
        "explode", explode, "the subject blows up in fire and flying pieces", "blast", "blow", "bang", "burst"
    ),
    _effect(
        "crumble", crumble, "the subject breaks into blocks that fall into a heap", "fall", "rubble", "heap"
    ),
    _effect(
        "shatter",
        shatter,
        "the subject cracks and its shards drift apart",
        "crack",
        "shard",
        "broken",
        "glass",
    ),
)
