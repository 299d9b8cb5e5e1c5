"""ShapesDataset: a COCO-format data set that is drawn on first use, for demos and tests."""
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from pycocotools import mask as mask_api

from mmdet.errors import UserError
from mmdet.registry import DATASETS

from .coco import CocoDataset
from .shapes_scene import SCALE, SHAPES, draw_scene


@DATASETS.register_module()
class ShapesDataset(CocoDataset):
    """Generated pictures of ellipses, triangles, rectangles, stars and crosses under data_root.

    data_root holds train/ (600 pictures), val/ (100), annotations/train.json and annotations/val.json. If they are
    missing, they are drawn first. All other arguments are CocoDataset's.
    """
    METAINFO = dict(classes=SHAPES,
                    palette=[(230, 60, 60), (60, 170, 60), (60, 100, 230), (240, 170, 30), (160, 70, 200)])

    def __init__(self, *args: Any, data_root: str = 'data/shapes/', **kwargs: Any):
        make_shapes(data_root)
        super().__init__(*args, data_root=data_root, **kwargs)


def make_shapes(root: str | Path, num_train: int = 600, num_val: int = 100, seed: int = 0) -> None:
    """Draw the data set into the folder `root` unless it is there. The same seed gives the same pictures.

    Several processes may start at once: each draws into a folder of its own, and the first to finish renames its own.

    Raises:
        FileExistsError: `root` holds something else.
    """
    root = Path(root)
    if all((root / 'annotations' / f'{split}.json').is_file() for split in ('train', 'val')):
        return
    print_log(f'drawing the shapes data set, {num_train} + {num_val} pictures, into {root}', 'current')
    root.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f'.{root.name}.', dir=root.parent))
    try:
        for split, number in enumerate((num_train, num_val)):
            _write_split(made, ('train', 'val')[split], number, [seed, split])
        made.chmod(0o755)
        os.rename(made, root)
    except OSError as error:
        if not (root / 'annotations' / 'val.json').is_file():
            raise UserError(f'cannot put the shapes data set into {root} ({error.strerror}): remove what is '
                            'there, or choose another data_root') from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write_split(root: Path, split: str, number: int, seed: list[int]) -> None:
    (root / split).mkdir()
    (root / 'annotations').mkdir(exist_ok=True)
    images: list[dict] = []
    annotations: list[dict] = []
    for i in range(number):
        image, items = draw_scene(np.random.default_rng([*seed, i]))
        name = f'{i:06d}.jpg'
        cv2.imwrite(str(root / split / name), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        images.append(dict(id=i + 1, file_name=name, height=image.shape[0], width=image.shape[1]))
        for item in items:
            annotations.append(dict(id=len(annotations) + 1, image_id=i + 1, category_id=item.label + 1,
                                    iscrowd=int(item.crowd), **_annotate(item.mask, item.crowd)))
    categories = [dict(id=label, name=name) for label, name in enumerate(SHAPES, 1)]
    with open(root / 'annotations' / f'{split}.json', 'w') as file:
        json.dump(dict(images=images, annotations=annotations, categories=categories), file)


def _annotate(mask: np.ndarray, crowd: bool) -> dict:
    """bbox, area and segmentation of a mask that is SCALE times the picture's size.

    As in COCO, a crowd is a plain RLE and an object polygons. An object with a hole is a compressed RLE.
    """
    # Parts thinner than a pixel (tips, slivers beside an object in front) would only stretch the box.
    mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    pixels = cv2.resize(mask * 255, None, fx=1 / SCALE, fy=1 / SCALE, interpolation=cv2.INTER_AREA) >= 128
    polygons = None if crowd else _polygons(mask)
    return dict(bbox=[side / SCALE for side in cv2.boundingRect(mask)], area=int(pixels.sum()),
                segmentation=_runs(pixels) if crowd else polygons or _rle(pixels))


def _polygons(mask: np.ndarray) -> list[list[float]] | None:
    """Outlines of the parts of a mask in pixels of the picture; None if one has a hole."""
    # With one more pixel to the right and below, the line through the middle of the border pixels is the edge.
    grown = cv2.dilate(cv2.copyMakeBorder(mask, 0, 1, 0, 1, cv2.BORDER_CONSTANT), np.ones((2, 2), np.uint8))
    contours, hierarchy = cv2.findContours(grown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if (hierarchy[0, :, 3] >= 0).any():
        return None
    outlines = [cv2.approxPolyDP(contour, 0.8, True).ravel() / SCALE for contour in contours]
    return [outline.tolist() for outline in outlines if len(outline) >= 6]


def _rle(pixels: np.ndarray) -> dict:
    rle = mask_api.encode(np.asfortranarray(pixels, np.uint8))
    return dict(size=rle['size'], counts=rle['counts'].decode())


def _runs(pixels: np.ndarray) -> dict:
    """COCO's uncompressed RLE: lengths of the runs down the columns, the first of background."""
    column = pixels.ravel(order='F')
    ends = np.flatnonzero(np.diff(column)) + 1
    counts = np.diff([0, *ends, column.size]).tolist()
    return dict(size=list(pixels.shape), counts=[0, *counts] if column[0] else counts)
