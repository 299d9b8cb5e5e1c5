"""COCO result files: read and checked, so that the evaluators' C code meets only what it can read."""
import json
import math
from collections.abc import Callable, Hashable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from mmdet.errors import MissingFileError, UserError
from mmdet.structures.mask import checked_rles

_KEYS = dict(bbox='bbox', segm='segmentation')


def read_results(path: str) -> list:
    """The entries of a COCO result file. Raises FileNotFoundError or ValueError that names the file."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            results = json.load(file)
    except FileNotFoundError:
        raise MissingFileError(f'result file {path} does not exist') from None
    except (ValueError, RecursionError) as error:
        raise UserError(f'result file {path} is empty, broken or cut short ({error}): write it again') from None
    except OSError as error:
        raise UserError(f'result file {path} cannot be read: {error.strerror}') from None
    if not isinstance(results, list):
        raise UserError(f'result file {path} holds a {type(results).__name__}; it must be a list of detections')
    if not results:
        raise UserError(f'result file {path} holds no detections, so its AP is 0: was the score threshold too high?')
    return results


def iou_types(results: Sequence[dict]) -> list[str]:
    """'bbox' and 'segm', as far as any of the detections has a box or a mask."""
    return [iou_type for iou_type, key in _KEYS.items()
            if any(key in result for result in results if isinstance(result, dict))]


def checked_results(results: list, dataset: dict, source: str, ann_file: str) -> list[dict]:
    """The entries of a result file, each known to be a detection in an image and of a category of `dataset`.

    Args:
        results: dicts of image_id, category_id, score, and bbox (x, y, width, height), segmentation (RLE) or both.
        dataset: images (id, height, width) and categories (id) of the ground truth.
        source, ann_file: the files they are of.

    Returns:
        The detections, the counts of their RLEs compressed.

    Raises:
        ValueError: names the first entry that is none, or the ids that `dataset` does not have.
    """
    def name(i: int) -> str:
        return f'entry {i} of {source}'

    types = iou_types(results)
    needed = {'image_id', 'category_id', 'score', *(_KEYS[iou_type] for iou_type in types or ('bbox',))}
    for i, result in enumerate(results):
        if not isinstance(result, dict) or not needed <= result.keys():
            lacking = sorted(needed - set(result)) if isinstance(result, dict) else f'all of {sorted(needed)}'
            raise UserError(f'{name(i)} lacks {lacking}')
        if 'segm' in types and not isinstance(result['segmentation'], dict):
            raise UserError(f'segmentation of {name(i)} must be an RLE, a dict of size and counts')
    for key, items in (('image_id', 'images'), ('category_id', 'categories')):
        known = {item['id'] for item in dataset[items]}
        _check_known([result[key] for result in results], key, known, source, ann_file)
    scores = [[result['score']] for result in results]
    _check_numbers(scores, 1, lambda i: f'{name(i)} has the score {scores[i][0]!r}: it must be a finite number')
    if 'bbox' in types:
        boxes = [result['bbox'] for result in results]

        def wrong_box(i: int) -> str:
            return f'{name(i)} has bbox {boxes[i]!r:.80}: it must be x, y, width, height, numbers that are finite; ' \
                   'width and height not negative'
        sides = _check_numbers(boxes, 4, wrong_box)[:, 2:]
        if (sides < 0).any():
            raise UserError(wrong_box(int(np.argmax((sides < 0).any(axis=1)))))
    if 'segm' in types:
        size_of = {image['id']: [image['height'], image['width']] for image in dataset['images']}
        rles = checked_rles([result['segmentation'] for result in results],
                            [size_of[result['image_id']] for result in results],
                            lambda i: f'segmentation of {name(i)}')
        results = [{**result, 'segmentation': rle} for result, rle in zip(results, rles, strict=True)]
    return results


def _check_known(ids: list, key: str, known: set, source: str, ann_file: str) -> None:
    if set(map(type, ids)) <= {int, float, str} and set(ids) <= known:
        return
    usable = [isinstance(value, Hashable) and type(value) is not bool for value in ids]
    unknown = list(dict.fromkeys(value if ok else repr(value) for value, ok in zip(ids, usable, strict=True)
                                 if not ok or value not in known))
    if unknown:
        raise UserError(f'{source} holds {len(unknown)} {key} that {ann_file} does not list, first: {unknown[:5]}. '
                        'Evaluate with the annotation file the results were made for.')


def _check_numbers(rows: list, length: int, message: Callable[[int], str]) -> np.ndarray:
    """Rows of `length` finite numbers as an array; ValueError with the message of the first row that is none."""
    try:
        if set(map(len, rows)) == {length} and set(map(type, chain.from_iterable(rows))) <= {int, float}:
            values = np.array(rows, np.float64)
            if np.isfinite(values).all():
                return values
    except (TypeError, OverflowError):  # no rows; a number of hundreds of digits
        pass
    raise UserError(message(next(i for i, row in enumerate(rows) if not _are_numbers(row, length))))


def _are_numbers(row: Any, length: int) -> bool:
    try:
        return isinstance(row, list) and len(row) == length and all(
            type(value) in (int, float) and math.isfinite(value) for value in row)
    except OverflowError:
        return False
