"""What a scene's street is made of: sky, road, pavements, verges, and the two rows of buildings."""

from dataclasses import dataclass

import numpy as np

from rml_trainers.data.scenes.canvas import (
    BUILDING,
    CAMERA_M,
    PAVEMENT,
    ROAD,
    SKY,
    VEGETATION,
    BoolArray,
    Canvas,
    FloatArray,
)

WALLS = (
    (0.55, 0.34, 0.27),
    (0.76, 0.7, 0.6),
    (0.55, 0.55, 0.55),
    (0.42, 0.48, 0.58),
    (0.5, 0.53, 0.42),
    (0.3, 0.29, 0.3),
)
LEAVES = (
    (0.2, 0.36, 0.14),
    (0.13, 0.24, 0.13),
    (0.42, 0.44, 0.16),
    (0.5, 0.36, 0.16),
    (0.34, 0.4, 0.32),
)


@dataclass(frozen=True)
class Street:
    """Lateral metres from the camera (negative is left): road edges, pavement edges and building
    fronts."""

    road: tuple[float, float]
    pavement: tuple[float, float]
    front: tuple[float, float]


def draw_street(rng: np.random.Generator) -> Street:
    """Widths of one street; the camera drives somewhere on the road or walks at its edge."""
    road = (-rng.uniform(1.2, 6.0), rng.uniform(1.2, 6.0))
    pavement = (road[0] - rng.uniform(1.2, 4.0), road[1] + rng.uniform(1.2, 4.0))
    verge = [rng.uniform(0.5, 4.0) if rng.random() < 0.45 else 0.0 for _ in range(2)]
    return Street(road, pavement, (pavement[0] - verge[0], pavement[1] + verge[1]))


def paint_sky(canvas: Canvas) -> None:
    """Gradient from the zenith to a bright horizon, with clouds, over the whole canvas."""
    rng = canvas.rng
    towards_horizon = np.clip(canvas.rows / np.float32(canvas.horizon), 0, 1)[..., None]
    zenith = canvas.sky_colour * np.float32(rng.uniform(0.65, 1.0))
    clear = zenith + (canvas.sky_colour * 0.5 + 0.5 - zenith) * towards_horizon**2
    cover = np.clip(canvas.noise(rng.uniform(2, 5), 4) * 0.9 + rng.uniform(-0.7, 0.7), 0, 1)[
        ..., None
    ]
    cloud = np.float32(rng.uniform(0.6, 0.98))
    canvas.image[:] = clear + (cloud - clear) * cover * np.float32(0.85)
    canvas.label[:] = SKY


def paint_ground(canvas: Canvas, street: Street) -> None:
    """Road, pavements and verges below the horizon, textured in ground coordinates."""
    rng = canvas.rng
    first = int(np.ceil(canvas.horizon))
    rows = canvas.rows[first:]
    metre = np.maximum(rows - np.float32(canvas.horizon), 0.5) / np.float32(CAMERA_M)
    lateral = (canvas.cols - np.float32(canvas.vanishing)) / metre
    depth = np.broadcast_to(canvas.depth(rows), lateral.shape)
    grain = canvas.fine[first:]
    patches = canvas.noise(4, 3, lateral.shape[0])
    grass = _grass(canvas, grain, patches)
    canvas.paint(np.ones_like(lateral, bool), grass, VEGETATION, first)
    on_pavement = (lateral > street.pavement[0]) & (lateral < street.pavement[1])
    canvas.paint(on_pavement, _pavement(canvas, lateral, depth, grain, patches), PAVEMENT, first)
    on_road = (lateral > street.road[0]) & (lateral < street.road[1])
    canvas.paint(on_road, _road(canvas, street, lateral, depth, grain, patches), ROAD, first)
    kerb = np.minimum(abs(lateral - street.road[0]), abs(lateral - street.road[1])) < 0.12
    canvas.paint(kerb & ~on_road, np.full(3, rng.uniform(0.3, 0.8), np.float32), None, first)


def _grass(canvas: Canvas, grain: FloatArray, patches: FloatArray) -> FloatArray:
    green = canvas.vary(LEAVES[canvas.rng.integers(len(LEAVES))], 0.06)
    return green * (1 + 0.35 * grain + 0.25 * patches)[..., None]


def _pavement(
    canvas: Canvas, lateral: FloatArray, depth: FloatArray, grain: FloatArray, patches: FloatArray
) -> FloatArray:
    """Slabs with joints, or plain; as bright as the road or not, so that only the pattern and the
    place tell."""
    rng = canvas.rng
    tone = canvas.vary(np.full(3, rng.uniform(0.28, 0.66)), 0.05)
    slab = rng.uniform(0.5, 1.1)
    joint = ((lateral / slab) % 1 < 0.1) | ((depth / slab) % 1 < 0.1)
    visible = np.clip(14 / depth, 0, 1) * (0.3 if rng.random() < 0.75 else 0.0)
    light = 1 + 0.1 * grain + 0.12 * patches - (joint * visible).astype(np.float32)
    slabs: FloatArray = tone * light[..., None]
    return slabs


def _road(
    canvas: Canvas,
    street: Street,
    lateral: FloatArray,
    depth: FloatArray,
    grain: FloatArray,
    patches: FloatArray,
) -> FloatArray:
    """Asphalt with wheel tracks, repaired patches and, on most roads, lane markings."""
    rng = canvas.rng
    asphalt = canvas.vary(np.full(3, rng.uniform(0.2, 0.52)), 0.035)
    repaired = (patches > rng.uniform(0.35, 1.0)) * np.float32(rng.uniform(-0.25, 0.2))
    tracks = np.float32(0.08) * np.cos(lateral * np.float32(2 * np.pi / 1.7))
    colour: FloatArray = asphalt * (1 + 0.16 * grain + 0.1 * patches + repaired + tracks)[..., None]
    if rng.random() < 0.75:
        middle = (street.road[0] + street.road[1]) / 2
        dash = (depth / 3.0 + rng.random()) % 2 < 1
        edge = (
            np.minimum(abs(lateral - street.road[0] - 0.4), abs(lateral - street.road[1] + 0.4))
            < 0.07
        )
        marked = ((abs(lateral - middle) < 0.09) & dash) | (edge & bool(rng.random() < 0.6))
        colour[marked & (patches < 0.6)] = rng.uniform(0.6, 0.9)
    return colour


def paint_far_end(canvas: Canvas) -> None:
    """Where the street ends: a low skyline of far buildings and trees across the horizon."""
    rng = canvas.rng
    skyline = canvas.noise(6, 3, 2)[0]
    height = canvas.height * (rng.uniform(0.02, 0.1) + 0.04 * skyline)
    label = BUILDING if rng.random() < 0.5 else VEGETATION
    tone = canvas.vary((WALLS if label == BUILDING else LEAVES)[rng.integers(5)], 0.05)
    mask = (canvas.rows > canvas.horizon - height) & (canvas.rows <= canvas.horizon + 1)
    hazy = tone + (canvas.sky_colour - tone) * np.float32(rng.uniform(0.1, 0.5))
    canvas.paint(mask, hazy * (1 + 0.15 * canvas.fine)[..., None], label)


def paint_buildings(canvas: Canvas, street: Street) -> None:
    """Both rows of houses, far to near, each in its own colour, height and window pattern, with
    gaps."""
    for side, front in ((-1, -street.front[0]), (1, street.front[1])):
        away = (canvas.cols - np.float32(canvas.vanishing)) * side
        metre = np.maximum(away, 0.5) / np.float32(front)
        depth = np.float32(canvas.focal) / metre
        lit = canvas.sun_from_left == (side > 0)
        light = 1 + canvas.sun * (0.15 if lit else -0.4)
        start = canvas.rng.uniform(0, 6)
        while start < 90:
            end = start + canvas.rng.uniform(6, 18)
            if canvas.rng.random() < 0.8:
                _paint_house(
                    canvas, (away > 0.5) & (depth >= start) & (depth < end), depth, metre, light
                )
            start = end


def _paint_house(
    canvas: Canvas, columns: BoolArray, depth: FloatArray, metre: FloatArray, light: float
) -> None:
    """One front over the given columns ([1, W] fields); rows of windows in metres along the wall
    and up it."""
    where = np.flatnonzero(columns[0])
    if where.size == 0:
        return
    rng = canvas.rng
    height = rng.uniform(4, 16)
    left = int(where[0])
    right = int(where[-1]) + 1
    depth = depth[:, left:right]
    metre = metre[:, left:right]
    nearest = float(metre.max())
    top = max(0, int(canvas.horizon - (height - CAMERA_M) * nearest))
    bottom = min(canvas.height, int(canvas.horizon + CAMERA_M * nearest) + 2)
    up = np.float32(CAMERA_M) - (canvas.rows[top:bottom] - np.float32(canvas.horizon)) / metre
    wall = canvas.vary(WALLS[rng.integers(len(WALLS))], 0.08) * np.float32(light)
    pattern = 1 + np.float32(0.12) * canvas.fine[top:bottom, left:right]
    if rng.random() < 0.5:  # courses of brick or boards, seen on near houses
        pattern += (
            np.float32(0.12)
            * np.sign(np.sin(up * np.float32(2 * np.pi / 0.5)))
            * np.clip(metre / 8, 0, 1)
        )
    pattern[up > height - rng.uniform(0.3, 1.2)] *= np.float32(rng.uniform(0.5, 1.15))
    front = _windows(canvas, wall * pattern[..., None], depth, up, height)
    front += (canvas.sky_colour - front) * np.clip(depth / 160, 0, 0.6)[..., None]
    canvas.paint((up > 0) & (up < height), front, BUILDING, top, left)


def _windows(
    canvas: Canvas, front: FloatArray, depth: FloatArray, up: FloatArray, height: float
) -> FloatArray:
    """Windows in a grid; each is dark or mirrors the sky."""
    rng = canvas.rng
    across = depth / np.float32(rng.uniform(1.6, 3.6))
    above = up / np.float32(rng.uniform(2.6, 3.6))
    wide = rng.uniform(0.35, 0.75)
    tall = rng.uniform(0.35, 0.7)
    in_bay = abs(across % 1 - 0.5) < wide / 2
    inside = in_bay & (abs(above % 1 - np.float32(0.55)) < tall / 2) & (up < height - 0.8)
    mirrors = rng.random((64, 8)) < 0.35
    dark = canvas.vary(np.full(3, 0.15), 0.04)
    rows, cols = np.nonzero(inside)
    mirroring = mirrors[(across[0, cols] % 64).astype(int), (above[rows, cols] % 8).astype(int)]
    glass = np.where(mirroring[:, None], canvas.sky_colour * np.float32(0.8), dark)
    seen = np.clip(40 / depth[0, cols], 0.2, 0.9)[:, None]
    front[rows, cols] += (glass - front[rows, cols]) * seen
    return front


def paint_building_shadow(canvas: Canvas, street: Street) -> None:
    """Shadow that the row of houses on the sun's side throws across the ground, with an uneven
    edge."""
    first = int(np.ceil(canvas.horizon))
    reach = canvas.rng.uniform(-1.0, 5.0)
    metre = np.maximum(canvas.rows[first:] - np.float32(canvas.horizon), 0.5) / np.float32(CAMERA_M)
    lateral = (canvas.cols - np.float32(canvas.vanishing)) / metre
    depth = canvas.depth(canvas.rows[first:])
    ragged = reach + 1.5 * np.sign(np.sin(depth / canvas.rng.uniform(2, 5))) * (
        canvas.rng.random() < 0.7
    )
    edge = lateral - street.pavement[0] if canvas.sun_from_left else street.pavement[1] - lateral
    canvas.shade(np.where(edge < ragged, np.float32(1 - 0.55 * canvas.sun), np.float32(1)), first)
