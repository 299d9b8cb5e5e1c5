"""Predictions as a pickle, to look at or evaluate later."""
from collections.abc import Sequence

from mmengine.evaluator import DumpResults

from mmdet.registry import METRICS

from .coco_metric import encode_masks


@METRICS.register_module()
class DumpDetResults(DumpResults):
    """Writes a list of dicts, one an image: metainfo and pred_instances, tensors on the CPU, masks as COCO's RLE."""
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
