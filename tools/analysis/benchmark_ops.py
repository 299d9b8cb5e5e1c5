"""Times RoIAlign and NMS beside torchvision.ops, convolutions and norms beside PyTorch: tools/analysis/benchmark_ops.py

- RoIAlign: 512 RoIs of two images on one level (256 channels, 100 x 168) and on four levels of a pyramid, 7 x 7 bins, 2
  samples a bin. torchvision's pyramid is MultiScaleRoIAlign. Both get channels-last inputs, as the models do.
  torchvision has no bfloat16: it converts to float32 and back, as it does under autocast.
- Convolutions: 3x3 of stride 1 in float32. On GPUs both are cuDNN's.
- Norms: the operators that SyncBN and CBN are made of, by our kernels and by PyTorch's. On GPUs they are the same.
"""

import torch
import torchvision
from timing import alternate, machine, markdown, rows

from mmdet import ops
from mmdet.command_line import ToolParser
from mmdet.engine.kept_memory import keep_freed_memory
from mmdet.models.layers import Conv2d
from mmdet.ops.extension import SERVED

SIZE = 800, 1344  # of the image
DTYPES = ['float32', 'float64', 'float16', 'bfloat16']


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('what', nargs='*', default=['roi_align', 'nms', 'conv', 'norm'],
                        help='roi_align, nms, conv or norm')
    parser.add_argument('--dtype', nargs='+', default=DTYPES, choices=DTYPES, help='of RoIAlign and norms')
    parser.add_argument('--boxes', nargs='+', type=int, default=[1000, 5000, 20000], help='of NMS')
    parser.add_argument('--convs', nargs='+', default=['200x256x14x14', '1024x256x7x7', '2x256x80x80', '2x256x200x336'],
                        metavar='BxCxHxW', help='inputs of convolutions and norms')
    parser.add_argument('--repeats', type=int, default=7, help='times to measure')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cpu or cuda')
    return parser.parse_args()


def boxes(count, generator):
    """(count, 4) xyxy in the image, sides from 16 to 600 pixels, as many small as large ones."""
    height, width = SIZE
    sides = torch.exp(torch.rand(count, 2, generator=generator) * 3.6 + 2.77)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    return torch.cat([corners - sides / 2, corners + sides / 2], 1).clamp(min=0).minimum(
        torch.tensor([width, height, width, height]))


def forward_and_backward(function, features, grad, parameters=()):
    """Two functions: `function` without gradients, and the gradients of an output made before."""
    with torch.enable_grad():
        learned = [feature.clone(memory_format=torch.channels_last).requires_grad_() for feature in features]
        out = function(learned)
        learned += parameters

    def forward():
        with torch.no_grad():
            function(features)

    def backward():
        torch.autograd.grad(out, learned, grad, retain_graph=True)
    return forward, backward


def roi_align_cases(dtype, device, generator):
    """(title, steps by side) of one level and of a pyramid, forward and backward."""
    rois = torch.cat([torch.arange(2).repeat_interleave(256)[:, None].float(), boxes(512, generator)], 1).to(device)
    strides = 4, 8, 16, 32
    features = [torch.randn(2, 256, SIZE[0] // s, SIZE[1] // s, generator=generator).to(device, dtype)
                .contiguous(memory_format=torch.channels_last) for s in strides]
    grad = torch.randn(512, 256, 7, 7, generator=generator).to(device, dtype)
    area = (rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])
    levels = (area.sqrt() / 56 + 1e-6).log2().floor().clamp(0, 3).long()
    theirs = torchvision.ops.MultiScaleRoIAlign(['0', '1', '2', '3'], 7, 2)
    per_image = list(rois[:, 1:].split(256))
    accepted = torch.float32 if dtype == torch.bfloat16 else dtype

    def one_of_theirs(x):
        return torchvision.ops.roi_align(x[0].to(accepted), rois.to(accepted), 7, 1 / 8, 2, False).to(dtype)

    def pyramid_of_theirs(x):
        levels = {name: level.to(accepted) for name, level in zip('0123', x, strict=True)}
        return theirs(levels, [boxes.to(accepted) for boxes in per_image], [SIZE] * 2).to(dtype)
    cases = dict(
        one=({'mmdet': lambda x: ops.roi_align(x[0], rois, 7, 1 / 8, 2, False),
              'torchvision': one_of_theirs}, features[1:2]),
        pyramid=({'mmdet': lambda x: ops.multiscale_roi_align(x, rois, levels, 7, [1 / s for s in strides], 2, False),
                  'torchvision': pyramid_of_theirs}, features))
    for name, (sides, inputs) in cases.items():
        steps = {side: forward_and_backward(pool, inputs, grad) for side, pool in sides.items()}
        for i, part in enumerate(('forward', 'backward')):
            yield f'RoIAlign {name}, {part}, {str(dtype)[6:]}', {side: pair[i] for side, pair in steps.items()}


def nms_cases(count, device, generator):
    xyxy, scores = boxes(count, generator).to(device), torch.rand(count, generator=generator).to(device)
    classes = torch.randint(0, 80, (count,), generator=generator).to(device)
    yield f'NMS {count}', {'mmdet': lambda: ops.nms(xyxy, scores, 0.5),
                           'torchvision': lambda: torchvision.ops.nms(xyxy, scores, 0.5)}
    yield f'NMS {count}, 80 classes', {'mmdet': lambda: ops.batched_nms(xyxy, scores, classes, 0.5),
                                       'torchvision': lambda: torchvision.ops.batched_nms(xyxy, scores, classes, 0.5)}


def conv_cases(shape, device, generator):
    """(title, steps by side) of a 3x3 convolution that keeps the number of channels, forward and backward."""
    sizes = tuple(map(int, shape.split('x')))
    x, grad = (torch.randn(sizes, generator=generator).to(device).contiguous(memory_format=torch.channels_last)
               for _ in range(2))
    steps = {}
    for side, cls in (('mmdet', Conv2d), ('pytorch', torch.nn.Conv2d)):
        conv = cls(sizes[1], sizes[1], 3, padding=1).to(device, memory_format=torch.channels_last)
        steps[side] = forward_and_backward(lambda features, conv=conv: conv(features[0]), [x], grad, conv.parameters())
    for i, part in enumerate(('forward', 'backward')):
        yield f'conv {shape}, {part}', {side: pair[i] for side, pair in steps.items()}


def norm_cases(shape, dtype, device, generator):
    """(title, steps by side) of the mean patch of a 3x3 convolution, the scatter matrix, and the backward's sum."""
    sizes = tuple(map(int, shape.split('x')))
    x, grad = (torch.randn(sizes, generator=generator).to(device, dtype).contiguous(memory_format=torch.channels_last)
               for _ in range(2))
    wide = torch.promote_types(dtype, torch.float32)
    mean, scale, offset = torch.randn(3, sizes[1], generator=generator).to(device, wide)
    functions = {'mean patch': lambda: ops.mean_patch(x, (3, 3), padding=(1, 1)),
                 'scatter matrix': lambda: ops.scatter_matrix(x, mean),
                 'scaled sum': lambda: ops.scaled_sum(grad, x, scale, mean, offset)}
    for name, function in functions.items():
        yield f'{name} {shape}, {str(dtype)[6:]}', {'mmdet': function, 'pytorch': by_pytorch(function, device)}


def by_pytorch(function, device):
    """The function without our kernels."""
    def step():
        own, SERVED[device] = SERVED[device], False
        try:
            function()
        finally:
            SERVED[device] = own
    return step


def main():
    args = parse_args()
    keep_freed_memory()  # as in every training
    generator = torch.Generator().manual_seed(0)
    cases = []
    if 'roi_align' in args.what:
        cases += [case for name in args.dtype
                  for case in roi_align_cases(getattr(torch, name), args.device, generator)]
    if 'nms' in args.what:
        cases += [case for count in args.boxes for case in nms_cases(count, args.device, generator)]
    if 'conv' in args.what:
        cases += [case for shape in args.convs for case in conv_cases(shape, args.device, generator)]
    if 'norm' in args.what:
        cases += [case for shape in args.convs for name in args.dtype
                  for case in norm_cases(shape, getattr(torch, name), args.device, generator)]
    lines = [line for title, steps in cases for line in rows(title, alternate(steps, args.repeats), list(steps)[-1])]
    print(f'{machine()}, operators: {ops.backend()}\n\n{markdown(lines)}')


if __name__ == '__main__':
    main()
