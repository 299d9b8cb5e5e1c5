"""Writes golden/rcnn_family.npz: mmdetection 3.3's losses, gradient norms, detections and names for every case.

    python tests/peer FOLDER [CASE ...]

FOLDER is the unpacked wheel of mmdetection 3.3.0, which runs on the CPU beside mmcv-lite: mmcv_ops.py is its mmcv.ops.
"""
import sys
from pathlib import Path

sys.path[:0] = [sys.argv[1], str(Path(__file__).parents[1])]
import mmcv_ops  # noqa: E402, F401  before mmdet
import numpy as np  # noqa: E402
import torch  # noqa: E402
from cases import CASES, model_config, proposals  # noqa: E402
from fill_weights import fill  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402
from scene import small_scene  # noqa: E402

from mmdet.registry import MODELS  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmdet.structures.bbox import HorizontalBoxes  # noqa: E402
from mmdet.structures.mask import BitmapMasks  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402


def data(model):
    samples, (images, targets) = [], small_scene()
    for image, target, boxes in zip(images, targets, proposals()):
        size = tuple(image.shape[1:])
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.)))
        sample.gt_instances = InstanceData(bboxes=HorizontalBoxes(target['boxes']), labels=target['labels'])
        if getattr(getattr(model, 'roi_head', None), 'with_mask', False):
            sample.gt_instances.masks = BitmapMasks(target['masks'].numpy(), *size)
        sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(target['boxes'][:0]),
                                                labels=target['labels'][:0])
        if type(model).__name__ == 'FastRCNN':
            sample.proposals = InstanceData(bboxes=boxes, scores=boxes[:, 0] * 0)
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def numbers(case):
    model = MODELS.build(model_config(case))
    fill(model)
    found = {f'{case}/names': np.array([f'{name} {tuple(value.shape)}' for name, value in model.state_dict().items()])}
    model.train()
    total, losses = model.parse_losses(model(**model.data_preprocessor(data(model), True), mode='loss'))
    total.backward()
    if case == 'dynamic':  # what its thresholds have become
        head = model.roi_head
        found['dynamic/moved'] = np.array([head.bbox_assigner.pos_iou_thr, head.bbox_head.loss_bbox.beta])
    found |= {f'{case}/loss/{name}': value.detach().numpy() for name, value in losses.items()}
    norms = {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}
    found |= {f'{case}/grad_names': np.array(list(norms)), f'{case}/grad_norms': np.array(list(norms.values()))}
    model.eval()
    with torch.no_grad():
        samples = model(**model.data_preprocessor(data(model), False), mode='predict')
    for i, sample in enumerate(samples):
        for key, value in sample.pred_instances.items():
            value = getattr(value, 'tensor', value)
            key, value = ('mask_areas', value.flatten(1).sum(1)) if key == 'masks' else (key, value)
            found[f'{case}/pred{i}/{key}'] = value.numpy()
    return found


register_all_modules(init_default_scope=True)
FILE = Path(__file__).parents[1] / 'data/golden/rcnn_family.npz'
everything = dict(np.load(FILE)) if sys.argv[2:] else {}
for case in sys.argv[2:] or CASES:
    everything |= numbers(case)
    print(case, float(everything[f'{case}/loss/loss']))
np.savez_compressed(FILE, **everything)
