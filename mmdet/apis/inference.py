"""Detectors for use from Python: build one, run it on images."""
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from mmengine.model import BaseModel

from mmdet.checkpoints import load_weights, num_classes_of, read_checkpoint, saved_dataset_meta
from mmdet.datasets import CocoDataset
from mmdet.datasets.classes import shown_names
from mmdet.engine.check_config import check_config
from mmdet.engine.config import innermost, read_config
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.mask import PastedMasks
from mmdet.utils import register_all_modules
from mmdet.visualization import get_palette

from .image_input import is_one_image
from .pipeline import TestPipeline, as_results


def init_detector(config: str | Path | Config, checkpoint: str | Path | dict | None = None, palette: str = 'none',
                  device: str = 'cuda:0', cfg_options: dict | None = None) -> BaseModel:
    """Build the detector of a config, in evaluation mode.

    Args:
        checkpoint: path, URL or dict as read by read_checkpoint (ours, mmdetection's, Detectron's, detectron2's,
            torchvision's); without it the weights are random.
        palette: 'coco', 'random' or a color; 'none' takes the data set's.
        device: a GPU falls back to the CPU where there is none.
        cfg_options: keys of the config to override.

    Returns:
        The model, with `cfg` (the config) and `dataset_meta` (classes, palette).

    Raises:
        ValueError: with a table when the checkpoint does not fit.
    """
    if isinstance(config, Config):
        config = config.copy()
        config.merge_from_dict(cfg_options or {})
    else:
        config = read_config(str(config), cfg_options)
    register_all_modules()
    check_config(config)
    model = MODELS.build(config.model)
    saved: dict = {}
    if checkpoint is None:
        print_log('no checkpoint is given: the weights are random', 'current')
    else:
        source = 'the checkpoint' if isinstance(checkpoint, dict) else str(checkpoint)
        checkpoint = checkpoint if isinstance(checkpoint, dict) else read_checkpoint(checkpoint)
        if 'conversion' in checkpoint:
            print_log(f'{source}\n{checkpoint["conversion"]}', 'current')
        load_weights(model, checkpoint, strict=True, source=source)
        saved = saved_dataset_meta(checkpoint, source)
    model.dataset_meta = _dataset_meta(config, saved, num_classes_of(model))
    if palette == 'coco':
        model.dataset_meta['palette'] = CocoDataset.METAINFO['palette']
    elif palette != 'none':
        model.dataset_meta['palette'] = get_palette(palette, len(model.dataset_meta['classes']))
    model.cfg = config
    if device.startswith('cuda') and not torch.cuda.is_available():
        print_log(f'{device} is not available: the detector runs on the CPU', 'current')
        device = 'cpu'
    return model.to(device).eval()


def inference_detector(model: BaseModel, imgs: Any,
                       test_pipeline: Callable | None = None) -> DetDataSample | SampleList:
    """Detect on one image, or on several that a list or a generator gives; returns one DetDataSample or a list.

    An image is what as_image takes, among others a path, a URL or a (H, W, 3) uint8 BGR array. test_pipeline: what
    turns dict(img_path=path) or dict(img=array) into the model's input; by default the config's test pipeline without
    the annotations. pred_instances.masks is bool (N, H, W).
    """
    pipeline = test_pipeline or TestPipeline(model.cfg)
    one = is_one_image(imgs)
    samples = [with_bitmaps(_predict(model, [pipeline(as_results(image))])[0]) for image in ([imgs] if one else imgs)]
    return samples[0] if one else samples


@torch.no_grad()
def _predict(model: BaseModel, inputs: list[dict]) -> SampleList:
    return model.test_step(pseudo_collate(inputs))


def with_bitmaps(sample: DetDataSample) -> DetDataSample:
    """The sample, its predicted masks a bool tensor (N, H, W) as users of mmdetection know them."""
    masks = sample.pred_instances.get('masks')
    if isinstance(masks, PastedMasks):
        sample.pred_instances.masks = masks.to_tensor()
    return sample


def _dataset_meta(config: Config, saved: dict, num_classes: int | None) -> dict:
    """Classes and palette: the checkpoint's, else those of the config's test data."""
    dataset = innermost(config.test_dataloader.dataset) if config.get('test_dataloader') else {}
    known = DATASETS.get(dataset.get('type', 'CocoDataset'))._load_metainfo(dataset.get('metainfo'))
    stated = 'classes' in (dataset.get('metainfo') or {})
    if stated and saved.get('classes', known['classes']) != known['classes']:
        print_log(f'The config names the classes {shown_names(known["classes"])}, the checkpoint '
                  f'{shown_names(saved["classes"])}: labels mean those of the checkpoint', 'current', logging.WARNING)
    meta = {**known, **saved}
    if num_classes is not None and len(meta['classes']) != num_classes:
        print_log(f'The model has {num_classes} classes, but {len(meta["classes"])} names are known, '
                  f'{shown_names(meta["classes"])}: predictions are called "class 0" and so on. Name the classes in '
                  "metainfo of the config's test data set", 'current', logging.WARNING)
        meta['classes'] = tuple(f'class {label}' for label in range(num_classes))
    if saved.get('palette') is None and meta['classes'] != known['classes']:
        meta['palette'] = 'random'
    return meta
