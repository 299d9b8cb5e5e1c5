"""Operators called with tensors of other shapes, dtypes, devices and values, and sizes that are none."""
import torch
from case import Case

from mmdet import ops
from mmdet.errors import UserError


def calls():
    """Arguments that fit."""
    x, per_channel = torch.randn(2, 16, 20, 20), torch.ones(16)
    boxes, probs = torch.tensor([[0., 0, 3, 3], [1, 1, 4, 4]]), torch.rand(2, 7, 7)
    history = dict(patch=torch.ones(2, 1, 9), slope=torch.ones(2, 4, 9),
                   **{name: torch.ones(2, 4) for name in ('mean', 'mean0', 'var0')})
    last = x.clone(memory_format=torch.channels_last)
    return {
        'scaled_sum': [x, x, per_channel, per_channel, per_channel],
        'conv2d_weight_grad': [x, (16, 16, 3, 3), x, (1, 1), (1, 1), (1, 1), 1, per_channel, 1., True],
        'scatter_matrix': [x, per_channel], 'mean_patch': [last, (3, 3), (1, 1), (1, 1), (1, 1)], 'mean_variance': [x],
        'normalize': [x, per_channel, per_channel, per_channel, per_channel, 1e-5, 800],
        'cbn_statistics': [torch.ones(4, 9), torch.ones(4), history, torch.ones(1, 9), torch.ones(4, 9), torch.ones(4),
                           torch.ones(4), 0, 1],
        'linear_rois': [torch.randn(5, 4, 3, 3), torch.randn(2, 36), torch.randn(2)],
        'crop_masks': [torch.ones(18, dtype=torch.uint8), torch.tensor([[0, 0, 3, 3], [2, 2, 5, 5]]), boxes,
                       torch.tensor([0, 1]), 7, 9, 9],
        'paste_masks': [probs, boxes, 9, 9, .5], 'paste_masks_as_rle': [probs, boxes, 9, 9, .5],
        'nms': [boxes, torch.rand(2), .5, 0], 'batched_nms': [boxes, torch.rand(2), torch.tensor([0, 1]), .5, 0],
        'nms_images': [torch.rand(2, 5, 4), torch.rand(2, 5), torch.zeros(2, 5, dtype=torch.long), .5, 3, 0],
        'roi_align': [x, torch.tensor([[0., 0, 0, 3, 3], [1, 1, 1, 9, 9]]), (7, 7), 1., 2, True],
        'multiscale_roi_align': [[x, x[:, :, ::2, ::2].clone()], torch.tensor([[0., 0, 0, 3, 3], [1, 1, 1, 9, 9]]),
                                 torch.tensor([0, 1]), 7, [1., .5], 2, True],
        'group_norm': [x, 4, per_channel, per_channel, 1e-5, True],
        'variance_slope': [x, torch.randn(16, 16, 3, 3), x, per_channel, torch.ones(16, 3, 3), *[(1, 1)] * 3, 1],
        'bias_relu': [x, per_channel, x.clone(), True],
    }


def changed(value, rng):
    if isinstance(value, torch.Tensor):
        wide = value.is_floating_point()
        return rng.choice([
            value.flatten(), value[None], value[..., :-1], torch.cat([value, value]), value.to('meta'),
            value.transpose(0, -1), value.bool(), value.long() if wide else value.float(), value.to(torch.complex64),
            torch.full_like(value, float('nan') if wide else 99), torch.tensor(1.), value[:0],
            torch.full_like(value, -2**40 if value.element_size() > 4 else 1)])
    if isinstance(value, tuple):
        return rng.choice([value[:1], (), value * 2, *[(side,) * len(value) for side in (0, -1, 2**33)], None])
    if isinstance(value, dict):
        name = rng.choice(sorted(value))
        return {**value, name: changed(value[name], rng)}
    if isinstance(value, list):
        return rng.choice([value[:1], [], [changed(value[0], rng), *value[1:]]])
    return rng.choice([-1, -5, 2**40, 2**63, None, 'a', float('nan'), 0.5])


def cases(rng):
    torch.manual_seed(0)
    for name, arguments in calls().items():
        for _ in range(12):
            place = rng.randrange(len(arguments))
            given = list(arguments)
            given[place] = changed(given[place], rng)

            def run(name=name, given=given):
                try:
                    getattr(ops, name)(*given)
                except (ValueError, TypeError, RuntimeError) as error:  # RuntimeError: PyTorch's own, for what it does
                    raise UserError(str(error)) from None
                return True
            yield Case(f'{name} argument {place}: {str(given[place])[:40]!r}', run, [])
