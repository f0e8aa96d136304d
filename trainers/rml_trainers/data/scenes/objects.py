"""What stands in a scene: trees, cars, people, poles and signs, each painted inside its own box
with a soft shadow."""

from collections.abc import Callable

import numpy as np

from rml_trainers.data.scenes.backdrop import LEAVES, Street
from rml_trainers.data.scenes.canvas import (
    CAR,
    PERSON,
    POLE,
    VEGETATION,
    BoolArray,
    Canvas,
    Colour,
    FloatArray,
)

Painter = Callable[[Canvas, Street, float], None]


def paint_objects(canvas: Canvas, street: Street) -> None:
    """Draw a scene's things and paint them from far to near, so that near ones hide far ones."""
    rng = canvas.rng
    crowd: tuple[tuple[Painter, int, float], ...] = (
        (paint_tree, 6, 1.7),
        (paint_car, 5, 1.7),
        (paint_person, 9, 1.2),
        (paint_pole, 6, 1.2),
    )
    placed: list[tuple[float, Painter]] = []
    for painter, most, farness in crowd:
        for _ in range(int(rng.integers(0, most))):
            # Uniform on the ground would put nearly all things far away; this puts about a third of
            # them near.
            placed.append((float(rng.uniform(0.06, 1.0) ** farness), painter))
    for near, painter in sorted(placed, key=lambda thing: thing[0]):
        painter(canvas, street, canvas.horizon + near * (canvas.height * 1.05 - canvas.horizon))


def _beside(rng: np.random.Generator, street: Street, spread: float) -> float:
    """Lateral metres of a place on or just behind one of the pavements."""
    side = rng.integers(2)
    inner = street.road[side]
    outer = street.front[side]
    return float(
        rng.uniform(min(inner, outer), max(inner, outer))
        + rng.uniform(0, spread) * (1 if side else -1)
    )


def _box(
    canvas: Canvas, lateral: float, row: float, wide: float, tall: float
) -> tuple[int, int, int, int, float]:
    """Pixel box (top, left, height, width) of a thing of given metres standing at (lateral, row);
    pixels per metre."""
    scale = canvas.pixels_per_m(row)
    height = max(2, round(tall * scale))
    width = max(2, round(wide * scale))
    left = round(canvas.vanishing + lateral * scale - width / 2)
    return round(row) - height, left, height, width, scale


def _unit(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates of the pixel centres of a box: x in [-1, 1] across, y in [0, 1] from the top."""
    x = (np.arange(width) + 0.5) / width * 2 - 1
    y = (np.arange(height) + 0.5) / height
    return x[None, :].astype(np.float32), y[:, None].astype(np.float32)


def _round_light(canvas: Canvas, x: FloatArray) -> FloatArray:
    """Brightness across an upright round thing, brighter on the sun's side."""
    towards = -x if canvas.sun_from_left else x
    return np.float32(1) + np.float32(0.35 * canvas.sun) * towards


def _ground_shadow(canvas: Canvas, row: float, left: int, width: int, scale: float) -> None:
    """Ellipse on the ground below a thing, pulled away from the sun."""
    height = max(2, round(0.35 * scale))
    long = round(width * (1 + canvas.sun))
    x, y = _unit(height, long)
    inside = x**2 + (2 * y - 1) ** 2
    start = left if canvas.sun_from_left else left + width - long
    canvas.shade(1 - np.float32(0.5) * np.clip(1.2 - inside, 0, 1), round(row) - height // 2, start)


def paint_tree(canvas: Canvas, street: Street, row: float) -> None:
    """Trunk and a crown with a ragged outline; or a bush, which is a crown on the ground."""
    rng = canvas.rng
    bush = rng.random() < 0.3
    tall, wide = (
        (rng.uniform(0.7, 1.8), rng.uniform(1.2, 4))
        if bush
        else (rng.uniform(4, 9), rng.uniform(2.5, 5))
    )
    lateral = _beside(rng, street, 2.0)
    top, left, height, width, scale = _box(canvas, lateral, row, wide, tall)
    _ground_shadow(canvas, row, left, width, scale)
    x, y = _unit(height, width)
    leaf = canvas.vary(LEAVES[rng.integers(len(LEAVES))], 0.06)
    if not bush:
        trunk = (abs(x) < 0.18 / wide * 2) & (y > 0.3)
        bark = canvas.vary((0.28, 0.22, 0.17), 0.05)
        canvas.paint(trunk, np.broadcast_to(bark, (*trunk.shape, 3)), VEGETATION, top, left)
    middle, radius = (0.55, 0.5) if bush else (0.36, 0.36)
    ragged = canvas.noise(4, 3, height, width)
    crown = (x**2 + ((y - middle) / radius) ** 2) < 0.8 + 0.35 * ragged
    clumps = canvas.noise(max(3, width / 4), 2, height, width)
    light = _round_light(canvas, x) * (1.15 - 0.5 * y) * (1 + 0.45 * clumps)
    canvas.paint(crown, leaf * light[..., None], VEGETATION, top, left)


def paint_car(canvas: Canvas, street: Street, row: float) -> None:
    """A car seen from behind, or from the side when it crosses; windows, lights, wheels."""
    rng = canvas.rng
    crossing = rng.random() < 0.3
    lateral = float(rng.uniform(street.road[0] + 0.8, street.road[1] - 0.8))
    if rng.random() < 0.5:
        lateral = street.road[0] + 1.0 if rng.random() < 0.5 else street.road[1] - 1.0
    tall = rng.uniform(1.35, 2.3)
    top, left, height, width, scale = _box(
        canvas, lateral, row, rng.uniform(3.8, 4.8) if crossing else 1.85, tall
    )
    _ground_shadow(canvas, row, left, width, scale)
    x, y = _unit(height, width)
    roof = rng.uniform(0.4, 0.75) if crossing else rng.uniform(0.72, 0.9)
    slope = roof + (1 - roof) * np.clip(y / 0.45, 0, 1)
    body = (abs(x) < slope) & (y < 0.86)
    paint = canvas.any_colour() * (_round_light(canvas, x) * (1.1 - 0.35 * y))[..., None]
    canvas.paint(body, paint, CAR, top, left)
    glass = (abs(x) < slope - 0.12) & (y > 0.08) & (y < 0.42)
    if crossing:
        glass &= abs(x) > 0.04
    mirror = canvas.sky_colour * np.float32(rng.uniform(0.2, 0.8))
    canvas.paint(glass, np.broadcast_to(mirror, (*glass.shape, 3)), None, top, left)
    at = 0.6 if crossing else 0.78
    wheel = (abs(abs(x) - at) < (0.16 if crossing else 0.15)) & (y > (0.68 if crossing else 0.8))
    canvas.paint(wheel, np.full(3, 0.08, np.float32), CAR, top, left)
    if not crossing:
        lamp = (abs(abs(x) - 0.82) < 0.12) & (abs(y - 0.52) < 0.07)
        red = np.array([0.75, 0.1, 0.08] if rng.random() < 0.6 else [0.9, 0.88, 0.75], np.float32)
        canvas.paint(lamp & body, red, None, top, left)


def paint_person(canvas: Canvas, street: Street, row: float) -> None:
    """Head, trunk with arms, and two legs in stride, in clothes of any colour."""
    rng = canvas.rng
    on_road = rng.random() < 0.2
    lateral = float(rng.uniform(*street.road)) if on_road else _beside(rng, street, 0.0)
    top, left, height, width, scale = _box(canvas, lateral, row, 0.75, rng.uniform(1.5, 1.95))
    _ground_shadow(canvas, row, left, width, scale)
    x, y = _unit(height, width)
    light = _round_light(canvas, x)[..., None]
    stride = rng.uniform(0.1, 0.45)
    legs = (abs(abs(x) - stride * np.clip((y - 0.45) / 0.5, 0, 1) - 0.12) < 0.17) & (y > 0.5)
    trunk = (abs(x) < 0.42 + 0.12 * np.sin(np.pi * y)) & (y > 0.16) & (y < 0.56)
    head = (x / 0.3) ** 2 + ((y - 0.09) / 0.085) ** 2 < 1
    for part, colour in (
        (legs, canvas.any_colour()),
        (trunk, canvas.any_colour()),
        (head, _skin(canvas)),
    ):
        shaded = np.broadcast_to(colour * light, (*part.shape, 3))
        canvas.paint(part, shaded, PERSON, top, left)


def _skin(canvas: Canvas) -> Colour:
    light = np.array([0.9, 0.72, 0.6])
    dark = np.array([0.3, 0.2, 0.15])
    return canvas.vary(dark + (light - dark) * canvas.rng.random(), 0.03)


def paint_pole(canvas: Canvas, street: Street, row: float) -> None:
    """Lamp post, or a post with a round, square or triangular plate; at the kerb."""
    rng = canvas.rng
    side = int(rng.integers(2))
    lateral = street.road[side] + (1 if side else -1) * rng.uniform(0.2, 0.8)
    plate = rng.random() < 0.65
    tall = rng.uniform(2.2, 3.2) if plate else rng.uniform(4, 8)
    top, left, height, width, _scale = _box(canvas, lateral, row, 0.8 if plate else 0.16, tall)
    x, y = _unit(height, width)
    post = abs(x) < max(0.11 if plate else 1.0, 1.01 / width)
    tone = canvas.vary(np.full(3, rng.uniform(0.15, 0.7)), 0.05)
    canvas.paint(
        np.broadcast_to(post, (height, width)),
        np.broadcast_to(tone, (height, width, 3)),
        POLE,
        top,
        left,
    )
    if plate:
        _paint_plate(canvas, x, y * (tall / 0.4) - 1, top, left)


def _paint_plate(canvas: Canvas, x: FloatArray, y: FloatArray, top: int, left: int) -> None:
    """Plate over x, y in [-1, 1], with a rim in a second colour."""
    rng = canvas.rng
    shapes: tuple[FloatArray, ...] = (
        x**2 + y**2,
        np.maximum(abs(x), abs(y)) ** 2,
        np.maximum(abs(x) * 2 + y, -y),
    )
    shape = shapes[rng.integers(3)]
    inks = np.array(
        [[0.8, 0.1, 0.1], [0.1, 0.25, 0.7], [0.9, 0.9, 0.88], [0.9, 0.75, 0.1]], np.float32
    )
    rim, face = rng.choice(4, 2, replace=False)
    plate: BoolArray = shape < 1
    canvas.paint(
        plate, np.broadcast_to(canvas.vary(inks[rim], 0.04), (*plate.shape, 3)), POLE, top, left
    )
    canvas.paint(shape < 0.5, canvas.vary(inks[face], 0.04), POLE, top, left)
