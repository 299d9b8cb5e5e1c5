"""Builds configs, makes one prediction and takes one training step with each, and prints a table.

    python tools/check_configs.py FOLDER [LIST]

FOLDER holds configs, e.g. `.mim/configs` of an unpacked mmdetection wheel. LIST is a file that names some of them, one
a line; without it all are checked except _base_ and common. Small data sets are generated at the paths that a config
names; sizes and counts of regions are divided by 8. Data sets, samplers, transforms and metrics are the config's own;
neither data nor pretrained weights are needed.
"""
import contextlib
import os
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from small_set import write_small_set
from terminaltables import AsciiTable

from mmdet.command_line import ToolParser, add_config_options, plain_errors, user_mistake
from mmdet.engine.check_config import check_config
from mmdet.engine.config import innermost, read_config
from mmdet.errors import MissingFileError, UserError
from mmdet.registry import (
    DATASETS,
    HOOKS,
    LOOPS,
    MODELS,
    PARAM_SCHEDULERS,
    VISBACKENDS,
    known_types,
    unknown_type,
)
from mmdet.utils import register_all_modules

SHRINK = 8
SIZES = ('scale', 'scales', 'crop_size', 'size')
COUNTS = ('num', 'max_per_img')  # of regions


def shrink(node):
    """Divide every image size and count of regions in a config by SHRINK, in place."""
    def smaller(size):
        return max(size // SHRINK, 1) if isinstance(size, int) else type(size)(smaller(part) for part in size)
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in SIZES + COUNTS:
            node[key] = smaller(value)
        elif isinstance(value, (dict, list)):
            shrink(value)


def check_names(cfg):
    """Raise KeyError for a type that is unknown here, in the parts that cannot be built without data or a Runner."""
    parts = [(LOOPS, cfg.train_cfg), *((HOOKS, h) for h in cfg.default_hooks.values()),
             *((PARAM_SCHEDULERS, s) for s in cfg.param_scheduler), *((VISBACKENDS, b) for b in cfg.vis_backends)]
    for registry, part in parts:
        if registry.get(part['type']) is None:
            raise unknown_type(part['type'], known_types(registry), registry.name)


def class_names(cfg):
    """The classes of the training set, or names for as many as the model has where the annotation file tells them."""
    dataset = innermost(cfg.train_dataloader.dataset)
    known = (dataset.get('metainfo') or {}).get('classes') or DATASETS.get(dataset.type).METAINFO['classes']
    heads = cfg.model.get('roi_head', {}).get('bbox_head', {})
    return known or [f'class {i}' for i in range((heads[0] if isinstance(heads, list) else heads)['num_classes'])]


@contextlib.contextmanager
def small_sets(cfg):
    """The loaders of training and validation, in a folder where the data sets of the config exist."""
    start = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
                write_small_set(cfg[key].dataset, class_names(cfg))
            here = dict(num_workers=0, persistent_workers=False)
            yield [Runner.build_dataloader(dict(loader, **here, batch_size=size), seed=0)
                   for loader, size in ((cfg.train_dataloader, 2), (cfg.val_dataloader, 1))]
            if cfg.test_dataloader != cfg.val_dataloader:
                DATASETS.build(cfg.test_dataloader.dataset)
            if cfg.test_evaluator != cfg.val_evaluator:
                Evaluator(cfg.test_evaluator)
        finally:
            os.chdir(start)


def check(path, options):
    """One prediction and one training step; returns (parameters in millions, loss, number of detections)."""
    torch.manual_seed(0)
    np.random.seed(0)
    cfg = read_config(str(path), options)
    register_all_modules()
    check_config(cfg)
    check_names(cfg)
    for key in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader'):
        shrink(cfg[key])
    if 'rcnn' in cfg.model.test_cfg:
        cfg.model.test_cfg.rcnn.score_thr = 0.  # random weights give low scores
    model = MODELS.build(cfg.model)
    for module in model.modules():
        if hasattr(module, 'set_epoch_length'):  # CBN; in a training a hook tells it
            module.set_epoch_length(1)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    with small_sets(cfg) as (train, val):
        model.eval()
        with torch.no_grad():
            sample = model.test_step(next(iter(val)))[0]
        evaluator = Evaluator(cfg.val_evaluator)
        evaluator.dataset_meta = val.dataset.metainfo
        evaluator.process([sample])
        if not evaluator.evaluate(1):
            raise UserError('the metrics of val_evaluator give no figures')
        losses = model.train().train_step(next(iter(train)), wrapper)
    if not torch.isfinite(losses['loss']):
        raise UserError(f'the loss is {losses["loss"]}')
    with_masks = cfg.model.get('roi_head') and cfg.model.roi_head.get('mask_head')
    wanted = {'bboxes', 'scores', 'labels'} | ({'masks'} if with_masks else set())
    if set(sample.pred_instances.keys()) != wanted:
        raise UserError(f'a prediction has {sorted(sample.pred_instances.keys())}, not {sorted(wanted)}')
    return sum(p.numel() for p in model.parameters()) / 1e6, losses['loss'].item(), len(sample.pred_instances)


def line(path, name, options):
    """The table's line of one config, and what went wrong, or None."""
    start = time.perf_counter()
    try:
        parameters, loss, detections = check(path, options)
        row, mistake = [f'{parameters:.2f} M', f'{loss:.2f}', detections], None
    except Exception as error:  # one failure must not hide the others
        row, mistake = ['FAILED', '', ''], user_mistake(error) or traceback.format_exc()
    return [name, *row, f'{time.perf_counter() - start:.1f}'], mistake


def start_worker():
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('ERROR')


def main():
    parser = ToolParser(__doc__)
    parser.add_argument('folder', type=Path, help='folder of configs')
    parser.add_argument('list', type=Path, nargs='?', help='file that names some of them, one a line')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='configs at a time')
    add_config_options(parser)
    args = parser.parse_args()
    if args.list is not None:
        names = args.list.read_text().split()
    else:
        names = sorted(str(path.relative_to(args.folder)) for path in args.folder.rglob('*.py')
                       if '_base_' not in path.parts and 'common' not in path.parts)
    if not names:
        raise MissingFileError(f'{args.folder} holds no configs')
    rows, failed = [['config', 'parameters', 'loss', 'detections', 'seconds']], 0
    with ProcessPoolExecutor(min(args.jobs, len(names)), get_context('spawn'), start_worker) as pool:
        paths = [(args.folder / name).resolve() for name in names]
        for row, mistake in pool.map(line, paths, names, [args.cfg_options] * len(names)):
            if mistake is not None:
                failed += 1
                print(f'{row[0]}: {mistake}')
            rows.append(row)
            print(*row, flush=True)
    print(AsciiTable(rows).table)
    print(f'{len(names) - failed} of {len(names)} configs build, train and predict')
    sys.exit(failed > 0)


if __name__ == '__main__':
    with plain_errors():
        main()
