"""How a whole run grows, for benchmark_growth.py: with workers of the loader, processes, images of the data set."""
import json
import os
import re
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from itertools import islice
from pathlib import Path

import torch
from benchmark_annotations import MIB, Holders, generate
from benchmark_data import photographs
from timed_models import Ours, training_step
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from mmdet.engine import Runner
from mmdet.engine.config import read_config
from mmdet.engine.distributed import start_process_group
from mmdet.utils import register_all_modules

CONFIGS = Path(__file__).parents[2] / 'configs'
BLOCK = 1000  # images


def loader_config(ann_file, folder, **options):
    """Of the training in configs/mask_rcnn, with these data."""
    register_all_modules()
    cfg = read_config(str(CONFIGS / 'mask_rcnn/mask_rcnn_r50_fpn_1x.py')).train_dataloader
    cfg.dataset.update(data_root='', ann_file=ann_file, data_prefix=dict(img=str(folder)))
    cfg.update(options)
    return cfg


def workers(number, steps):
    """Pictures a second that this process receives, of 640 x 480, resized to 1067 x 800."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = loader_config(photographs(Path(folder), 32), folder, num_workers=number, persistent_workers=number > 0,
                            sampler=dict(type='InfiniteSampler'))
        loader = Runner.build_dataloader(cfg, seed=0)
        batches = iter(loader)
        for _ in range(4 * number + 1):  # more than what stands ready
            next(batches)
        start = time.perf_counter()
        count = 10 * steps * max(1, number)
        for _ in range(count):
            next(batches)
        return {'pictures a second': count * cfg.batch_size / (time.perf_counter() - start)}


def processes(number, steps):
    """Seconds of a step of the demo's Mask R-CNN with 2 images of 256 x 256 in each process of one thread."""
    torch.set_num_threads(1)
    start_process_group('pytorch')
    options = Namespace(device='cpu', norm=None, size='256x256', batch_size=2, objects=8)
    side = Ours(options, {f'model.roi_head.{head}.num_classes': 80 for head in ('bbox_head', 'mask_head')},
                CONFIGS / 'demo/mask-rcnn_demo.py')
    wrapped = DistributedDataParallel(side.model)
    side.losses = lambda: wrapped(**side.model.data_preprocessor(side.data, True), mode='loss')
    step, seconds = training_step(side, torch.float32, 'cpu'), []
    for _ in range(2 + steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    if dist.get_rank():
        sys.exit()
    median = statistics.median(seconds[2:])
    return {'s a step': median, 'pictures a second': number * options.batch_size / median}


def images(number, steps):
    """Start and memory with as many images of one object each, and the time to draw batches."""
    with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/instances.json'
        os.environ['MMDET_CACHE'] = f'{folder}/cache'
        repeat(path, number // BLOCK)
        time.sleep(2)  # a file that is newer has no cache
        first, most, _ = Holders(path, 1, f'{folder}/cache').measure()
        again, _, held = Holders(path, 1, f'{folder}/cache').measure()
        loader = Runner.build_dataloader(loader_config(path, folder), seed=0)
        start = time.perf_counter()
        batches = iter(loader.batch_sampler)
        next(batches)
        drawn = time.perf_counter()
        count = sum(1 for _ in islice(batches, BLOCK))
        return {'s of the first reading': first, 's of a later one': again, 's to the first batch drawn': drawn - start,
                'ms a batch drawn': (time.perf_counter() - drawn) / count * 1e3,
                'MiB at most': most / MIB, 'MiB held': held / MIB}


def repeat(path, times):
    """Write BLOCK generated images of one object each, `times` times under ids of their own."""
    generate(path, BLOCK, BLOCK)
    parts = json.loads(Path(path).read_text())
    with open(path, 'w') as file:
        file.write(f'{{"categories": {json.dumps(parts["categories"])}')
        for part in ('images', 'annotations'):
            entries = [{key: f'@{value:04d}' if key in ('id', 'image_id') else value for key, value in entry.items()}
                       for entry in parts[part]]
            block = re.sub(r'"(@\d+)"', r'\1', json.dumps(entries)[1:-1])
            file.write(f', "{part}": [')
            file.writelines(', ' * (i > 1) + block.replace('@', str(i)) for i in range(1, times + 1))
            file.write(']')
        file.write('}')
