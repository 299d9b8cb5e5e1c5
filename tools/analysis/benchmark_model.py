"""Times Mask R-CNN R-50-FPN beside torchvision's, in turns: python tools/analysis/benchmark_model.py

A training step goes from images and targets on the device to updated weights, inference from images to 100 detections
an image with masks; random weights, frozen batch norms, 8 objects of random place. Ratios are to torchvision in the
same precision. --memory also says the peak of each training, in a process of its own. --compile puts our model, as
torch.compile makes it, beside itself as it is.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from mmengine.config import Config
from mmengine.structures import InstanceData
from timing import alternate, machine, markdown, rows
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor

from mmdet.engine.norm_option import NORMS, apply_norm
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules

CONFIG = Path(__file__).parents[2] / 'configs/mask_rcnn/mask_rcnn_r50_fpn_1x.py'
CLASSES = 80


def parse_args():
    parser = argparse.ArgumentParser(description='Time training step and inference beside torchvision')
    parser.add_argument('what', nargs='*', default=['train', 'inference'],
                        help='train, inference or both (default)')
    parser.add_argument('--size', default='320x320', metavar='HxW')
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--objects', type=int, default=8, help='of each image')
    parser.add_argument('--dtype', nargs='+', default=['float32', 'bfloat16'],
                        choices=['float32', 'bfloat16', 'float16'], help='others than float32 are of autocast')
    parser.add_argument('--norm', choices=NORMS, help="this norm in our model's FPN and heads (torchvision: none)")
    parser.add_argument('--compile', action='store_true', help='our model compiled beside our model')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--memory', action='store_true', help='also the peak memory of a training')
    parser.add_argument('--peak-of', choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def batch(args):
    """Images (B, 3, H, W) uint8, and boxes (G, 4), labels (G,) and masks (G, H, W) uint8 of each."""
    height, width = map(int, args.size.split('x'))
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (args.batch_size, 3, height, width), np.uint8))
    targets = []
    for _ in images:
        corners = rng.random((args.objects, 2)) * (height * 0.6, width * 0.6)
        sides = 20 + rng.random((args.objects, 2)) * min(height, width) * 0.35
        boxes = np.concatenate([corners[:, ::-1], (corners + sides)[:, ::-1]], axis=1)
        masks = np.zeros((args.objects, height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
            mask[y1:y2, x1:x2] = 1
        labels = torch.from_numpy(rng.integers(0, CLASSES, args.objects))
        targets.append((torch.from_numpy(boxes).float(), labels, masks))
    return images, targets


class Ours:
    def __init__(self, args, cfg_options=None):
        register_all_modules()
        cfg = Config.fromfile(CONFIG)
        cfg.merge_from_dict(cfg_options or {})
        cfg.model.backbone.init_cfg = None
        cfg.model.test_cfg.rcnn.score_thr = 0
        if args.norm:
            apply_norm(cfg, args.norm)
        self.model = MODELS.build(cfg.model).to(args.device)
        images, targets = batch(args)
        samples = []
        for boxes, labels, masks in targets:
            size = masks.shape[1:]
            sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.)))
            sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=BitmapMasks(masks, *size))
            sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
            samples.append(sample.to(args.device))
        self.data = dict(inputs=list(images.to(args.device)), data_samples=samples)

    def losses(self):
        return self.model(**self.model.data_preprocessor(self.data, True), mode='loss')

    def predict(self):
        return self.model(**self.model.data_preprocessor(self.data, False), mode='predict')


class Compiled(Ours):
    def __init__(self, args):
        super().__init__(args)
        self.model.compile()


class Torchvision:
    def __init__(self, args):
        backbone = torchvision.models.resnet50(norm_layer=torchvision.ops.FrozenBatchNorm2d)
        sides = sorted(map(int, args.size.split('x')))
        self.model = MaskRCNN(_resnet_fpn_extractor(backbone, 3), CLASSES + 1, min_size=sides[0], max_size=sides[1],
                              box_score_thresh=0).to(args.device)
        images, targets = batch(args)
        self.images = [image.float() / 255 for image in images.to(args.device)]
        self.targets = [dict(boxes=boxes.to(args.device), labels=labels.to(args.device) + 1,
                             masks=torch.from_numpy(masks).to(args.device)) for boxes, labels, masks in targets]

    def losses(self):
        return self.model(self.images, self.targets)

    def predict(self):
        return self.model(self.images)


SIDES = dict(mmdet=Ours, torchvision=Torchvision, compiled=Compiled)


def training_step(side, dtype, device, lr=1e-4):
    """One step of SGD as a function."""
    side.model.train()
    optimizer = torch.optim.SGD([p for p in side.model.parameters() if p.requires_grad], lr, 0.9, weight_decay=1e-4)

    def step():
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            loss = sum(value for name, value in side.losses().items() if 'loss' in name)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return step


def inference(side, dtype, device):
    side.model.eval()

    def step():
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype != torch.float32):
            side.predict()
    return step


def peak_of_training(args):
    """Print the most memory (MiB) that three steps of one side take beyond what the process held before them."""
    device = torch.device(args.device).type
    step = training_step(SIDES[args.peak_of](args), getattr(torch, args.dtype[0]), device)
    before = torch.cuda.memory_allocated(args.device) / 2**20 if device == 'cuda' else most_memory(args.device)
    for _ in range(3):
        step()
    print(most_memory(args.device) - before)


def most_memory(device):
    """MiB that the process ever held: in tensors on a GPU, in all on a CPU."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Of this program alone; getrusage begins with what the parent held.
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024


def images_a_second(lines, batch_size):
    """One line of text from the table's rows."""
    return 'images a second: ' + ', '.join(f'{what} {who} {batch_size * 1e3 / float(median):.3g}'
                                           for what, who, median, *_ in lines)


def main():
    args = parse_args()
    if args.peak_of:
        return peak_of_training(args)
    unknown = set(args.what) - {'train', 'inference'}
    if unknown:
        sys.exit(f'error: {", ".join(unknown)}: there are train and inference')
    compared = ('compiled', 'mmdet') if args.compile else ('mmdet', 'torchvision')  # ratios are to the second
    sides = {}
    for name in compared:
        torch.manual_seed(0)
        sides[name] = SIDES[name](args)
    device = torch.device(args.device).type
    print(f'{machine()}\nMask R-CNN R-50-FPN, {args.batch_size} images of {args.size}, {args.objects} objects each\n')
    lines = []
    for what, make in (('train', training_step), ('inference', inference)):
        for dtype in args.dtype if what in args.what else []:
            steps = {name: make(side, getattr(torch, dtype), device) for name, side in sides.items()}
            lines += rows(f'{what} {dtype}', alternate(steps, args.repeats), compared[1])
    print(f'{markdown(lines)}\n\n{images_a_second(lines, args.batch_size)}')
    if args.memory:
        for dtype in args.dtype:
            peaks = {}
            for name in compared:
                words = [word for word in sys.argv[1:] if word != '--memory']
                # Tensors are given back when they are freed: the peak is of what is in use, not of malloc's gaps.
                done = subprocess.run([sys.executable, __file__, *words, '--peak-of', name, '--dtype', dtype],
                                      env={'MALLOC_MMAP_THRESHOLD_': '1000000', **os.environ},
                                      stdout=subprocess.PIPE, text=True, check=True)
                peaks[name] = float(done.stdout)
            print(f'peak of training, {dtype}: ' + ', '.join(f'{name} {peak:.0f} MiB' for name, peak in peaks.items())
                  + f', ratio {peaks[compared[0]] / (peaks[compared[1]] or float("nan")):.2f}')


if __name__ == '__main__':
    main()
