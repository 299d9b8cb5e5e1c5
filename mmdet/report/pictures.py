"""Pictures with the truth beside what was predicted, as JPEGs for a page."""
import base64
from pathlib import Path

import cv2
import numpy as np

from mmdet.visualization.draw import draw_boxes, draw_labels
from mmdet.visualization.palette import get_palette

from .evaluated import Evaluated

SIDE = 300  # pixels of the longer side in the page


def side_by_side(evaluated: Evaluated, image: int, score_thr: float) -> str | None:
    """The image as a data URL, truth on the left, what scores from `score_thr` on the right; None without its file."""
    both = drawn_pair(evaluated, image, score_thr, SIDE)
    if both is None:
        return None
    jpeg = cv2.imencode('.jpg', both[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f'data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}'


def drawn_pair(evaluated: Evaluated, image: int, score_thr: float, side: int | None = None) -> np.ndarray | None:
    """RGB pixels of both, the longer side of each `side` pixels, or as it is."""
    path = evaluated.paths[image]
    pixels = cv2.imread(path) if path and Path(path).is_file() else None  # OpenCV warns of one that is not there
    if pixels is None:
        return None
    scale = side / max(pixels.shape[:2]) if side else 1.
    pixels = cv2.resize(pixels[..., ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    real = (evaluated.gt_image == image) & ~evaluated.gt_crowd
    given = (evaluated.image == image) & (evaluated.score >= score_thr)
    names = np.array(evaluated.classes)
    truth = _drawn(pixels, evaluated.gt_box[real] * scale, evaluated.gt_label[real],
                   names[evaluated.gt_label[real]].tolist())
    texts = [f'{name} {score:.2f}' for name, score in zip(names[evaluated.label[given]], evaluated.score[given])]
    found = _drawn(pixels, evaluated.box[given] * scale, evaluated.label[given], texts)
    gap = np.full((pixels.shape[0], 8, 3), 255, np.uint8)
    return np.concatenate([truth, gap, found], axis=1)


def _drawn(pixels: np.ndarray, boxes: np.ndarray, labels: np.ndarray, texts: list[str]) -> np.ndarray:
    image = np.ascontiguousarray(pixels).copy()
    if not len(boxes):
        return image
    palette = get_palette(None, int(labels.max()) + 1)
    colors = [palette[label] for label in labels]
    draw_boxes(image, boxes, colors, 1)
    return draw_labels(image, boxes, texts, colors, 9) if len(boxes) <= 25 else image
