"""Predictions as a file, to look at or evaluate later."""
from collections.abc import Sequence

from mmengine.evaluator import DumpResults
from mmengine.fileio import dump
from mmengine.logging import print_log

from mmdet.registry import METRICS

from .coco_metric import CocoMetric, encode_masks


@METRICS.register_module()
class DumpDetResults(DumpResults):
    """Writes a pickle: a list of dicts, one an image: metainfo and pred_instances, tensors on the CPU, masks as RLE.

    `classes` in each names the labels.
    """
    default_prefix = 'dump'  # unused, since there are no figures; without it mmengine warns

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        samples = []
        for sample in data_samples:
            sample = {key: value for key, value in sample.items() if key not in ('gt_instances', 'ignored_instances')}
            if 'masks' in sample['pred_instances']:
                masks = encode_masks(sample['pred_instances']['masks'])
                sample['pred_instances'] = {**sample['pred_instances'], 'masks': masks}
            samples.append(sample)
        super().process(data_batch, samples)

    def compute_metrics(self, results: list) -> dict:
        classes = (self.dataset_meta or {}).get('classes')
        return super().compute_metrics([dict(result, classes=classes) for result in results] if classes else results)


@METRICS.register_module()
class DumpCocoResults(CocoMetric):
    """Writes COCO results: a list of dicts of image_id, category_id, score, bbox (xywh), and segmentation (RLE).

    Args:
        out_file_path: of the JSON file.
        ann_file: its category ids are written; without it a category is the label.
    """

    def __init__(self, out_file_path: str, ann_file: str | None = None):
        super().__init__(ann_file, format_only=True, outfile_prefix=out_file_path)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        super().process(data_batch, [{'instances': [], **sample} for sample in data_samples])

    def _write(self, detections: list[dict], img_ids: dict) -> None:
        dump([dict(d, image_id=img_ids[d['image_id']]) for d in detections], self.outfile_prefix)
        print_log(f'Results written to {self.outfile_prefix}', 'current')
