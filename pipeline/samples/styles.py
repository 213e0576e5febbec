"""Effects on the whole picture that come over it gradually; nothing in the scene moves."""

import math
from collections.abc import Callable
from colorsys import hsv_to_rgb

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from pipeline.samples.cutout import darkened, dimmed
from pipeline.samples.effect import Effect, Params, smooth
from pipeline.samples.layers import Layers
from pipeline.samples.lookup import Lookup
from pipeline.samples.splat import dots

TAU = 2 * math.pi
NEAREST, BOX = Image.Resampling.NEAREST, Image.Resampling.BOX


def _blend(layers: Layers, share: float, styled: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Cross-fade from the plain scene to a styled picture of it that is drawn once."""
    finished = layers.of_picture("styled", lambda: styled(layers.still()))
    return Image.blend(layers.still(), finished, min(1.0, max(0.0, share)))


def _grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"), np.float32) / 255


def tint(layers: Layers, t: float, params: Params) -> Image.Image:
    """Everything soaked in one strong colour."""
    colour = np.array(hsv_to_rgb(params.phase, 0.9, 1.0), np.float32)

    def soak(picture: Image.Image) -> Image.Image:
        grey = _grey(picture)[..., None]
        mixed = 0.25 * np.asarray(picture, np.float32) / 255 + 0.75 * (0.25 + 0.75 * grey)
        return Image.fromarray((255 * np.clip(mixed * (0.12 + 0.88 * colour), 0, 1)).astype(np.uint8))

    return _blend(layers, params.progress(t), soak)


def posterise(layers: Layers, t: float, params: Params) -> Image.Image:
    """Few flat, loud colours with hard steps between them."""

    def flatten(picture: Image.Image) -> Image.Image:
        calm = picture.filter(ImageFilter.GaussianBlur(0.008 * layers.unit))
        colours = np.asarray(calm, np.float32) / 255
        grey = colours.mean(-1, keepdims=True)
        loud = np.clip(0.5 + 1.7 * (grey - 0.5) + 2.6 * (colours - grey), 0, 0.999)
        return Image.fromarray((np.floor(loud * 3) * 127.5).astype(np.uint8))

    return _blend(layers, params.progress(t), flatten)


def pixelate(layers: Layers, t: float, params: Params) -> Image.Image:
    """Blocks that become coarser step by step."""
    p = params.progress(t)
    if p < 0.02:
        return layers.still()
    wide, tall = layers.extent
    across = 9 / params.strength
    blocks = across + (64 - across) * (1 - p) ** 2
    coarse = layers.still().resize((max(1, round(blocks * wide)), max(1, round(blocks * tall))), BOX)
    return coarse.resize((layers.width, layers.height), NEAREST)


def sketch(layers: Layers, t: float, params: Params) -> Image.Image:
    """A pencil drawing: dark lines on white paper."""

    def draw(picture: Image.Image) -> Image.Image:
        lines = _edges(picture, 0.012 * layers.unit) * 3.4 * params.strength
        paper = np.clip(1.0 - lines - 0.12 * (1 - _grey(picture)), 0.1, 1)
        return Image.fromarray((252 * paper).astype(np.uint8)).convert("RGB")

    return _blend(layers, params.progress(t), draw)


def neon(layers: Layers, t: float, params: Params) -> Image.Image:
    """Bright coloured outlines on black."""

    def light(picture: Image.Image) -> Image.Image:
        lines = np.clip(_edges(picture, 0.014 * layers.unit) * 4.2, 0, 1)
        x, y = layers.world()
        hue = params.phase + 0.45 * (x + y)
        wave = np.stack([np.cos(TAU * (hue - k / 3)) for k in range(3)], -1)
        colours = np.clip(0.6 + 0.6 * wave, 0, 1) * lines[..., None]
        drawn = Image.fromarray((255 * colours).astype(np.uint8))
        halo = drawn.filter(ImageFilter.GaussianBlur(0.02 * layers.unit))
        return Image.fromarray(np.maximum(np.asarray(drawn), np.asarray(halo)))

    return _blend(layers, params.progress(t), light)


def _edges(picture: Image.Image, width: float) -> np.ndarray:
    """Where colours change within `width` pixels: strongest channel, [height, width], about 0..1."""
    near = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.4 * width)), np.float32)
    far = np.asarray(picture.filter(ImageFilter.GaussianBlur(1.4 * width)), np.float32)
    return np.abs(near - far).max(-1) / 128


def flash(layers: Layers, t: float, params: Params) -> Image.Image:
    """White lightning, four or five times."""
    count = 4 + params.seed % 2
    phase = (t - params.onset) / (1 - params.onset) * count
    light = 0.0 if phase <= 0 else max(0.0, math.cos(TAU * (phase - 0.5)) * 1.3 - 0.3)
    return Image.blend(layers.still(), layers.once("white", lambda: _plain(layers, (255, 255, 250))), light)


def _plain(layers: Layers, colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (layers.width, layers.height), colour)


def invert(layers: Layers, t: float, params: Params) -> Image.Image:
    """A photographic negative."""
    return _blend(layers, smooth(1.6 * params.progress(t) - 0.3), ImageChops.invert)


def blur(layers: Layers, t: float, params: Params) -> Image.Image:
    """Out of focus, more and more."""
    radius = 0.075 * params.strength * params.progress(t) * layers.unit
    return layers.still().filter(ImageFilter.GaussianBlur(radius)) if radius > 0.05 else layers.still()


def glow(layers: Layers, t: float, params: Params) -> Image.Image:
    """The subject shines: a pulsing aura around it while the surroundings darken."""
    p = params.progress(t) * (0.88 + 0.12 * math.sin(TAU * 3 * t))
    colour = tuple(round(255 * k) for k in hsv_to_rgb(0.1 + 0.08 * params.phase, 0.45, 1.0))

    def aura() -> tuple[Image.Image, Image.Image]:
        mask = Image.new("RGBA", (layers.width, layers.height))
        layers.stand(mask, sprite=_solid(layers.sprite))
        red = mask.getchannel("R")
        wide = red.filter(ImageFilter.GaussianBlur(0.12 * layers.unit)).point(
            lambda k: min(255, round(k * 2.2))
        )
        return wide, red

    wide, body = layers.of_picture("aura", aura)
    frame = darkened(layers.still(), 1 - 0.62 * p)
    frame.paste(colour, (0, 0), dimmed(wide, min(1.0, 0.95 * p * params.strength)))
    bright = layers.of_picture(
        "bright", lambda: layers.still().point(lambda k: min(255, round(1.25 * k + 45)))
    )
    frame.paste(Image.blend(layers.still(), bright, p), (0, 0), body)
    return frame


def _solid(sprite: Image.Image) -> Image.Image:
    white = Image.new("RGBA", sprite.size, (255, 255, 255, 255))
    white.putalpha(sprite.getchannel("A"))
    return white


def rainbow(layers: Layers, t: float, params: Params) -> Image.Image:
    """All colours run through the spectrum, twice around the circle."""
    p = max(0.0, t - params.onset) / (1 - params.onset)
    turn = TAU * 2 * params.direction * params.strength * p
    boost = 1 + 1.1 * smooth(6 * p)
    luma = np.array([[0.299, 0.587, 0.114]] * 3)
    cos, sin = math.cos(turn) * boost, math.sin(turn) * boost
    spread = np.array([[0.701, -0.587, -0.114], [-0.299, 0.413, -0.114], [-0.299, -0.587, 0.886]])
    quarter = np.array([[0.168, 0.330, -0.497], [-0.328, 0.035, 0.292], [1.250, -1.050, -0.203]])
    warm = np.array([0.28 * smooth(6 * p) * math.cos(turn - TAU * k / 3) for k in range(3)])
    matrix = luma + cos * spread + sin * quarter
    rows = [value for row, shift in zip(matrix, warm, strict=True) for value in (*row, 255 * shift)]
    return layers.still().convert("RGB", tuple(rows))


def monochrome(layers: Layers, t: float, params: Params) -> Image.Image:
    """Colour drains away to a hard black and white."""

    def drain(picture: Image.Image) -> Image.Image:
        grey = np.clip(0.5 + 1.5 * params.strength * (_grey(picture) - 0.5), 0, 1)
        return Image.fromarray((255 * grey).astype(np.uint8)).convert("RGB")

    return _blend(layers, params.progress(t), drain)


def blackout(layers: Layers, t: float, params: Params) -> Image.Image:
    """The light goes down until almost everything is black."""
    left = 1 - 0.96 * params.progress(1.05 * t)
    return darkened(layers.still(), left)


def glitch(layers: Layers, t: float, params: Params) -> Image.Image:
    """Torn bands and separated colours, as of a broken signal, in fits."""
    p = smooth((t - params.onset) / 0.1)
    tick = int(t * 16)
    if p == 0:
        return layers.still()
    rng = params.rng(f"fit {tick}")
    wide = layers.width
    amount = p * params.strength
    pixels = np.asarray(layers.still())
    rows = np.zeros(layers.height, np.float32)
    for top, tall, shift in zip(
        rng.random(7), rng.uniform(0.04, 0.16, 7), rng.uniform(-1, 1, 7), strict=True
    ):
        start = int(top * layers.height)
        rows[start : start + max(1, int(tall * layers.height))] = 0.3 * shift
    split = 0.045 * rng.choice([-1, 1]) * rng.uniform(0.7, 1.3)
    # Side by side with itself, so that what leaves at one edge is found at the other.
    twice = np.concatenate([pixels, pixels], axis=1).reshape(-1, 3)
    places = np.arange(layers.height)[:, None] * (2 * wide) + np.arange(wide)
    bands = []
    for channel, offset in enumerate((-split, 0.0, split)):
        move = np.round((rows + offset) * amount * wide).astype(int)[:, None]
        bands.append(twice[:, channel].take(places + move % wide))
    return Image.fromarray(np.stack(bands, -1))


def iris(layers: Layers, t: float, params: Params) -> Image.Image:
    """A black ring closes in on the subject, as at the end of a silent film."""
    p = params.progress(t)
    x, y = layers.world()
    wide, tall = layers.extent
    distance = np.hypot(x - layers.centre[0], y - layers.centre[1])
    farthest = 0.5 * math.hypot(wide, tall) + 0.05
    radius = farthest + (0.16 / params.strength - farthest) * p
    dark = np.clip((distance - radius) * 25, 0, 1)
    frame = layers.still()
    frame.paste((0, 0, 0), (0, 0), Image.fromarray((255 * dark).astype(np.uint8)))
    return frame


def ripple(layers: Layers, t: float, params: Params) -> Image.Image:
    """Rings run outwards through the picture as on water."""
    p = smooth((t - params.onset) / 0.25)
    x, y = layers.world()
    distance = layers.once("distance", lambda: np.hypot(x, y) + np.float32(1e-4))
    wave = np.sin(np.float32(TAU) * (distance * np.float32(4.2) - np.float32(4.5 * t + params.phase)))
    push = np.float32(0.042 * params.strength * p) * wave / distance * np.minimum(distance * 5, 1)
    scene = layers.of_picture("scene", lambda: Lookup(layers.still()))
    column = (x + x * push) * np.float32(layers.unit) + np.float32(layers.width / 2)
    row = (y + y * push) * np.float32(layers.unit) + np.float32(layers.height / 2)
    bent = scene.at(column, row).convert("RGB")
    crests = Image.fromarray((np.maximum(wave, 0) * np.float32(60 * p)).astype(np.uint8))
    bent.paste((255, 255, 255), (0, 0), crests)
    return bent


def kaleidoscope(layers: Layers, t: float, params: Params) -> Image.Image:
    """Mirrored wedges that turn, faded in over the scene."""
    p = params.progress(1.5 * t)
    x, y = layers.world()

    def folds() -> tuple[np.ndarray, np.ndarray]:
        return np.hypot(x, y), np.arctan2(y, x)

    if p == 0:
        return layers.still()
    distance, angle = layers.once("folds", folds)
    wedge = np.float32(TAU / 6)
    turned = angle + np.float32(params.direction * 1.2 * t)
    folded = np.abs(turned % wedge - wedge / 2) - np.float32(1.1 - 1.6 * t * params.strength)
    scene = layers.of_picture("scene", lambda: Lookup(layers.still()))
    column = (distance * np.cos(folded) * 0.62 + layers.centre[0]) * layers.unit + layers.width / 2
    row = (distance * np.sin(folded) * 0.62 + layers.centre[1]) * layers.unit + layers.height / 2
    return Image.blend(layers.still(), scene.at(column, row).convert("RGB"), p)


def snow(layers: Layers, t: float, params: Params) -> Image.Image:
    """Large flakes fall and everything whitens from the ground up."""
    p = params.progress(t)
    wide, tall = layers.extent
    frame = layers.still()
    _, y = layers.world()
    level = 0.62 * tall - 0.75 * tall * p * params.strength
    white = np.clip((y - level) / 0.12 + 0.5, 0, 1) * 0.88 * min(1.0, 4 * p)
    mask = np.repeat((255 * white).astype(np.uint8), layers.width, axis=1)
    frame.paste((238, 244, 252), (0, 0), Image.fromarray(mask))
    flakes = layers.once("flakes", lambda: params.rng("flakes").random((110, 4)).astype(np.float32).T)
    shown = round(flakes.shape[1] * smooth((t - params.onset) / 0.25))
    start_x, start_y, size, sway = flakes[:, :shown]
    down = (start_y + t * (1.4 + 1.2 * size)) % 1.1 - 0.05
    x = (start_x + 0.03 * np.sin(np.float32(TAU) * (2 * t + sway))) * wide * layers.unit
    dots(frame, x, down * tall * layers.unit, (0.011 + 0.011 * size) * layers.unit, (255, 255, 255))
    return frame


def thermal(layers: Layers, t: float, params: Params) -> Image.Image:
    """The false colours of a heat camera: the subject hot, the surroundings cold."""

    def colour(picture: Image.Image) -> Image.Image:
        body = Image.new("RGBA", picture.size)
        layers.stand(body, sprite=_solid(layers.sprite))
        mask = np.asarray(
            body.getchannel("R").filter(ImageFilter.GaussianBlur(0.02 * layers.unit)), np.float32
        )
        heat = np.clip(0.3 * _grey(picture) + 0.62 * mask / 255, 0, 1) * 255
        stops = np.array([0, 50, 105, 160, 210, 255])
        palette = np.array(
            [(8, 0, 60), (60, 0, 160), (200, 20, 130), (255, 90, 20), (255, 200, 30), (255, 255, 220)]
        )
        table = np.stack([np.interp(np.arange(256), stops, palette[:, k]) for k in range(3)], -1)
        return Image.fromarray(table.astype(np.uint8)[heat.astype(np.uint8)])

    return _blend(layers, params.progress(t), colour)


def _effect(name: str, apply, description: str, *synonyms: str) -> Effect:
    return Effect(name, "style", description, apply, synonyms)


STYLES: tuple[Effect, ...] = (
    _effect("tint", tint, "the picture is soaked in one colour", "tinted", "filter", "hue"),
    _effect("posterise", posterise, "few flat, loud colours", "poster", "posterize", "flat"),
    _effect("pixelate", pixelate, "the picture turns into coarse blocks", "pixel", "blocky", "mosaic"),
    _effect("sketch", sketch, "the picture becomes a pencil drawing", "drawing", "pencil", "drawn"),
    _effect("flash", flash, "white flashes", "lightning", "strobe", "flicker"),
    _effect("invert", invert, "the colours turn into their negative", "inverted", "negative"),
    _effect("blur", blur, "the picture goes out of focus", "blurred", "blurry", "unfocused", "focus"),
    _effect("glow", glow, "the subject shines in the dark", "glowing", "shine", "aura", "shining"),
    _effect("rainbow", rainbow, "the colours run through the spectrum", "spectrum", "psychedelic"),
    _effect("monochrome", monochrome, "the colour drains away", "grayscale", "desaturated"),
    _effect("blackout", blackout, "the light goes out", "darken", "black", "fade"),
    _effect("glitch", glitch, "torn bands and separated colours", "distortion", "noise", "digital"),
    _effect("iris", iris, "a black ring closes in", "vignette", "ring", "closing"),
    _effect("ripple", ripple, "rings run through the picture as on water", "water", "rippling", "waves"),
    _effect("kaleidoscope", kaleidoscope, "mirrored wedges turn", "mirror", "mirrored", "symmetry"),
    _effect("snow", snow, "snow falls and covers everything", "snowy", "winter", "snowfall", "flakes"),
    _effect("neon", neon, "bright coloured outlines on black", "outline", "outlined", "fluorescent"),
    _effect("thermal", thermal, "false colours as of a heat camera", "heat", "infrared", "hot"),
)
