"""The end of every pipeline: tensors and a DetDataSample."""
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData

from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample

_FIELDS = dict(gt_bboxes='bboxes', gt_bboxes_labels='labels', gt_masks='masks')


@TRANSFORMS.register_module()
class PackDetInputs(BaseTransform):
    """Pack one image: dict(inputs=(3, H, W) tensor of the image's dtype, BGR; data_samples=DetDataSample).

    `inputs` is a view of the (H, W, 3) image: channels-last memory, as the network wants it.
    Instances flagged in gt_ignore_flags go to ignored_instances, the others to gt_instances. Their masks are
    BitmapMasks: this is where, in a loader's worker, polygons are rasterized.

    Args:
        meta_keys: keys of the results that become the sample's metainfo, as far as they are there.
    """

    def __init__(self, meta_keys: tuple[str, ...] = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
                                                     'flip', 'flip_direction')):
        self.meta_keys = meta_keys

    def transform(self, results: dict) -> dict:
        inputs = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(results['img']))).permute(2, 0, 1)
        fields = {name: results[key] for key, name in _FIELDS.items() if key in results}
        if 'masks' in fields:
            fields['masks'] = fields['masks'].to_bitmap()
        sample = DetDataSample(metainfo={key: results[key] for key in self.meta_keys if key in results})
        ignored = results.get('gt_ignore_flags', np.zeros(len(next(iter(fields.values()), ())), bool))
        sample.gt_instances = _pick(fields, ~ignored)
        sample.ignored_instances = _pick(fields, ignored)
        if 'proposals' in results:
            boxes, scores = (torch.from_numpy(results[key]) for key in ('proposals', 'proposals_scores'))
            sample.proposals = InstanceData(bboxes=boxes, scores=scores)
        return dict(inputs=inputs, data_samples=sample)


def _pick(fields: dict, chosen: np.ndarray) -> InstanceData:
    picked = {name: value[chosen] for name, value in fields.items()}
    return InstanceData(**{name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
                           for name, value in picked.items()})
