"""What a validation found, as arrays: ground truth, detections, and COCO's precisions."""
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

AREAS = ('all', 'small', 'medium', 'large')


@dataclass(eq=False)
class Evaluated:
    """G objects and D detections in I images of K classes. Boxes are xyxy pixels of the original image.

    `precision` has for 'bbox', and for 'segm' where masks were evaluated, COCO's (10 IoUs, 101 recalls, K, 4 AREAS),
    and `recall` its (10 IoUs, K, 4 AREAS), at the largest number of detections; -1 where there are no objects.
    """
    classes: list[str]
    paths: list[str]                # of the images; '' where it is not known
    gt_image: np.ndarray            # (G,) int64
    gt_label: np.ndarray            # (G,) int64
    gt_box: np.ndarray              # (G, 4) float32
    gt_crowd: np.ndarray            # (G,) bool
    image: np.ndarray               # (D,) int64
    label: np.ndarray               # (D,) int64
    score: np.ndarray               # (D,) float32
    box: np.ndarray                 # (D, 4) float32
    precision: dict[str, np.ndarray] = field(default_factory=dict)
    recall: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, annotations: Mapping[str, Any], detections: Sequence[Mapping], evaluations: Mapping[str, Any],
           category_ids: Mapping[Any, int], image_ids: Mapping[Any, int], paths: Sequence[str]) -> 'Evaluated':
        """From COCO dicts and what evaluate_coco returned for each IoU type; the ids are those of GroundTruth."""
        number = {i: k for k, i in enumerate(sorted(set(category_ids.values())))}
        label_of = {category: number[i] for category, i in category_ids.items()}
        names = {label_of[category['id']]: category['name'] for category in annotations['categories']}

        def columns(entries: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            boxes = np.array([entry['bbox'] for entry in entries], np.float32).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            return (np.array([image_ids[entry['image_id']] - 1 for entry in entries], np.int64),
                    np.array([label_of[entry['category_id']] for entry in entries], np.int64), boxes)
        gt_image, gt_label, gt_box = columns(annotations['annotations'])
        image, label, box = columns(detections)
        places = {kind: [list(evaluation.params.catIds).index(i) if i in evaluation.params.catIds else None
                         for i in number] for kind, evaluation in evaluations.items()}
        return cls(
            [names[k] for k in range(len(number))], list(paths), gt_image, gt_label, gt_box,
            np.array([bool(entry.get('iscrowd')) for entry in annotations['annotations']], bool), image, label,
            np.array([entry['score'] for entry in detections], np.float32), box,
            {kind: _of_classes(e.eval['precision'][..., -1], 2, places[kind]) for kind, e in evaluations.items()},
            {kind: _of_classes(e.eval['recall'][..., -1], 1, places[kind]) for kind, e in evaluations.items()})

    def save(self, path: Path) -> None:
        arrays: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        for name in ('precision', 'recall'):
            arrays.update((f'{name}/{kind}', value.astype(np.float32)) for kind, value in getattr(self, name).items())
        unfinished = path.with_name(f'.{path.name}.part')
        with open(unfinished, 'wb') as file:
            np.savez_compressed(file, texts=np.array(json.dumps([self.classes, self.paths])), **arrays)
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> 'Evaluated':
        with np.load(path) as file:
            arrays = dict(file)
        classes, paths = json.loads(str(arrays.pop('texts')))
        curves: dict[str, Any] = dict(precision={}, recall={})
        for name in [name for name in arrays if '/' in name]:
            curve, _, kind = name.partition('/')
            curves[curve][kind] = arrays.pop(name)
        return cls(classes, paths, **arrays, **curves)


def _of_classes(values: np.ndarray, axis: int, places: Sequence[int | None]) -> np.ndarray:
    """The classes of an evaluator's array in our order; -1 for one that it has not evaluated."""
    parts = [np.full_like(values.take(0, axis), -1) if place is None else values.take(place, axis)
             for place in places]
    return np.stack(parts, axis)
