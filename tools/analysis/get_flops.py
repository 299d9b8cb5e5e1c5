"""Counts FLOPs, parameters and activations of a detector: python tools/analysis/get_flops.py CONFIG [--shape H W].

A black picture goes through backbone, neck, RPN, both RoIAligns and all heads. A multiplication and an addition are
2 FLOPs, or 1 MAC, which many papers and mmdetection call a FLOP. Counted are convolutions, linear layers and RoIAlign;
norms, activations, NMS and resizing are not. Activations are the values that the counted operators put out.
"""
import argparse
from collections import defaultdict

import torch
from terminaltables import AsciiTable
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.module_tracker import ModuleTracker

from mmdet.engine.check_config import check_config
from mmdet.engine.command_line import add_config_options, plain_errors
from mmdet.engine.config import read_config
from mmdet.engine.norm_option import NORMS, apply_norm
from mmdet.errors import UserError
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

ADAPTIVE_SAMPLES = 2  # a bin and axis, where sampling_ratio=0 lets the size of the RoI decide


def flops_of(operator, args, kwargs, out):
    """FLOPs of a call; None where the operator is not counted."""
    name = operator._schema.name
    if name.endswith('::roi_align'):  # a sample is the sum of 4 weighted pixels
        return 8 * (max(args[-2], 0) or ADAPTIVE_SAMPLES)**2 * out.numel()
    if name == 'mmdet::conv_3x3':
        return 2 * out.numel() * args[1][0].numel()
    formula = flop_registry.get(operator._overloadpacket)
    return None if formula is None else formula(*args, **kwargs, out_val=out)


class Counter(TorchDispatchMode):
    """Adds up FLOPs and activations, of each module that is called and, as '', of all."""

    def __init__(self):
        super().__init__()
        self.tracker = ModuleTracker()
        self.flops, self.activations = defaultdict(int), defaultdict(int)

    def __enter__(self):
        self.tracker.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        self.tracker.__exit__(*error)
        return super().__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        flops = flops_of(func, args, kwargs or {}, out)
        for name in self.tracker.parents if flops is not None else ():
            name = name.partition('.')[2]
            self.flops[name] += flops
            self.activations[name] += out.numel()
        return out


class Step(nn.Module):
    """Both stages for as many proposals and detections as test_cfg allows."""

    def __init__(self, detector, num_proposals, num_detections):
        super().__init__()
        self.num_proposals, self.num_detections = num_proposals, num_detections
        self.backbone, self.neck, self.rpn_head, self.roi_head = (
            getattr(detector, name) for name in ('backbone', 'neck', 'rpn_head', 'roi_head'))

    def forward(self, images):
        features = self.backbone(images)
        features = features if self.neck is None else self.neck(features)
        self.rpn_head(features)
        head, rois = self.roi_head, images.new_zeros(len(images) * self.num_proposals, 5)
        head.bbox_head(head.bbox_roi_extractor(features, rois))
        if head.mask_head is not None:
            rois = images.new_zeros(len(images) * self.num_detections, 5)
            head.mask_head(head.mask_roi_extractor(features, rois))


def main():
    parser = argparse.ArgumentParser(description='Count FLOPs, parameters and activations of a Faster or Mask R-CNN')
    parser.add_argument('config', help='config file')
    parser.add_argument('--shape', type=int, nargs='+', default=[800, 1280], metavar='SIDE',
                        help='height and width in pixels, or one side of a square (%(default)s)')
    parser.add_argument('--depth', type=int, default=2, help='names of so many parts get a line (%(default)s)')
    parser.add_argument('--norm', choices=NORMS, help='as in tools/train.py')
    add_config_options(parser)
    args = parser.parse_args()
    height, width = args.shape * (3 - len(args.shape)) if len(args.shape) in (1, 2) else (0, 0)
    if min(height, width) < 1:
        raise UserError(f'--shape {" ".join(map(str, args.shape))}: this is no height and width in pixels')
    register_all_modules()
    cfg = read_config(args.config, args.cfg_options)
    if args.norm:
        apply_norm(cfg, args.norm)
    check_config(cfg)
    detector = MODELS.build(cfg.model).eval()
    divisor = detector.data_preprocessor.pad_size_divisor
    padded = [-(-side // divisor) * divisor for side in (height, width)]
    step = Step(detector, cfg.model.test_cfg.rpn.max_per_img, cfg.model.test_cfg.rcnn.max_per_img)
    with torch.no_grad(), Counter() as counter:
        step(torch.zeros(1, 3, *padded))

    rows = [['part', 'GFLOPs', 'GMACs', 'parameters (M)', 'activations (M)']]
    for name, module in step.named_modules():
        # What is called through its parts alone, such as a convolution before its norm, is counted in what holds it.
        if name and name.count('.') < args.depth and (counter.flops[name] or name == 'roi_head'):
            rows.append(row('  ' * name.count('.') + name, *total(counter, name), module))
    rows.append(row('all', counter.flops[''], counter.activations[''], detector))
    table = AsciiTable(rows, f' {args.config}, 1 picture of {height} x {width}, computed as {padded[0]} x {padded[1]} ')
    table.justify_columns = dict.fromkeys(range(1, 5), 'right')
    print(table.table)
    print(f'{step.num_proposals} proposals' + (f', {step.num_detections} masks' if step.roi_head.mask_head else ''))


def total(counter, name):
    """FLOPs and activations of a part; where it is no module that is called, those of its parts."""
    if counter.flops[name]:
        return counter.flops[name], counter.activations[name]
    below = [other for other in list(counter.flops) if other.startswith(f'{name}.') and other.count('.') == 1]
    return sum(map(counter.flops.get, below)), sum(map(counter.activations.get, below))


def row(title, flops, activations, module):
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return [title, f'{flops / 1e9:.2f}', f'{flops / 2e9:.2f}', f'{parameters / 1e6:.2f}', f'{activations / 1e6:.2f}']


if __name__ == '__main__':
    with plain_errors():
        main()
