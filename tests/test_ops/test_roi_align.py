import math
from itertools import product

import pytest
import torch
import torchvision
from pairwise import pairwise

from mmdet.ops import multiscale_roi_align, roi_align

HOSTILE_BOXES = torch.tensor([
    [-50.0, -40, -10, -20], [90, 90, 130, 140], [-20, -20, 120, 120],  # outside, outside, all around
    [10, 10, 10, 10], [5, 8, 5, 30], [30, 30, 10, 10],                 # a point, a line, turned round
    [0, 0, 64, 48], [-4, -4, 0, 0], [63.5, 47.5, 64.5, 48.5],          # whole image, edge, corner
    [1e-3, 1e-3, 2e-3, 2e-3], [-500, -500, 500, 500], [3, 3, 1e4, 5],  # tiny, huge
])
FORMATS = [torch.contiguous_format, torch.channels_last]


def random_rois(num_rois, num_images, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(num_rois, 2, generator=generator) * 60 - 5
    sizes = torch.rand(num_rois, 2, generator=generator) * 40
    images = torch.randint(0, num_images, (num_rois, 1), generator=generator)
    return torch.cat([images, corners, corners + sizes], 1)


def with_images(boxes):
    return torch.cat([torch.zeros(len(boxes), 1), boxes], 1)


def features_of(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def oracle(feature, rois, output_size, spatial_scale, sampling_ratio, aligned):
    """RoIAlign sample by sample, as section 3 of the paper tells it."""
    height, width = feature.shape[2:]
    shift = 0.5 if aligned else 0.0

    def interpolated(image, y, x):
        if y < -1 or y > height or x < -1 or x > width:
            return image.new_zeros(image.shape[0])
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = image[:, top, left] * (left + 1 - x) + image[:, top, right] * (x - left)
        lower = image[:, bottom, left] * (left + 1 - x) + image[:, bottom, right] * (x - left)
        return upper * (top + 1 - y) + lower * (y - top)

    pooled = feature.new_zeros(len(rois), feature.shape[1], output_size, output_size)
    for r, (image, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (side * spatial_scale - shift for side in box)
        roi_height, roi_width = y2 - y1, x2 - x1
        if not aligned:
            roi_height, roi_width = max(roi_height, 1), max(roi_width, 1)
        rows = sampling_ratio or math.ceil(roi_height / output_size)
        columns = sampling_ratio or math.ceil(roi_width / output_size)
        for p in range(output_size):
            for q in range(output_size):
                for i in range(rows):
                    for j in range(columns):
                        y = y1 + (p + (i + 0.5) / rows) * roi_height / output_size
                        x = x1 + (q + (j + 0.5) / columns) * roi_width / output_size
                        pooled[r, :, p, q] += interpolated(feature[int(image)], y, x) / (rows * columns)
    return pooled


def test_oracle(served_by, device):
    feature = features_of(2, 3, 12, 16, dtype=torch.float64)
    rois = random_rois(6, 2).double()
    for sampling_ratio, aligned in product([0, 2], [True, False]):
        expected = oracle(feature, rois, 3, 0.25, sampling_ratio, aligned)
        result = roi_align(feature.to(device), rois.to(device), 3, 0.25, sampling_ratio, aligned)
        torch.testing.assert_close(result.cpu(), expected)


def test_a_ramp_by_hand(served_by, device):
    """On f(x, y) = x + 10 y every bin gives the value at its centre; pixel i has its centre at i + 0.5."""
    ramp = (torch.arange(16.0) + 10 * torch.arange(16.0)[:, None])[None, None]
    result = roi_align(ramp.to(device), torch.tensor([[0.0, 4, 2, 12, 10]], device=device), 2)
    expected = torch.tensor([[[[5.5 + 35, 9.5 + 35], [5.5 + 75, 9.5 + 75]]]])
    torch.testing.assert_close(result.cpu(), expected)


@pytest.mark.parametrize('channels, sampling_ratio, aligned, memory_format',
                         pairwise([1, 6, 88], [0, 1, 3], [True, False], FORMATS), ids=str)
def test_agrees_with_torchvision(extension, device, channels, sampling_ratio, aligned, memory_format):
    feature = features_of(2, channels, 24, 32).contiguous(memory_format=memory_format)
    rois = torch.cat([random_rois(40, 2), with_images(HOSTILE_BOXES)])
    expected = torchvision.ops.roi_align(feature, rois, (7, 5), 0.5, sampling_ratio, aligned)
    result = roi_align(feature.to(device), rois.to(device), (7, 5), 0.5, sampling_ratio, aligned)
    torch.testing.assert_close(result.cpu(), expected, rtol=1e-5, atol=1e-5)
    assert result.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('sampling_ratio', [0, 3])
def test_gradient_agrees_with_torchvision(extension, device, sampling_ratio, memory_format):
    rois = torch.cat([random_rois(40, 2), with_images(HOSTILE_BOXES)])
    theirs = features_of(2, 72, 24, 32).requires_grad_()
    ours = theirs.detach().contiguous(memory_format=memory_format).to(device).requires_grad_()
    expected = torchvision.ops.roi_align(theirs, rois, 7, 0.5, sampling_ratio, True)
    result = roi_align(ours, rois.to(device), 7, 0.5, sampling_ratio)
    outer = features_of(*expected.shape, seed=3)
    expected.backward(outer)
    result.backward(outer.to(device))
    torch.testing.assert_close(ours.grad.cpu(), theirs.grad, rtol=1e-5, atol=1e-4)
    assert ours.grad.is_contiguous(memory_format=memory_format)


def pyramid(dtype=torch.float32, channels=8):
    return [features_of(2, channels, 48 // 2**level, 64 // 2**level, seed=level, dtype=dtype) for level in range(3)]


SCALES = [1.0, 0.5, 0.25]


@pytest.mark.parametrize('memory_format', FORMATS)
def test_levels(served_by, device, memory_format):
    """One call over all levels is roi_align on each RoI's own level; gradients reach each level."""
    features = [feature.to(device).contiguous(memory_format=memory_format).requires_grad_() for feature in pyramid()]
    alone = [feature.detach().clone().requires_grad_() for feature in features]
    rois = random_rois(30, 2).to(device)
    levels = torch.arange(30, device=device) % 3
    result = multiscale_roi_align(features, rois, levels, (4, 3), SCALES)
    outer = features_of(*result.shape).to(device)
    result.backward(outer)
    for level in range(3):
        of_level = levels == level
        expected = torchvision.ops.roi_align(alone[level], rois[of_level], (4, 3), SCALES[level], 0, True)
        expected.backward(outer[of_level])
        torch.testing.assert_close(result[of_level], expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(features[level].grad, alone[level].grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('memory_format', FORMATS)
def test_gradcheck(extension, device, memory_format):
    features = [feature[:, :, :9, :7].contiguous(memory_format=memory_format).to(device).requires_grad_()
                for feature in pyramid(torch.float64, channels=2)[:2]]
    rois = torch.tensor([[0, 1.2, 0.7, 6.1, 5.3], [1, -2, -1, 3, 14], [1, 2, 2, 11, 9]], dtype=torch.float64)
    levels = torch.tensor([0, 1, 0], device=device)

    def pooled(*levels_features):
        return multiscale_roi_align(levels_features, rois.to(device), levels, 2, SCALES[:2])
    assert torch.autograd.gradcheck(pooled, features)
    assert torch.autograd.gradgradcheck(pooled, features)


@pytest.mark.parametrize('dtype, memory_format', list(zip([torch.float32, torch.float64, torch.float16, torch.bfloat16],
                                                          FORMATS * 2)))
def test_opcheck(extension, device, dtype, memory_format):
    features = [feature.to(device).contiguous(memory_format=memory_format).requires_grad_()
                for feature in pyramid(dtype)]
    rois = random_rois(5, 2).to(device, torch.float64 if dtype == torch.float64 else torch.float32)
    levels = torch.tensor([0, 1, 2, 1, 0], device=device)
    torch.library.opcheck(torch.ops.mmdet.roi_align, (features, rois, levels, SCALES, 3, 4, 0, True))
    torch.library.opcheck(torch.ops.mmdet.roi_align, (features[:1], rois, None, SCALES[:1], 3, 4, 2, False))
    if dtype in (torch.float32, torch.float64):
        grad = torch.randn(5, 8, 3, 4, dtype=dtype, device=device)
        channels_last = memory_format == torch.channels_last
        tests = ('test_schema', 'test_faketensor')  # sums of unordered atomics differ in their last bits
        torch.library.opcheck(torch.ops.mmdet.roi_align_backward,
                              (grad, rois, None, [1.0], [2, 48, 64], 0, True, channels_last, None), test_utils=tests)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(served_by, device, dtype, memory_format):
    """Half-precision features with float32 RoIs, as under autocast: only the result is rounded."""
    feature = features_of(2, 24, 24, 32, dtype=dtype).to(device).contiguous(memory_format=memory_format)
    feature.requires_grad_()
    wide = feature.detach().float().requires_grad_()
    rois = random_rois(50, 2).to(device)
    result, expected = roi_align(feature, rois, 7, 0.5), roi_align(wide, rois, 7, 0.5)
    assert result.dtype == dtype
    torch.testing.assert_close(result, expected.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)
    outer = features_of(*result.shape).to(device, dtype)
    result.backward(outer)
    expected.backward(outer.float())
    assert feature.grad.dtype == dtype
    torch.testing.assert_close(feature.grad, wide.grad.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-4)


def test_under_autocast(served_by, device):
    with torch.autocast(device.type, torch.bfloat16):
        feature = torch.nn.functional.conv2d(features_of(1, 4, 16, 16).to(device), features_of(4, 4, 1, 1).to(device))
        assert feature.dtype == torch.bfloat16
        pooled = roi_align(feature, torch.tensor([[0.0, 1, 1, 9, 9]], device=device), 2)
    expected = torchvision.ops.roi_align(feature.float().cpu(), torch.tensor([[0.0, 1, 1, 9, 9]]), 2, aligned=True)
    torch.testing.assert_close(pooled.float().cpu(), expected, rtol=1e-2, atol=1e-2)


def test_no_rois(served_by, device):
    features = [feature.to(device).requires_grad_() for feature in pyramid()]
    result = multiscale_roi_align(features, torch.zeros(0, 5, device=device),
                                  torch.zeros(0, dtype=torch.int64, device=device), 7, SCALES)
    assert result.shape == (0, 8, 7, 7)
    result.sum().backward()
    assert all((feature.grad == 0).all() for feature in features)


def test_no_channels(extension, device):
    assert roi_align(torch.zeros(1, 0, 8, 8, device=device), torch.zeros(2, 5, device=device), 7).shape == (2, 0, 7, 7)


@pytest.mark.parametrize('sampling_ratio, memory_format', list(zip([0, 2], FORMATS)))
def test_coordinates_that_are_not_finite_give_zeros(extension, device, sampling_ratio, memory_format):
    feature = features_of(1, 8, 16, 16).to(device).contiguous(memory_format=memory_format).requires_grad_()
    boxes = torch.tensor([[math.nan, 1, 5, 5], [1, 1, math.inf, 5], [-math.inf, 1, 5, 5], [1, -3e38, 5, 3e38]])
    pooled = roi_align(feature, with_images(boxes).to(device), 7, sampling_ratio=sampling_ratio)
    assert (pooled == 0).all()
    pooled.sum().backward()
    assert (feature.grad == 0).all()


def test_boxes_beyond_the_range_of_integers(extension, device):
    """The mean over a box of 1e12 pixels of which 16 x 16 are inside: as good as nothing, and no endless loop."""
    pooled = roi_align(torch.ones(1, 8, 16, 16, device=device), torch.tensor([[0.0, -1e12, -1e12, 1e12, 1e12]],
                                                                             device=device), 7)
    assert (pooled.abs() < 1e-6).all()


def test_nan_pixels_stay_in_their_bins(extension, device):
    feature = torch.zeros(1, 1, 8, 8, device=device)
    feature[0, 0, 1, 1] = math.nan
    pooled = roi_align(feature, torch.tensor([[0.0, 0, 0, 8, 8]], device=device), 2)[0, 0]
    assert pooled.isnan().tolist() == [[True, False], [False, False]]


def test_20000_rois(extension, device):
    feature = features_of(1, 2, 24, 32)
    rois = random_rois(20000, 1)
    expected = torchvision.ops.roi_align(feature, rois, 2, 0.5, 0, True)
    result = roi_align(feature.to(device), rois.to(device), 2, 0.5)
    torch.testing.assert_close(result.cpu(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('memory_format', FORMATS)
def test_strided_features(served_by, device, memory_format):
    """A view that is dense in neither format is copied, not misread."""
    feature = features_of(2, 8, 24, 32).to(device).contiguous(memory_format=memory_format)[:, ::2, 1:, ::2]
    rois = random_rois(10, 2).to(device)
    torch.testing.assert_close(roi_align(feature, rois, 3), roi_align(feature.contiguous(), rois, 3))


@pytest.mark.parametrize('memory_format', FORMATS)
def test_backward_does_not_depend_on_threads(cpu_kernels, by_threads, memory_format):
    feature = features_of(2, 72, 24, 32).contiguous(memory_format=memory_format).requires_grad_()
    rois = random_rois(200, 2)
    grads = by_threads(lambda: torch.autograd.grad(roi_align(feature, rois, 7).square().sum(), feature)[0], (1, 2, 5))
    assert torch.equal(grads[0], grads[1]) and torch.equal(grads[0], grads[2])


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize('memory_format', FORMATS)
def test_deterministic_backward_on_cuda(memory_format, dtype):
    feature = features_of(2, 72, 24, 32).contiguous(memory_format=memory_format).to('cuda', dtype).requires_grad_()
    rois = random_rois(2000, 2).to('cuda')
    outer = features_of(2000, 72, 7, 7).to('cuda', dtype)

    def gradient():
        return torch.autograd.grad(roi_align(feature, rois, 7), feature, outer)[0]
    unordered = gradient()
    torch.use_deterministic_algorithms(True)
    try:
        first, *others = [gradient() for _ in range(5)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first, other) for other in others)
    torch.testing.assert_close(first, unordered, rtol=1e-2 if dtype == torch.float16 else 1e-4, atol=1e-3)


@pytest.mark.gpu
def test_deterministic_backward_keeps_one_copy_of_its_sums():
    """They are int64: of four times the memory of bfloat16 gradients."""
    features = [torch.rand(2, 256, side, side, device='cuda', dtype=torch.bfloat16, requires_grad=True)
                for side in (256, 128)]
    pooled = multiscale_roi_align(features, random_rois(8, 2).to('cuda'),
                                  torch.arange(8, device='cuda') % 2, 7, [1., 0.5])
    size = sum(feature.numel() for feature in features)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    torch.use_deterministic_algorithms(True)
    try:
        pooled.sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.cuda.max_memory_allocated() - before < 11 * size  # 8 and 2 bytes of each, and the pooled gradient


@pytest.mark.gpu
def test_deterministic_backward_shows_overflow():
    """An infinite gradient must not come out finite: loss scaling looks for it."""
    feature = torch.ones(1, 4, 8, 8, device='cuda', requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        (roi_align(feature, torch.tensor([[0.0, 0, 0, 8, 8]], device='cuda'), 2) * math.inf).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert not feature.grad.isfinite().any()


@pytest.mark.gpu
def test_indices_out_of_range_give_nan_on_cuda():
    feature = torch.ones(2, 4, 8, 8, device='cuda', requires_grad=True)
    rois = torch.tensor([[0.0, 0, 0, 8, 8], [2, 0, 0, 8, 8], [-1, 0, 0, 8, 8], [1, 0, 0, 8, 8]], device='cuda')
    levels = torch.tensor([0, 0, 0, 3], device='cuda')
    pooled = multiscale_roi_align([feature], rois, levels, 2, [1.0])
    assert pooled.isnan().all((1, 2, 3)).tolist() == [False, True, True, True]


def test_indices_out_of_range_are_refused(cpu_kernels):
    feature = torch.ones(2, 4, 8, 8)
    for image in (2.0, -1.0, math.nan):
        with pytest.raises(ValueError, match='image index'):
            roi_align(feature, torch.tensor([[image, 0, 0, 8, 8]]), 2)
    for level in (-1, 1):
        with pytest.raises(ValueError, match=f'level {level}'):
            multiscale_roi_align([feature], torch.zeros(1, 5), torch.tensor([level]), 2, [1.0])


FEATURE, ROIS, LEVELS = torch.zeros(1, 2, 8, 8), torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64)


MISTAKES = [
    (lambda: roi_align(FEATURE[0], ROIS, 7), 'features must be'),
    (lambda: roi_align(FEATURE.int(), ROIS, 7), 'floating-point'),
    (lambda: roi_align(FEATURE, ROIS[:, :4], 7), 'rois must be'),
    (lambda: roi_align(FEATURE, ROIS.long(), 7), 'rois must be'),
    (lambda: roi_align(FEATURE, ROIS.to('meta'), 7), 'rois on meta'),
    (lambda: roi_align(FEATURE, ROIS, 0), 'output_size'),
    (lambda: multiscale_roi_align([], ROIS, LEVELS, 7, []), '0 feature levels'),
    (lambda: multiscale_roi_align([FEATURE], ROIS, LEVELS, 7, [1.0, 0.5]), '2 spatial_scales'),
    (lambda: multiscale_roi_align([FEATURE], ROIS, LEVELS[:2], 7, [1.0]), 'levels must be'),
    (lambda: multiscale_roi_align([FEATURE], ROIS, LEVELS.float(), 7, [1.0]), 'levels must be'),
    (lambda: multiscale_roi_align([FEATURE, FEATURE.half()], ROIS, LEVELS, 7, [1.0, 1.0]), 'one floating'),
    (lambda: multiscale_roi_align([FEATURE, FEATURE[:, :1]], ROIS, LEVELS, 7, [1.0, 1.0]), 'one N and C'),
]


def test_refuses(subtests):
    for call, message in MISTAKES:
        with subtests.test(str(call)):
            with pytest.raises((ValueError, TypeError), match=message):
                call()


def test_compiles(extension, device):
    """Shapes are known without running: torch.compile keeps the operator in one graph, gradients included."""
    features = [feature.to(device).requires_grad_() for feature in pyramid()]
    rois, levels = random_rois(6, 2).to(device), torch.arange(6, device=device) % 3

    def loss(features):
        return multiscale_roi_align(features, rois, levels, 3, SCALES).square().mean()
    compiled = torch.compile(loss, backend='aot_eager', fullgraph=True)
    expected = torch.autograd.grad(loss(features), features)
    torch.testing.assert_close(torch.autograd.grad(compiled(features), features), expected)
