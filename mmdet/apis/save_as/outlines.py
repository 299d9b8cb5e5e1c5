"""Polygons round masks."""
import cv2
import numpy as np
from pycocotools import mask as mask_api

TOLERANCE = 0.5  # pixels that a polygon may leave out or add


def outlines(rle: dict) -> list[list[float]]:
    """The parts of a mask (COCO's RLE), the largest first, each as x1, y1, x2, y2, ... pixels; holes are filled."""
    x, y, w, h = mask_api.toBbox(rle).astype(int).tolist()
    # At twice the size, so that what runs through the middle of border pixels lies near their outer edges.
    piece = mask_api.decode(rle)[y:y + h, x:x + w].repeat(2, axis=0).repeat(2, axis=1)
    parts, _ = cv2.findContours(np.ascontiguousarray(piece), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = []
    for part in sorted(parts, key=cv2.contourArea, reverse=True):
        points = cv2.approxPolyDP(part, 2 * TOLERANCE, closed=True)[:, 0]
        points = points if len(points) > 2 else cv2.boxPoints(cv2.minAreaRect(part))
        polygons.append(((points + 0.5) / 2 + [x, y]).round(2).ravel().tolist())
    return polygons
