"""Boxes, masks and labels on an image. Images are (H, W, 3) uint8 RGB, boxes (N, 4) xyxy pixels."""
import functools
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .palette import Color


def draw_masks(image: np.ndarray, masks: list[tuple[np.ndarray, int, int]], colors: list[Color], alpha: float,
               width: int) -> None:
    """Tint and outline masks in place, the largest first. masks: (h, w) bool pieces with their left and top."""
    for index in sorted(range(len(masks)), key=lambda i: -np.count_nonzero(masks[i][0])):
        (mask, x, y), color = masks[index], np.array(colors[index], np.float32)
        mask = mask[:max(image.shape[0] - y, 0), :max(image.shape[1] - x, 0)]
        window = image[y:y + mask.shape[0], x:x + mask.shape[1]]
        window[mask] = (window[mask] * (1 - alpha) + color * alpha).astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y))
        bright = tuple(int(channel) for channel in color * 0.6 + 102)
        cv2.polylines(image, outlines, True, bright, max(width // 2, 1), cv2.LINE_AA)


def draw_boxes(image: np.ndarray, boxes: np.ndarray, colors: list[Color], width: int) -> None:
    """Draw boxes in place, the largest first."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index in np.argsort(-areas):
        corners = np.rint(boxes[index].clip(-1e4, 1e4)).astype(int).tolist()
        cv2.rectangle(image, corners[:2], corners[2:], colors[index], width)


def draw_labels(image: np.ndarray, boxes: np.ndarray, texts: list[str], colors: list[Color], size: int,
                text_color: str | Color | None = None) -> np.ndarray:
    """Return the image with a tag at each box: above it where there is room, else inside or below, away from others."""
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    font = _font(size)
    pad = max(size // 6, 1)
    taken = np.empty((0, 4))
    for box, text, color in zip(boxes, texts, colors, strict=True):
        left, top, right, bottom = font.getbbox(text)
        w, h = right - left + 2 * pad, size + 2 * pad
        x = min(max(box[0], 0), max(image.shape[1] - w, 0))
        places = [np.array([x, y, x + w, y + h]) for y in (box[1] - h, box[1], box[3], box[3] - h)
                  if 0 <= y <= image.shape[0] - h] or [np.array([x, 0, x + w, h])]
        place = min(places, key=lambda place: _overlap(place, taken))
        taken = np.vstack([taken, place])
        pen.rectangle(place.tolist(), fill=color)
        contrast = 'black' if np.dot(color, (0.299, 0.587, 0.114)) > 140 else 'white'
        pen.text((place[0] + pad - left, place[1] + pad + size / 2), text, text_color or contrast, font, anchor='lm')
    return np.array(canvas)


def _overlap(place: np.ndarray, taken: np.ndarray) -> float:
    sides = np.minimum(place[2:], taken[:, 2:]) - np.maximum(place[:2], taken[:, :2])
    return sides.clip(0).prod(axis=1).sum()


@functools.lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # for its font; a second of a start that draws nothing
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf')), size)
