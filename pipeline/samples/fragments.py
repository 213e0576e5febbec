"""Effects that take the subject to pieces: the pieces are cut once and then fly each their own way."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.samples.cutout import faint_ellipse
from pipeline.samples.effect import Effect, Params, smooth
from pipeline.samples.layers import Layers, Pose
from pipeline.samples.splat import cover, packed, strew
from pipeline.samples.subjects import SPAN

TAU = 2 * math.pi


@dataclass(frozen=True)
class Pieces:
    """The sprite as points that belong to pieces; lower pieces come first, so that upper ones lie on them.

    Attributes:
        x, y: middles of the pieces where they were cut, local units, [pieces].
        dice: four random numbers in [-1, 1] for each, [4, pieces].
        owner: the piece of every point, [points].
        u, v: every point's place from its piece's middle, local units, float32 [points].
        pixels: colours of the points, as `splat.packed`, [points].
        fine: points to a pixel of the sprite along each side.
    """

    x: np.ndarray
    y: np.ndarray
    dice: np.ndarray
    owner: np.ndarray
    u: np.ndarray
    v: np.ndarray
    pixels: np.ndarray
    fine: int


def _pieces(layers: Layers, params: Params, count: int, jitter: float, rimmed: bool = False) -> Pieces:
    """Cut the sprite into about `count` convex pieces around jittered grid points; `rimmed` as glass is."""
    side = round(math.sqrt(count))
    rng = params.rng("pieces")
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    points = 1.05 * (points + rng.uniform(-jitter, jitter, points.shape) / side)
    dice = rng.uniform(-1, 1, (len(points), 4))
    order = np.argsort(-points[:, 1], kind="stable")
    points, dice = points[order], dice[order]
    # Two points to a pixel that is shown: turned as they may be, they leave no hole.
    fine = max(2, math.ceil(2 * layers.scale - 0.2))
    sprite = layers.sprite
    size = sprite.width * fine
    bands = [band.resize((size, size), Image.Resampling.BILINEAR) for band in sprite.split()]
    alpha = np.asarray(bands[3]) > 127
    owner = np.where(alpha, _nearest(points, size), -1)
    colours = np.stack([np.asarray(band) for band in bands[:3]], -1)
    if rimmed:
        width = max(1, round(0.035 * layers.radius * layers.unit)) * fine
        ways = ((axis, step) for axis in (0, 1) for step in (-width, width))
        inside = np.logical_and.reduce([owner == np.roll(owner, step, axis) for axis, step in ways])
        colours[~inside] = 245
    rows, columns = np.nonzero(alpha)
    mine = owner[rows, columns]
    kept = np.argsort(mine, kind="stable")
    mine, rows, columns = mine[kept], rows[kept], columns[kept]
    u, v = (((place + 0.5) / size * 2 - 1) * SPAN for place in (columns, rows))
    number = np.maximum(np.bincount(mine, minlength=len(points)), 1)
    x, y = (np.bincount(mine, place, len(points)) / number for place in (u, v))
    return Pieces(
        x,
        y,
        dice.T,
        mine,
        (u - x[mine]).astype(np.float32),
        (v - y[mine]).astype(np.float32),
        packed(colours[rows, columns]),
        fine,
    )


def _nearest(points: np.ndarray, size: int) -> np.ndarray:
    """Which of the points (local units) is nearest to each cell of a sprite of that size, [size, size]."""
    coarse = min(size, 256)
    axis = (((np.arange(coarse) + 0.5) / coarse * 2 - 1) * SPAN).astype(np.float32)
    cells = np.stack(np.broadcast_arrays(axis[None, :], axis[:, None]), -1).reshape(-1, 2)
    middles = points.astype(np.float32)
    away = (middles * middles).sum(1) - 2 * cells @ middles.T
    found = away.argmin(1).reshape(coarse, coarse)
    place = np.arange(size) * coarse // size
    return found[place[:, None], place[None, :]]


def _show(
    layers: Layers,
    frame: Image.Image,
    pieces: Pieces,
    x: np.ndarray,
    y: np.ndarray,
    turn: np.ndarray,
    size: np.ndarray | float = 1.0,
) -> None:
    """Place the pieces with their middles at local (x, y), turned (radians) and scaled, each [pieces]."""
    column, row = layers.to_pixel(layers.centre[0] + x * layers.radius, layers.centre[1] + y * layers.radius)
    unit = size * (layers.radius * layers.unit * layers.near.zoom)
    cos, sin = np.cos(turn + layers.near.roll) * unit, np.sin(turn + layers.near.roll) * unit
    cos, sin, column, row = (k.astype(np.float32).take(pieces.owner) for k in (cos, sin, column, row))
    column += cos * pieces.u - sin * pieces.v
    row += sin * pieces.u + cos * pieces.v
    # Half as much again as a point covers: a turned grid falls unevenly into the pixels.
    cover(frame, column, row, pieces.pixels, 1.5 * (layers.scale / pieces.fine) ** 2)


def _disc(
    layers: Layers, frame: Image.Image, radius: float, colour: tuple[int, int, int], opacity: float
) -> None:
    """A soft disc of light or smoke over the subject, `radius` in local units."""
    if opacity < 0.5 / 255:
        return
    size = max(4, round(2 * radius * layers.radius * layers.near.zoom * layers.unit))
    mask = faint_ellipse(96, min(1.0, opacity)).resize((size, size))
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
    pieces = layers.once("pieces", lambda: _pieces(layers, params, 36, 0.45))
    angle = np.arctan2(pieces.y, pieces.x) + 0.3 * pieces.dice[0]
    reach = (2.5 + 1.2 * pieces.dice[1]) * params.strength * flight
    x, y = pieces.x + reach * np.cos(angle), pieces.y + reach * np.sin(angle) + 1.2 * after * after
    _show(layers, frame, pieces, x, y, 7 * after * pieces.dice[2], 1 - 0.2 * after)
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
    release = 0.3 * (pieces.y + 1) / 2 + 0.12 * (pieces.dice[0] + 1) / 2
    falling = np.maximum(0.0, p - release)
    heap = 0.95 - 0.3 * np.maximum(0.0, 1 - np.abs(pieces.x)) * np.abs(pieces.dice[1])
    drop = 9.0 * falling * falling
    landed = pieces.y + drop >= heap
    y = np.maximum(pieces.y, np.minimum(heap, pieces.y + drop))
    slide = np.minimum(falling, 0.5) * (1.2 * pieces.dice[2] + 0.8 * pieces.x)
    share = np.clip(3 * falling, 0, 1)
    size = (1 - 0.3 * share * share * (3 - 2 * share)) * np.where(landed, 0.9, 1.0)
    turn = 3.0 * pieces.dice[3] * np.minimum(falling, 0.45)
    _show(layers, frame, pieces, pieces.x + slide, y, turn, size)
    return frame


def shatter(layers: Layers, t: float, params: Params) -> Image.Image:
    """White cracks run through it, then large shards drift apart and hang in the air."""
    p = params.progress(t)
    frame = layers.plate()
    apart = smooth((p - 0.25) / 0.75)
    layers.shadow(frame, Pose(opacity=1 - 0.6 * apart))
    if p < 0.02:
        layers.stand(frame)
        return frame
    shards = layers.once("shards", lambda: _pieces(layers, params, 16, 0.8, rimmed=True))
    reach = 1 + 0.85 * apart * params.strength
    x, y = (
        place * reach + 0.12 * apart * dice
        for place, dice in ((shards.x, shards.dice[0]), (shards.y, shards.dice[1]))
    )
    _show(layers, frame, shards, x, y, 0.9 * apart * shards.dice[2])
    return frame


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
    radius = layers.radius * layers.unit * layers.near.zoom
    middle = layers.to_pixel(*layers.centre)
    dust = layers.once("dust", lambda: _dust(layers, params, order))
    age = p - dust.leaving
    side = np.where((age > 0) & (age < 0.6), np.rint(radius * 0.11 * (1 - age / 0.6)), 0).astype(int)
    for block in np.unique(side[side > 0]):
        k = np.flatnonzero(side == block)
        x = middle[0] + radius * (dust.u[k] + wind * dust.speed[k] * 2.6 * age[k])
        y = middle[1] + radius * (dust.v[k] - dust.lift[k] * 1.6 * age[k])
        strew(frame, x - block / 2 + 0.5, y - block / 2 + 0.5, dust.pixels[k], int(block))
    return frame


@dataclass(frozen=True)
class Dust:
    """Grains: local position, when each leaves, speed, lift and colour, each [n]."""

    u: np.ndarray
    v: np.ndarray
    leaving: np.ndarray
    speed: np.ndarray
    lift: np.ndarray
    pixels: np.ndarray


def _dust(layers: Layers, params: Params, order: np.ndarray) -> Dust:
    pixels = np.asarray(layers.sprite)
    u, v, speed, lift = params.rng("dust").uniform(0, 1, (420, 4)).T
    u, v = 2 * u - 1, 2 * v - 1
    row, column = (
        ((k + SPAN) / (2 * SPAN) * len(pixels)).astype(int).clip(max=len(pixels) - 1) for k in (v, u)
    )
    k = np.flatnonzero(pixels[row, column, 3] > 127)
    row, column = row[k], column[k]
    return Dust(u[k], v[k], order[row, column], 0.6 + speed[k], lift[k], packed(pixels[row, column, :3]))


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
