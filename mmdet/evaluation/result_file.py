"""A result file against its ground truth, for a report."""
from pathlib import Path

from mmdet.datasets import read_coco_json
from mmdet.report import Evaluated

from .coco_evaluation import coco_index, evaluate_coco
from .prediction_file import read_detections
from .results import iou_types


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
    evaluations = {kind: evaluate_coco(index, detections, kind) for kind in iou_types(detections)}
    paths = [str(images / image['file_name']) if images else '' for image in truth['images']]
    return Evaluated.of(truth, detections, evaluations, index.category_ids, index.image_ids, paths)
