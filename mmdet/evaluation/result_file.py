"""A result file against its ground truth, for a report."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdet.datasets import read_coco_json
from mmdet.datasets.garbage_collection import no_garbage_collection
from mmdet.report import Evaluated

from .coco_evaluation import coco_index, evaluate_coco
from .prediction_file import read_detections
from .results import iou_types


@no_garbage_collection()
def evaluated_file(annotations: Path, results: Path, images: Path | None = None) -> Evaluated:
    """Evaluate a result file, of COCO or a pickle: boxes, and masks where it has them.

    Args:
        images: folder of the pictures, for those that the report shows.

    Raises:
        UserError: names the file and the entry that cannot be read.
    """
    truth = read_coco_json(str(annotations))
    detections = read_detections(results, truth, str(annotations))
    index = coco_index(truth, source=str(annotations))
    evaluations = {kind: evaluate_coco(index, detections, kind, maxDets=[100]) for kind in iou_types(detections)}
    paths = [str(images / image['file_name']) if images else '' for image in truth['images']]
    return Evaluated.of(truth, detections, evaluations, index.category_ids, index.image_ids, paths)


def evaluated_predictions(dataset: Any, predictions: Sequence[dict]) -> Evaluated:
    """The objects of a data set and what read_predictions gave for it, without COCO's curves."""
    def rows(values: Sequence[Sequence], dtype: Any) -> np.ndarray:
        return np.array([value for part in values for value in part], dtype)

    def images(values: Sequence[Sequence]) -> np.ndarray:
        return np.repeat(np.arange(len(values)), [len(part) for part in values])
    found = [entry['pred_instances'] for entry in predictions]
    objects = [entry['instances'] for entry in predictions]

    def of_objects(key: str) -> list[list]:
        return [[instance[key] for instance in part] for part in objects]

    def joined(key: str, dtype: Any) -> np.ndarray:
        return np.concatenate([part[key].numpy() for part in found]).astype(dtype)
    return Evaluated(
        list(dataset.metainfo['classes']), [str(entry['img_path'] or '') for entry in predictions],
        images(objects), rows(of_objects('bbox_label'), np.int64),
        rows(of_objects('bbox'), np.float32).reshape(-1, 4), rows(of_objects('ignore_flag'), bool),
        images([part['scores'] for part in found]),
        joined('labels', np.int64), joined('scores', np.float32), joined('bboxes', np.float32))
