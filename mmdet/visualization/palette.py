"""Class colours."""
import colorsys
from collections.abc import Sequence
from typing import Any

from PIL import ImageColor

GOLDEN_RATIO = 0.618034
Color = tuple[int, ...]  # R, G, B


def get_palette(palette: str | Sequence[Any] | None, num_classes: int) -> list[Color]:
    """At least `num_classes` RGB colours, 0 to 255.

    Args:
        palette: a list of colours (repeated when it is too short), one colour as a tuple or a name, or None or 'random'
            for generated ones, whose neighbours in the list are far apart in hue.
    """
    if palette is None or palette == 'random':
        return [_generated(i) for i in range(num_classes)]
    if isinstance(palette, str):
        palette = [ImageColor.getrgb(palette)]
    elif isinstance(palette[0], (int, float)):
        palette = [palette]
    colors: list[Color] = [tuple(int(channel) for channel in color) for color in palette]
    return (colors * -(-num_classes // len(colors)))[:max(num_classes, len(colors))]


def _generated(index: int) -> Color:
    hue = (0.58 + index * GOLDEN_RATIO) % 1
    rgb = colorsys.hsv_to_rgb(hue, 0.75 - 0.2 * (index // 8 % 2), 0.95 - 0.2 * (index // 16 % 2))
    return tuple(round(channel * 255) for channel in rgb)
