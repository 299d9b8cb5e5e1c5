"""One picture of the generated `shapes` data: textured shapes that cover each other on a textured ground.

Everything is drawn at SCALE times the picture's size, so that edges are smooth and masks exact.
"""
from typing import NamedTuple

import cv2
import numpy as np

SHAPES = ('ellipse', 'triangle', 'rectangle', 'star', 'cross')
SCALE = 2
TILT = np.pi / 9  # radians that a shape may be tilted by
LEAST_VISIBLE = 0.55  # share of its pixels that must stay visible of every object


class Item(NamedTuple):
    """What becomes an annotation: a label of SHAPES, a bool mask (SCALE * H, SCALE * W), and whether it is a crowd."""
    label: int
    mask: np.ndarray
    crowd: bool


def draw_scene(rng: np.random.Generator) -> tuple[np.ndarray, list[Item]]:
    """A picture (H, W, 3) uint8 BGR, sides of 160 to 256 pixels, and the visible part of each of its 0 to 9 objects."""
    long, short = rng.integers(208, 257), rng.integers(160, 209)
    height, width = (long, short) if rng.random() < 0.4 else (short, long)
    image = _ground(rng, height, width)
    owner = np.zeros((SCALE * height, SCALE * width), np.uint8)  # 0: ground; k: k-th entry of drawn
    drawn = []
    empty = rng.random() < 0.04
    if not empty and rng.random() < 0.12:
        drawn += _draw_crowd(rng, image, owner)
    centre = rng.uniform((0, 0), (width, height))
    for _ in range(0 if empty else rng.integers(2, 9)):
        label = int(rng.integers(len(SHAPES)))
        radius = float(np.exp(rng.uniform(np.log(11), np.log(min(height, width) / 2.2))))
        beside = rng.random() < 0.4  # near the previous object, so that one covers part of the other
        centre = centre + rng.normal(0, 1.2 * radius, 2) if beside else rng.uniform((0, 0), (width, height))
        centre = centre.clip(8, (width - 8, height - 8))
        mask = _place(rng, label, radius, centre, owner.shape)
        if not _hides_too_much(mask, owner, drawn):
            drawn.append((label, np.count_nonzero(mask), False))
            _paint(rng, image, mask)
            owner[mask > 0] = len(drawn)
    return image, [Item(label, owner == k, crowd) for k, (label, _, crowd) in enumerate(drawn, 1)]


def outline(label: int, rng: np.random.Generator) -> np.ndarray:
    """Corners (n, 2) of a shape that fits the unit circle, with random proportions."""
    name = SHAPES[label]
    if name == 'ellipse':
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        return np.stack([np.cos(angle), np.sin(angle) * rng.uniform(0.6, 1)], axis=1)
    if name == 'triangle':
        angle = (np.arange(3) - 0.75) * 2 * np.pi / 3 + rng.uniform(-0.25, 0.25, 3)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if name == 'rectangle':
        diagonal = rng.uniform(0.45, np.pi / 4)
        return np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (np.cos(diagonal), np.sin(diagonal))
    if name == 'star':
        angle, reach = (np.arange(10) - 2.5) * np.pi / 5, np.where(np.arange(10) % 2, rng.uniform(0.38, 0.5), 1)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1) * reach[:, None]
    arm = rng.uniform(0.22, 0.34)
    return np.array([[1, arm], [arm, arm], [arm, 1], [-arm, 1], [-arm, arm], [-1, arm],
                     [-1, -arm], [-arm, -arm], [-arm, -1], [arm, -1], [arm, -arm], [1, -arm]])


def _place(rng, label, radius, centre, shape):
    """Mask (uint8 0 or 1, of `shape`) of a shape, tilted by up to 20 degrees."""
    turn = rng.uniform(-TILT, TILT)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = (outline(label, rng) @ rotation * radius + centre) * SCALE
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask


def _hides_too_much(mask, owner, drawn):
    """Whether `mask` lies too far outside the picture, or would cover too much of an earlier object."""
    if np.count_nonzero(mask) < 80 * SCALE ** 2:
        return True
    left = np.bincount(owner[mask == 0], minlength=len(drawn) + 1)[1:]
    return any(remaining < LEAST_VISIBLE * area for remaining, (_, area, _) in zip(left, drawn, strict=True))


def _draw_crowd(rng, image, owner):
    """A heap of small shapes of one class, too many to mark one by one."""
    label = int(rng.integers(len(SHAPES)))
    height, width = image.shape[:2]
    centre, spread = rng.uniform((40, 40), (width - 40, height - 40)), rng.uniform(14, 24)
    before = owner.copy()
    for _ in range(rng.integers(10, 18)):
        mask = _place(rng, label, rng.uniform(5, 8), centre + rng.normal(0, spread, 2), owner.shape)
        _paint(rng, image, mask)
        before |= mask
    owner[:] = before
    return [(label, np.count_nonzero(before), True)]


def _ground(rng, height, width):
    """Soft patches of two muted colours with grain and a few thin strands."""
    patches = _noise(rng, height, width, rng.integers(3, 7)) * 0.75 + _noise(rng, height, width, 24) * 0.25
    colours = _colour(rng, (15, 110), (80, 235)), _colour(rng, (15, 110), (80, 235))
    image = colours[0] + (colours[1] - colours[0]) * patches[..., None]
    for _ in range(rng.integers(0, 4)):
        start, bend, end = rng.uniform((0, 0), (width, height), (3, 2))
        t = np.linspace(0, 1, 24)[:, None]
        strand = start * (1 - t) ** 2 + bend * 2 * t * (1 - t) + end * t ** 2
        cv2.polylines(image, [strand.astype(np.int32)], False, _colour(rng, (20, 90), (60, 220)).tolist(), 1)
    image += rng.normal(0, rng.uniform(3, 9), (height, width, 1))
    return image.clip(0, 255).astype(np.uint8)


def _noise(rng, height, width, cells):
    """Smooth noise (H, W) in 0..1 of about `cells` patches a side."""
    grid = rng.random((cells, cells)).astype(np.float32)
    return cv2.resize(grid, (int(width), int(height)), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def _colour(rng, saturation, value):
    """Random BGR colour (3,) float64 with saturation and value (0..255) in the given ranges."""
    hsv = np.uint8([[[rng.integers(180), rng.uniform(*saturation), rng.uniform(*value)]]])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float64)


def _paint(rng, image, mask):
    """Draw a shape and its shadow onto the picture: two colours in a pattern, a darker rim, light from one side."""
    x, y, w, h = cv2.boundingRect(mask)
    margin = 6 * SCALE
    x1, y1 = max(x - margin, 0) // SCALE, max(y - margin, 0) // SCALE
    x2, y2 = (min(e + margin, s) // SCALE for e, s in ((x + w, mask.shape[1]), (y + h, mask.shape[0])))
    window = mask[y1 * SCALE:y2 * SCALE, x1 * SCALE:x2 * SCALE]
    size = (x2 - x1, y2 - y1)
    cover = cv2.resize(window.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    core = cv2.resize(cv2.erode(window, np.ones((3, 3), np.uint8)).astype(np.float32), size,
                      interpolation=cv2.INTER_AREA)
    shadow = np.zeros_like(cover)
    shadow[3:, 3:] = cover[:-3, :-3]
    shadow = cv2.GaussianBlur(shadow, (0, 0), 2) * 0.5
    paint = _pattern(rng, *size) * (0.55 + 0.45 * core[..., None])
    region = image[y1:y2, x1:x2]
    shaded = region * (1 - shadow * (1 - cover))[..., None]
    region[:] = (shaded + (paint - shaded) * cover[..., None]).clip(0, 255)


def _pattern(rng, width, height):
    """Filling (h, w, 3): plain, striped, chequered or dotted."""
    first, second = _colour(rng, (130, 255), (130, 255)), _colour(rng, (60, 255), (60, 255))
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    turn, period = rng.uniform(0, np.pi), rng.uniform(5, 12)
    u = (xx * np.cos(turn) + yy * np.sin(turn)) * (2 * np.pi / period)
    v = (yy * np.cos(turn) - xx * np.sin(turn)) * (2 * np.pi / period)
    waves = (np.zeros_like(u), np.sin(u), np.sin(u) * np.sin(v) * 2, np.cos(u) + np.cos(v) - 0.8)
    share = (waves[rng.integers(4)] * 2).clip(0, 1)[..., None] * rng.uniform(0.15, 0.5)
    light = 1 + 0.25 * ((xx + yy) / (width + height) - 0.5)
    return (first + (second - first) * share) * light[..., None]
