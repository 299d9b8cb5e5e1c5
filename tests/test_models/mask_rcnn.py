"""mmdetection's Mask R-CNN R-50-FPN as a config dict, and ways to vary and feed it in tests."""
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks

CONFIG = Path(__file__).parents[2] / 'configs/_base_/models/mask-rcnn_r50_fpn.py'


def config(**options) -> ConfigDict:
    """The model config without pretrained weights; `options` are merged with dots as in --cfg-options."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict({'model.backbone.init_cfg': None, **{f'model.{k}': v for k, v in options.items()}})
    return cfg.model


def data(images, targets, masks=True):
    """Loader output for uint8 images (3, h, w) and dicts of boxes (G, 4), labels (G,), masks (G, h, w)."""
    samples = []
    for image, target in zip(images, targets):
        size = tuple(image.shape[1:])
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.)))
        sample.gt_instances = InstanceData(bboxes=target['boxes'], labels=target['labels'])
        if masks:
            sample.gt_instances.masks = BitmapMasks(target['masks'].numpy(), *size)
        sample.ignored_instances = InstanceData(bboxes=target['boxes'][:0])
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)
