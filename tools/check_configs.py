"""Builds configs, makes one prediction and takes one training step with each, and prints a table.

    python tools/check_configs.py FOLDER [LIST]

FOLDER holds configs, e.g. `.mim/configs` of an unpacked mmdetection wheel. LIST is a file that names some of them, one
a line; without it all are checked except _base_ and common. Images are generated and sizes divided by 8, so neither a
data set nor pretrained weights are needed.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from terminaltables import AsciiTable

from mmdet.apis.test_pipeline import TestPipeline
from mmdet.command_line import add_config_options, plain_errors, user_mistake
from mmdet.engine.check_config import check_config
from mmdet.engine.config import innermost, read_config
from mmdet.errors import MissingFileError, UserError
from mmdet.registry import (
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISBACKENDS,
    known_types,
    unknown_type,
)
from mmdet.utils import register_all_modules

SHRINK = 8
SIZES = ('scale', 'scales', 'crop_size', 'size')


def shrink(node):
    """Divide every image size in a config by SHRINK, in place."""
    def smaller(size):
        return max(size // SHRINK, 1) if isinstance(size, int) else type(size)(smaller(part) for part in size)
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in SIZES:
            node[key] = smaller(value)
        elif isinstance(value, (dict, list)):
            shrink(value)


def generated(folder, index):
    """What a data set hands to a pipeline: a picture on disk with three rectangles and their polygons."""
    rng = np.random.default_rng(index)
    image = rng.integers(0, 255, (100, 160, 3), np.uint8)
    instances = []
    for x, y, w, h in ((20, 10, 50, 40), (80, 30, 60, 60), (5, 60, 40, 30)):
        cv2.rectangle(image, (x, y), (x + w, y + h), (40, 200, 90), -1)
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        instances.append(dict(bbox=[x, y, x + w, y + h], bbox_label=0, mask=[polygon], ignore_flag=0))
    path = Path(folder, f'{index}.png')
    cv2.imwrite(str(path), image)
    proposals = dict(bboxes=np.array([instance['bbox'] for instance in instances]), scores=np.array([0.9, 0.5, 0.8]))
    return dict(img_path=str(path), img_id=index, height=100, width=160, instances=instances, proposals=proposals)


def check_names(cfg):
    """Raise KeyError for a type that is unknown here, in the parts that cannot be built without data or a Runner."""
    parts = [(DATASETS, innermost(cfg.train_dataloader.dataset)), (DATASETS, innermost(cfg.val_dataloader.dataset)),
             (METRICS, cfg.val_evaluator), (LOOPS, cfg.train_cfg), *((HOOKS, h) for h in cfg.default_hooks.values()),
             *((PARAM_SCHEDULERS, s) for s in cfg.param_scheduler), *((VISBACKENDS, b) for b in cfg.vis_backends)]
    for registry, part in parts:
        if registry.get(part['type']) is None:
            raise unknown_type(part['type'], known_types(registry), registry.name)


def check(path, options):
    """One prediction and one training step; returns (parameters in millions, loss, number of detections)."""
    torch.manual_seed(0)
    np.random.seed(0)
    cfg = read_config(str(path), options)
    register_all_modules()
    check_config(cfg)
    check_names(cfg)
    for key in ('model', 'train_dataloader', 'test_dataloader'):
        shrink(cfg[key])
    if 'rcnn' in cfg.model.test_cfg:
        cfg.model.test_cfg.rcnn.score_thr = 0.  # random weights give low scores
    model = MODELS.build(cfg.model)
    for module in model.modules():
        if hasattr(module, 'set_epoch_length'):  # CBN; in a training a hook tells it
            module.set_epoch_length(1)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    pipeline = [TRANSFORMS.build(step) for step in innermost(cfg.train_dataloader.dataset).pipeline]
    with tempfile.TemporaryDirectory() as folder:
        model.eval()
        with torch.no_grad():
            image = TestPipeline(cfg)(dict(generated(folder, 2), img_id=0))
            sample = model.test_step(pseudo_collate([image]))[0]
        batch = []
        for index in range(2):
            results = generated(folder, index)
            for step in pipeline:
                results = step(results)
            batch.append(results)
        losses = model.train().train_step(pseudo_collate(batch), wrapper)
    if not torch.isfinite(losses['loss']):
        raise UserError(f'the loss is {losses["loss"]}')
    with_masks = cfg.model.get('roi_head') and cfg.model.roi_head.get('mask_head')
    wanted = {'bboxes', 'scores', 'labels'} | ({'masks'} if with_masks else set())
    if set(sample.pred_instances.keys()) != wanted:
        raise UserError(f'a prediction has {sorted(sample.pred_instances.keys())}, not {sorted(wanted)}')
    return sum(p.numel() for p in model.parameters()) / 1e6, losses['loss'].item(), len(sample.pred_instances)


def main():
    parser = argparse.ArgumentParser(description='Check configs without data')
    parser.add_argument('folder', type=Path, help='folder of configs')
    parser.add_argument('list', type=Path, nargs='?', help='file that names some of them, one a line')
    add_config_options(parser)
    args = parser.parse_args()
    if args.list is not None:
        names = args.list.read_text().split()
    else:
        names = sorted(str(path.relative_to(args.folder)) for path in args.folder.rglob('*.py')
                       if '_base_' not in path.parts and 'common' not in path.parts)
    if not names:
        raise MissingFileError(f'{args.folder} holds no configs')
    MMLogger.get_current_instance().setLevel('ERROR')
    rows, failed = [['config', 'parameters', 'loss', 'detections', 'seconds']], 0
    for name in names:
        start = time.perf_counter()
        try:
            parameters, loss, detections = check(args.folder / name, args.cfg_options)
            row = [f'{parameters:.2f} M', f'{loss:.2f}', detections]
        except Exception as error:  # one failure must not hide the others
            failed += 1
            row = [f'FAILED: {user_mistake(error) or repr(error)}'[:100], '', '']
        rows.append([name, *row, f'{time.perf_counter() - start:.1f}'])
        print(*rows[-1], flush=True)
    print(AsciiTable(rows).table)
    print(f'{len(names) - failed} of {len(names)} configs build, train and predict')
    sys.exit(failed > 0)


if __name__ == '__main__':
    with plain_errors():
        main()
