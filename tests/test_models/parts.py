"""Backbones and necks that are small, and numbers that two programs must agree on.

`python parts.py OUT.npz`, where `import mmdet` is mmdetection 3.3.0 (mmcv with operators) and tests/ is on PYTHONPATH,
writes tests/data/golden/parts.npz.
"""
import sys

import numpy as np
from fill_weights import entry, fill

from mmdet.registry import MODELS

SMALL = dict(type='ResNet', depth=50, base_channels=16, num_stages=2, strides=(1, 2), dilations=(1, 1),
             out_indices=(0, 1), norm_cfg=dict(type='BN', requires_grad=True), norm_eval=False)
LEVELS = dict(in_channels=[8, 16, 24], out_channels=16, num_outs=5)


def context(position, **options):
    return dict(cfg=dict(type='ContextBlock', ratio=1 / 4, **options), stages=(False, True), position=position)


PARTS = dict(
    x101_32x4d=dict(type='ResNeXt', depth=101, groups=32, base_width=4, num_stages=1, strides=(1,), dilations=(1,),
                    out_indices=(0,), style='pytorch', norm_cfg=dict(type='BN', requires_grad=True), norm_eval=True),
    x50_wide=dict(SMALL, type='ResNeXt', groups=4, base_width=8, dcn=dict(type='DCN', fallback_on_stride=True),
                  stage_with_dcn=(False, True), plugins=[context('after_conv2')]),
    gc=dict(SMALL, plugins=[context('after_conv3')]),
    gc_three=dict(SMALL, style='caffe', plugins=[
        context('after_conv1', pooling_type='avg', postfix=1),
        context('after_conv2', fusion_types=('channel_mul',), postfix=2),
        context('after_conv3', fusion_types=('channel_add', 'channel_mul'), postfix=3)]),
    dcn=dict(SMALL, norm_eval=True, dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
             stage_with_dcn=(False, True)),
    dcn_fallback=dict(SMALL, dcn=dict(type='DCN', deform_groups=2, fallback_on_stride=True),
                      stage_with_dcn=(True, True)),
    dcnv2=dict(SMALL, dilations=(1, 2), dcn=dict(type='DCNv2', deform_groups=4), stage_with_dcn=(False, True)),
    pafpn=dict(LEVELS, type='PAFPN'),
    pafpn_extra=dict(LEVELS, type='PAFPN', start_level=1, add_extra_convs='on_output', relu_before_extra_convs=True,
                     norm_cfg=dict(type='BN', requires_grad=True)),
    libra=[dict(LEVELS, type='FPN'), dict(type='BFP', in_channels=16, num_levels=5, refine_level=2,
                                          refine_type='non_local')],
    bfp_conv=[dict(LEVELS, type='FPN'), dict(type='BFP', in_channels=16, num_levels=5, refine_level=1,
                                             refine_type='conv')])


def numbers(name: str, device: str = 'cpu') -> tuple[list[str], dict[str, np.ndarray]]:
    """Names and shapes of the state dict of PARTS[name]; its outputs, thinned out, and gradient norms in training."""
    cfg = PARTS[name]
    model = MODELS.build(cfg)
    fill(model)
    model.train().to(device)
    if 'depth' in cfg:
        outs = model(entry('image', (2, 3, 96, 64)).to(device) * 100)
    else:
        outs = model(tuple(entry(f'level{i}', (2, channels, 40 >> i, 24 >> i)).to(device) * 60
                           for i, channels in enumerate(LEVELS['in_channels'])))
    found = {}
    for i, out in enumerate(outs):
        values = out.detach().cpu().flatten()
        found[f'{name}/out{i}'] = values[::max(len(values) // 50, 1)].numpy()
    sum((out * entry(f'direction{i}', tuple(out.shape)).to(device)).sum() for i, out in enumerate(outs)).backward()
    grads = [(key, parameter.grad) for key, parameter in sorted(model.named_parameters()) if parameter.grad is not None]
    found[f'{name}/grad_norms'] = np.array([float(grad.norm()) for _, grad in grads], np.float32)
    return [f'{key} {tuple(value.shape)}' for key, value in model.state_dict().items()], found


if __name__ == '__main__':
    everything = {}
    for part in PARTS:
        keys, found = numbers(part)
        everything.update(found, **{f'{part}/keys': np.array('\n'.join(keys))})
    np.savez_compressed(sys.argv[1], **everything)
