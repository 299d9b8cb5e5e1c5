"""Trains one small classifier with few images a step: python tools/analysis/compare_batch_sizes.py

The pictures are objects cut out of the generated shapes, of five classes. Every run sees the same pictures in the same
order and equally often, with a learning rate proportional to the batch. The table shows the accuracy on unseen
pictures, mean and spread over the seeds, with a row for each norm and a column for each batch size.
"""
import argparse
import functools
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mmdet.datasets.shapes_scene import SCALE, SHAPES, draw_scene
from mmdet.models.layers import ConvModule

SIDE = 32
NORMS = dict(BN=dict(type='BN'), GN=dict(type='GN', num_groups=32), CBN=dict(type='CBN', buffer_num=7))


def parse_args():
    parser = argparse.ArgumentParser(description='Accuracy of BN, GN and CBN with few images a step')
    parser.add_argument('--norms', nargs='+', choices=NORMS, default=list(NORMS))
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[32, 8, 4, 2])
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--images', type=int, default=1600, help='training pictures (%(default)s)')
    parser.add_argument('--unseen', type=int, default=2000, help='pictures of the test (%(default)s)')
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--lr', type=float, default=0.05, help='learning rate of 32 images a step (%(default)s)')
    parser.add_argument('--buffer-num', type=int, default=7, help='earlier iterations that CBN averages over')
    parser.add_argument('--burnin', type=float, default=2 / 3, help='share of the training in which CBN is BN')
    parser.add_argument('--jobs', type=int, default=torch.get_num_threads(), help='trainings side by side')
    return parser.parse_args()


@functools.cache
def pictures(count, seed):
    """Normalized pictures float32 (count, 3, 32, 32) of one object each with its surroundings; labels (count,)."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    while len(images) < count:
        scene, items = draw_scene(rng)
        for item in items:
            if item.crowd:
                continue
            x, y, w, h = (edge / SCALE for edge in cv2.boundingRect(item.mask.astype(np.uint8)))
            side = 1.3 * max(w, h)
            zoom = SIDE / side
            shift = np.array([[zoom, 0, (side - w) / 2 * zoom - x * zoom], [0, zoom, (side - h) / 2 * zoom - y * zoom]])
            smooth = cv2.GaussianBlur(scene, (0, 0), 0.4 / zoom) if zoom < 1 else scene
            images.append(cv2.warpAffine(smooth, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT))
            labels.append(item.label)
    images = torch.from_numpy(np.stack(images[:count])).permute(0, 3, 1, 2).float()
    return (images - 127.5) / 64, torch.tensor(labels[:count])


def data(args):
    """Training and unseen pictures, drawn once a process."""
    return pictures(args.images, seed=0), pictures(args.unseen, seed=1)


def classifier(norm_cfg):
    """Six convolutions with norms, mean over the positions, one linear layer."""
    def block(inside, outside, stride):
        return ConvModule(inside, outside, 3, stride=stride, padding=1, norm_cfg=norm_cfg)
    return nn.Sequential(block(3, 32, 1), block(32, 32, 2), block(32, 64, 1), block(64, 64, 2), block(64, 128, 1),
                         block(128, 128, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, len(SHAPES)))


def accuracy(norm, batch_size, seed, args):
    """Percent of the unseen pictures that are classified right after a training, and its minutes."""
    torch.set_num_threads(1)
    (images, labels), (unseen, truth) = data(args)
    torch.manual_seed(seed)
    steps = args.epochs * (args.images // batch_size)
    norm_cfg = NORMS[norm]
    if norm == 'CBN':
        norm_cfg = dict(norm_cfg, buffer_num=args.buffer_num, burnin_iters=int(args.burnin * steps))
    model = classifier(norm_cfg)
    optimizer = torch.optim.SGD(model.parameters(), args.lr * batch_size / 32, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(seed)
    start = time.monotonic()
    for _ in range(args.epochs):
        shuffled = torch.randperm(args.images, generator=order)
        for batch in shuffled[:args.images // batch_size * batch_size].split(batch_size):
            x = images[batch]
            x = torch.where(torch.rand(len(x), 1, 1, 1, generator=order) < 0.5, x, x.flip(3))
            loss = F.cross_entropy(model(x), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        right = torch.cat([model(x).argmax(1) for x in unseen.split(250)]) == truth
    return 100 * right.float().mean().item(), (time.monotonic() - start) / 60


def main():
    args = parse_args()
    runs = [(norm, size, seed) for size in sorted(args.batch_sizes) for norm in args.norms
            for seed in range(args.seeds)]
    data(args)  # forked processes inherit it
    found = {}
    with ProcessPoolExecutor(args.jobs) as pool:
        for run, future in [(run, pool.submit(accuracy, *run, args)) for run in runs]:
            found[run], minutes = future.result()
            print(f'{run[0]:<4} {run[1]:>3} images a step, seed {run[2]}: {found[run]:.1f} % ({minutes:.1f} minutes)',
                  flush=True)
    print('\n| norm |' + ''.join(f' {size} |' for size in args.batch_sizes))
    print('|---|' + '---|' * len(args.batch_sizes))
    for norm in args.norms:
        cells = [[found[norm, size, seed] for seed in range(args.seeds)] for size in args.batch_sizes]
        print(f'| {norm} |' + ''.join(f' {statistics.mean(cell):.1f} ± {statistics.pstdev(cell):.1f} |'
                                      for cell in cells))


if __name__ == '__main__':
    main()
