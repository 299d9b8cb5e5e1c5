"""mmcv.ops by torchvision, for mmdetection 3.3 on the CPU beside mmcv-lite. Import it before mmdet."""
import importlib.machinery
import sys
import types

import mmcv
import numpy as np
import torch
import torchvision
from torch import nn

mmcv.__version__ = '2.1.0'
pair = nn.modules.utils._pair


def nms(boxes, scores, iou_threshold, offset=0, score_threshold=0, max_num=-1):
    assert offset == 0
    if isinstance(boxes, np.ndarray):
        boxes, scores = torch.from_numpy(boxes), torch.from_numpy(scores)
    valid = (scores > score_threshold).nonzero()[:, 0] if score_threshold > 0 else torch.arange(len(scores))
    keep = valid[torchvision.ops.nms(boxes[valid], scores[valid], float(iou_threshold))]
    keep = keep[:max_num] if max_num > 0 else keep
    return torch.cat([boxes[keep], scores[keep, None]], 1), keep


def soft_nms(boxes, scores, iou_threshold=0.3, sigma=0.5, min_score=1e-3, method='linear', offset=0):
    """As mmcv's CPU kernel: best left over, decay the rest, drop those below min_score."""
    boxes, scores = boxes.detach().clone(), scores.detach().clone()
    index, out, keep = torch.arange(len(scores)), [], []
    while len(scores):
        i = scores.argmax()
        out.append(torch.cat([boxes[i], scores[i, None]]))
        keep.append(index[i])
        iou = torchvision.ops.box_iou(boxes[i][None], boxes)[0]
        if method == 'naive':
            weight = (iou < iou_threshold).float()
        elif method == 'linear':
            weight = torch.where(iou >= iou_threshold, 1 - iou, torch.ones_like(iou))
        else:
            weight = torch.exp(-iou * iou / sigma)
        scores = scores * weight
        left = scores >= min_score
        left[i] = False
        boxes, scores, index = boxes[left], scores[left], index[left]
    if not out:
        return torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)
    return torch.stack(out), torch.stack(keep)


def batched_nms(boxes, scores, idxs, nms_cfg, class_agnostic=False):
    """mmcv 2.1: shift the classes apart, one NMS; split by class from split_thr boxes on."""
    if nms_cfg is None:
        scores, inds = scores.sort(descending=True)
        return torch.cat([boxes[inds], scores[:, None]], -1), inds
    cfg = dict(nms_cfg)
    class_agnostic = cfg.pop('class_agnostic', class_agnostic)
    if class_agnostic or len(boxes) == 0:
        shifted = boxes
    else:
        shifted = boxes + (idxs.to(boxes) * (boxes.max() + 1))[:, None]
    op = dict(nms=nms, soft_nms=soft_nms)[cfg.pop('type', 'nms')]
    split, max_num = cfg.pop('split_thr', 10000), cfg.pop('max_num', -1)
    if len(boxes) < split:
        dets, keep = op(shifted, scores, **cfg)
        boxes, scores = boxes[keep], dets[:, -1]
        if max_num > 0:
            keep, boxes, scores = keep[:max_num], boxes[:max_num], scores[:max_num]
        return torch.cat([boxes, scores[:, None]], -1), keep
    mask, after = torch.zeros_like(scores, dtype=torch.bool), torch.zeros_like(scores)
    for i in idxs.unique():
        own = (idxs == i).nonzero()[:, 0]
        dets, keep = op(shifted[own], scores[own], **cfg)
        mask[own[keep]] = True
        after[own[keep]] = dets[:, -1]
    keep = mask.nonzero()[:, 0]
    scores, inds = after[keep].sort(descending=True)
    keep = keep[inds][:max_num] if max_num > 0 else keep[inds]
    return torch.cat([boxes[keep], scores[:len(keep), None]], -1), keep


class RoIAlign(nn.Module):
    def __init__(self, output_size, spatial_scale=1.0, sampling_ratio=0, pool_mode='avg', aligned=True,
                 use_torchvision=False):
        super().__init__()
        self.output_size, self.spatial_scale = pair(output_size), float(spatial_scale)
        self.sampling_ratio, self.aligned = int(sampling_ratio), aligned

    def forward(self, x, rois):
        return torchvision.ops.roi_align(x, rois, self.output_size, self.spatial_scale,
                                         self.sampling_ratio or -1, self.aligned)


class RoIPool(nn.Module):
    def __init__(self, output_size, spatial_scale=1.0):
        super().__init__()
        self.output_size, self.spatial_scale = pair(output_size), float(spatial_scale)

    def forward(self, x, rois):
        return torchvision.ops.roi_pool(x, rois, self.output_size, self.spatial_scale)


def roi_align(x, rois, output_size, spatial_scale=1.0, sampling_ratio=0, pool_mode='avg', aligned=True):
    return torchvision.ops.roi_align(x, rois, output_size, spatial_scale, sampling_ratio or -1, aligned)


def deform_conv2d(x, offset, weight, stride=1, padding=0, dilation=1, groups=1, deform_groups=1, *_):
    return torchvision.ops.deform_conv2d(x, offset, weight, None, stride, padding, dilation)


def modulated_deform_conv2d(x, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups):
    return torchvision.ops.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, mask)


class DeformConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
                 deform_groups=1, bias=False, im2col_step=32):
        super().__init__()
        assert not bias
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, pair(kernel_size)
        self.stride, self.padding, self.dilation = pair(stride), pair(padding), pair(dilation)
        self.groups, self.deform_groups = groups, deform_groups
        self.transposed, self.output_padding = False, (0, 0)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        nn.init.kaiming_uniform_(self.weight, nonlinearity='relu')

    def forward(self, x, offset):
        return deform_conv2d(x, offset, self.weight, self.stride, self.padding, self.dilation)


class DeformConv2dPack(DeformConv2d):
    _version = 2

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.conv_offset = nn.Conv2d(self.in_channels,
                                     self.deform_groups * 2 * self.kernel_size[0] * self.kernel_size[1],
                                     self.kernel_size, self.stride, self.padding, self.dilation)
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x):
        return super().forward(x, self.conv_offset(x))


class ModulatedDeformConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
                 deform_groups=1, bias=True):
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, pair(kernel_size)
        self.stride, self.padding, self.dilation = pair(stride), pair(padding), pair(dilation)
        self.groups, self.deform_groups = groups, deform_groups
        self.transposed, self.output_padding = False, (0, 0)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, nonlinearity='relu')

    def forward(self, x, offset, mask):
        return modulated_deform_conv2d(x, offset, mask, self.weight, self.bias, self.stride, self.padding,
                                       self.dilation, self.groups, self.deform_groups)


class ModulatedDeformConv2dPack(ModulatedDeformConv2d):
    _version = 2

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.conv_offset = nn.Conv2d(self.in_channels,
                                     self.deform_groups * 3 * self.kernel_size[0] * self.kernel_size[1],
                                     self.kernel_size, self.stride, self.padding, self.dilation)
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x):
        o1, o2, mask = self.conv_offset(x).chunk(3, dim=1)
        return super().forward(x, torch.cat([o1, o2], 1), mask.sigmoid())


def sigmoid_focal_loss(pred, target, gamma=2.0, alpha=0.25, weight=None, reduction='none'):
    """mmcv's: target int64 (N,), class C is background."""
    onehot = nn.functional.one_hot(target, pred.shape[1] + 1)[:, :-1].float()
    return torchvision.ops.sigmoid_focal_loss(pred, onehot, alpha, gamma, reduction=reduction)


def point_sample(input, points, align_corners=False, **kwargs):
    grid = points[:, :, None] * 2 - 1
    return nn.functional.grid_sample(input, grid, align_corners=align_corners, **kwargs)[..., 0]


class _Dummy(nn.Module):
    def __init__(self, *args, **kwargs):
        raise NotImplementedError(type(self).__name__ + ' is not in the stub mmcv.ops')


class _Ops(types.ModuleType):
    __path__: list = []

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return type(name, (_Dummy,), {})


ops = _Ops('mmcv.ops')
ops.__spec__ = importlib.machinery.ModuleSpec('mmcv.ops', None, is_package=True)
for _name in ('nms soft_nms batched_nms RoIAlign RoIPool roi_align deform_conv2d modulated_deform_conv2d DeformConv2d '
              'DeformConv2dPack ModulatedDeformConv2d ModulatedDeformConv2dPack sigmoid_focal_loss '
              'point_sample').split():
    setattr(ops, _name, globals()[_name])
ops.nms_match = None


class _Finder:
    """Any mmcv.ops.xyz has what mmcv.ops has."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name.startswith('mmcv.ops.') else None

    def create_module(self, spec):
        sub = _Ops(spec.name)
        sub.__dict__.update({k: v for k, v in vars(ops).items() if not k.startswith('__')})
        return sub

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, _Finder())
sys.modules['mmcv.ops'] = ops
mmcv.ops = ops
from mmengine.registry import MODELS  # noqa: E402

for _name, _class in dict(DCN=DeformConv2dPack, DCNv2=ModulatedDeformConv2dPack).items():
    MODELS.register_module(name=_name, module=_class, force=True)
