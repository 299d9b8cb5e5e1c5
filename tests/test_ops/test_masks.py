import math

import numpy as np
import pytest
import torch
import torchvision
from pycocotools import mask as mask_api

from mmdet.ops import crop_masks, paste_masks, paste_masks_as_rle
from mmdet.ops.mask_rle import slow_mask_runs

HEIGHT, WIDTH = 40, 56


def windows_and_images():
    """Windows inside, at every edge, over all of the image, and an empty one; and the full masks they stand for."""
    windows = torch.tensor([[5, 7, 20, 30], [0, 0, 9, 9], [40, 28, WIDTH, HEIGHT], [0, 0, WIDTH, HEIGHT], [0, 0, 0, 0],
                            [12, 12, 13, 13]])
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(len(windows), HEIGHT, WIDTH)
    pixels = []
    for image, (x1, y1, x2, y2) in zip(images, windows.tolist(), strict=True):
        window = torch.randint(0, 2, (y2 - y1, x2 - x1), generator=generator, dtype=torch.uint8)
        image[y1:y2, x1:x2] = window
        pixels.append(window.flatten())
    return torch.cat(pixels), windows, images


def random_boxes(count):
    corners = torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * 50 - 8
    sizes = torch.rand(count, 2, generator=torch.Generator().manual_seed(2)) * 40
    return torch.cat([corners, corners + sizes], 1)


@pytest.mark.parametrize('size', [1, 7, 28])
def test_crop_is_roi_align_of_the_full_mask(served_by, device, size):
    pixels, windows, images = windows_and_images()
    hostile = [[0.0, 0, WIDTH, HEIGHT], [-30, -30, 90, 90], [100, 100, 120, 120], [9, 9, 9, 9], [30, 30, 10, 10]]
    boxes = torch.cat([random_boxes(60), torch.tensor(hostile)])
    index = torch.arange(len(boxes)) % len(windows)
    rois = torch.cat([index[:, None], boxes], 1)
    expected = torchvision.ops.roi_align(images[:, None], rois, size, 1.0, 0, True)[:, 0]
    result = crop_masks(pixels.to(device), windows.to(device), boxes.to(device), index.to(device), size, HEIGHT, WIDTH)
    torch.testing.assert_close(result.cpu(), expected, rtol=1e-5, atol=1e-5)


def test_crop_by_hand(served_by, device):
    """A window of ones over columns 2 to 5: of four bins of two columns over columns 0 to 7, the second and third."""
    result = crop_masks(torch.ones(16, dtype=torch.uint8, device=device), torch.tensor([[2, 0, 6, 4]], device=device),
                        torch.tensor([[0.0, 0, 8, 4]], device=device), torch.tensor([0], device=device), 4, 8, 8)
    assert result[0].tolist() == [[0, 1, 1, 0]] * 4


def test_crop_nothing(served_by, device):
    none = torch.zeros(0, 4, dtype=torch.int64, device=device)
    result = crop_masks(torch.zeros(0, dtype=torch.uint8, device=device), none, none.float(), none[:, 0], 28, 10, 10)
    assert result.shape == (0, 28, 28)
    window, box, first = none.new_zeros(1, 4), torch.ones(1, 4, device=device), none.new_zeros(1)
    for size in ((0, 10), (10, 0)):  # images without pixels
        assert not crop_masks(window.new_zeros(0, dtype=torch.uint8), window, box, first, 7, *size).any()


def test_crop_opcheck(extension, device):
    pixels, windows, _ = (tensor.to(device) for tensor in windows_and_images())
    starts = torch.zeros_like(windows[:, 0])
    boxes, index = random_boxes(4).to(device), torch.zeros(4, dtype=torch.int64, device=device)
    torch.library.opcheck(torch.ops.mmdet.crop_masks, (pixels, windows, starts, boxes, index, 7, HEIGHT, WIDTH))


def test_crop_refuses_what_would_read_foreign_memory(cpu_kernels):
    pixels, boxes, index = torch.zeros(16, dtype=torch.uint8), torch.zeros(1, 4), torch.tensor([0])
    for window in ([-1, 0, 3, 4], [0, 0, 4, 9], [6, 0, 10, 4], [4, 0, 0, 4]):
        with pytest.raises(ValueError, match='window 0'):
            crop_masks(pixels, torch.tensor([window]), boxes, index, 7, 8, 8)
    with pytest.raises(ValueError, match='16 pixels'):
        crop_masks(pixels, torch.tensor([[0, 0, 5, 4]]), boxes, index, 7, 8, 8)
    with pytest.raises(ValueError, match='index 1'):
        crop_masks(pixels, torch.tensor([[0, 0, 4, 4]]), boxes, index + 1, 7, 8, 8)


def pasted_by_grid_sample(probs, boxes, threshold):
    x = torch.arange(WIDTH, dtype=torch.float64) + 0.5
    y = torch.arange(HEIGHT, dtype=torch.float64) + 0.5
    x1, y1, x2, y2 = boxes.double()[:, :, None].unbind(1)
    x, y = (x - x1) / (x2 - x1) * 2 - 1, (y - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), -1)
    values = torch.nn.functional.grid_sample(probs.double()[:, None], grid, align_corners=False)[:, 0]
    return values >= threshold


@pytest.mark.parametrize('dtype, threshold, size', [(torch.float32, 0.1, (14, 3)), (torch.bfloat16, 0.1, (3, 14)),
                                                    (torch.float32, 0.5, (14, 10))])
def test_paste_is_grid_sample(served_by, device, dtype, threshold, size):
    hostile = [[-100.0, -100, 200, 200], [100, 100, 120, 120], [3, 3, 3.2, 3.2]]
    boxes = torch.cat([random_boxes(40), torch.tensor(hostile)])
    probs = torch.rand(len(boxes), *size, generator=torch.Generator().manual_seed(3)).to(dtype)
    result = paste_masks(probs.to(device), boxes.to(device), HEIGHT, WIDTH, threshold)
    assert result.dtype == torch.bool
    assert torch.equal(result.cpu(), pasted_by_grid_sample(probs, boxes, threshold))


def test_paste_by_hand(served_by, device):
    """Ones pasted into a box cover just the pixels whose centres it holds, at exactly the threshold too."""
    probs = torch.full((1, 28, 28), 0.5, device=device)
    mask = paste_masks(probs, torch.tensor([[10.0, 5, 20, 8]], device=device), 16, 32, 0.5)[0]
    inside = [(mask[5:8, 11:19]).all(), mask.any(1).nonzero().min() == 5, mask.any(1).nonzero().max() == 7]
    assert all(inside)
    assert mask.sum() == 30


def test_boxes_without_area_paste_nothing(served_by, device):
    boxes = torch.tensor([[5.0, 5, 5, 9], [9, 9, 5, 5], [math.nan, 1, 5, 5], [1, 1, math.inf, 5]], device=device)
    assert not paste_masks(torch.ones(4, 7, 7, device=device), boxes, HEIGHT, WIDTH, 0.5).any()


def test_paste_nothing(served_by, device):
    probs, boxes = torch.ones(2, 28, 28, device=device), torch.ones(2, 4, device=device)
    assert paste_masks(probs[:0], boxes[:0], 9, 8, 0.5).shape == (0, 9, 8)
    assert paste_masks(probs, boxes, 0, 8, 0.5).shape == (2, 0, 8)


def test_paste_opcheck(extension, device):
    probs = torch.rand(3, 7, 7, device=device)
    torch.library.opcheck(torch.ops.mmdet.paste_masks, (probs, random_boxes(3).to(device), HEIGHT, WIDTH, 0.5))


def hostile_boxes(height, width):
    """Beyond every edge, along them, over all of the image, outside it, without area, and not finite."""
    h, w = float(height), float(width)
    return torch.tensor([
        [-9, -9, w + 9, h + 9], [0, 0, w, h], [-3, 2, w / 2, h - 2], [w / 2, -7, w + 5, h + 7], [0, -7, w / 3, h + 7],
        [w - 1, 0, w, h], [0, h - 1, w, h], [0.4, 0.4, 0.6, 0.6], [w + 3, 0, w + 9, h], [-9, -9, -3, -3],
        [-1e6, -1e6, 1e6, 1e6], [-3e38, -3e38, 3e38, 3e38], [0, 0, 1e-40, 1e-40], [3, 3, 3 + 1e-6, 9],
        [5, 5, 5, 9], [9, 9, 5, 5], [math.nan, 1, 5, 5], [1, 1, math.inf, 5], [-math.inf, 1, 5, 5]])


def assert_rles_are_those_of_the_bitmaps(probs, boxes, height, width, threshold):
    masks = paste_masks(probs, boxes, height, width, threshold).cpu().numpy()
    rles = paste_masks_as_rle(probs, boxes, height, width, threshold)
    assert len(rles) == len(masks)
    for mask, rle in zip(masks, rles, strict=True):
        expected = mask_api.encode(np.asfortranarray(mask, np.uint8))
        assert rle == dict(size=[height, width], counts=expected['counts'].decode())
        assert np.array_equal(mask_api.decode(rle), mask)


@pytest.mark.parametrize('height, width, dtype', [
    (HEIGHT, WIDTH, torch.float32), (HEIGHT, WIDTH, torch.float64), (150, 9, torch.float16), (7, 160, torch.bfloat16),
    (1, 1, torch.float32), (1, 50, torch.bfloat16), (50, 1, torch.float64)])
def test_rle_is_that_of_the_bitmap(served_by, device, height, width, dtype):
    generator = torch.Generator().manual_seed(4)
    corners, sizes = torch.rand(2, 60, 2, generator=generator)
    scale = torch.tensor([width, height])
    corners = (corners * 1.4 - 0.3) * scale
    boxes = torch.cat([torch.cat([corners, corners + sizes * scale], 1), hostile_boxes(height, width)])
    probs = torch.rand(len(boxes), 28, 28, generator=generator)
    probs[::3] = torch.nn.functional.interpolate(probs[::3, None, :5, :5], (28, 28), mode='bilinear')[:, 0]
    for threshold in (0.1, 0.5):
        assert_rles_are_those_of_the_bitmaps(probs.to(device, dtype), boxes.to(device), height, width, threshold)


@pytest.mark.parametrize('value', [0., 0.5, 1., math.nan, math.inf])
def test_rle_of_maps_of_one_value(served_by, device, value):
    """All above, all below, and at the threshold: runs go on from column to column only in masks of full height."""
    boxes = hostile_boxes(HEIGHT, WIDTH).to(device)
    probs = torch.full((len(boxes), 28, 28), value, device=device)
    assert_rles_are_those_of_the_bitmaps(probs, boxes, HEIGHT, WIDTH, 0.5)


def test_rle_of_maps_with_holes_that_are_no_numbers(extension, device):
    generator = torch.Generator().manual_seed(5)
    boxes = torch.cat([random_boxes(60), hostile_boxes(HEIGHT, WIDTH)])
    probs = torch.rand(len(boxes), 14, 10, generator=generator)
    for hole in (math.nan, math.inf, -math.inf):
        probs[torch.rand(probs.shape, generator=generator) < 0.1] = hole
    assert_rles_are_those_of_the_bitmaps(probs.to(device), boxes.to(device), HEIGHT, WIDTH, 0.5)


def test_rle_of_many_masks_in_a_large_image(extension, device):
    generator = torch.Generator().manual_seed(6)
    corners = torch.rand(300, 2, generator=generator) * 900 - 100
    boxes = torch.cat([corners, corners + 400 * torch.rand(300, 2, generator=generator)], 1)
    probs = torch.rand(300, 28, 28, generator=generator)
    for some in range(0, 300, 100):
        part = slice(some, some + 100)
        assert_rles_are_those_of_the_bitmaps(probs[part].to(device), boxes[part].to(device), 480, 640, 0.5)
    rles = paste_masks_as_rle(probs.to(device), boxes.to(device), 480, 640, 0.5)
    assert rles[250] == paste_masks_as_rle(probs[250:251].to(device), boxes[250:251].to(device), 480, 640, 0.5)[0]


def test_rle_by_hand(served_by, device):
    """Ones over all rows of columns 1 and 2, of 3 rows: 3 pixels without, 6 with, 3 without; '0' is zero."""
    rle, = paste_masks_as_rle(torch.ones(1, 28, 28, device=device), torch.tensor([[1., 0, 3, 3]], device=device), 3, 4,
                              0.5)
    assert rle == dict(size=[3, 4], counts='363')


def test_rle_of_nothing(served_by, device):
    probs, boxes = torch.ones(2, 28, 28, device=device), torch.ones(2, 4, device=device)
    assert paste_masks_as_rle(probs[:0], boxes[:0], 9, 8, 0.5) == []
    for size in ((0, 8), (8, 0)):
        assert paste_masks_as_rle(probs, boxes, *size, 0.5) == [dict(size=list(size), counts='0')] * 2


@pytest.mark.gpu
def test_every_device_pastes_the_same_pixels(extension):
    boxes = torch.cat([random_boxes(200), hostile_boxes(HEIGHT, WIDTH)])
    probs = torch.rand(len(boxes), 28, 28, generator=torch.Generator().manual_seed(7))
    assert torch.equal(paste_masks(probs.cuda(), boxes.cuda(), HEIGHT, WIDTH, 0.5).cpu(),
                       paste_masks(probs, boxes, HEIGHT, WIDTH, 0.5))


def test_runs_are_those_of_the_slow_form(extension, device):
    boxes = torch.cat([random_boxes(30), hostile_boxes(HEIGHT, WIDTH)[:10]]).to(device)
    probs = torch.rand(len(boxes), 28, 28, generator=torch.Generator().manual_seed(8)).to(device)
    runs, num_runs = torch.ops.mmdet.mask_runs(probs, boxes, HEIGHT, WIDTH, 0.5)
    expected, num_expected = slow_mask_runs(probs, boxes, HEIGHT, WIDTH, 0.5)
    assert torch.equal(runs, expected) and torch.equal(num_runs, num_expected)


def test_rle_opcheck(extension, device):
    probs, boxes = torch.rand(3, 7, 7, device=device), random_boxes(3).to(device)
    torch.library.opcheck(torch.ops.mmdet.mask_runs, (probs, boxes, HEIGHT, WIDTH, 0.5))
    runs, num_runs = torch.ops.mmdet.mask_runs(probs, boxes, HEIGHT, WIDTH, 0.5)
    torch.library.opcheck(torch.ops.mmdet.encode_runs, (runs.cpu(), num_runs.cpu(), HEIGHT * WIDTH))


def test_encoding_refuses_runs_that_are_not_there(cpu_kernels):
    for num_runs in ([2], [-1], [1, 1]):
        with pytest.raises(RuntimeError, match='encode_runs: num_runs'):
            torch.ops.mmdet.encode_runs(torch.tensor([[0, 3]]), torch.tensor(num_runs), 9)


PIXELS, WINDOWS, BOXES = torch.zeros(9, dtype=torch.uint8), torch.tensor([[0, 0, 3, 3]]), torch.zeros(1, 4)
INDEX, PROBS = torch.tensor([0]), torch.zeros(1, 7, 7)


MISTAKES = [
    (lambda: crop_masks(PIXELS.float(), WINDOWS, BOXES, INDEX, 7, 8, 8), 'pixels must be uint8'),
    (lambda: crop_masks(PIXELS, WINDOWS.float(), BOXES, INDEX, 7, 8, 8), 'windows must be int64'),
    (lambda: crop_masks(PIXELS, WINDOWS, torch.zeros(1, 5), INDEX, 7, 8, 8), 'rois must be'),
    (lambda: crop_masks(PIXELS, WINDOWS, BOXES, INDEX.repeat(2), 7, 8, 8), 'index must be'),
    (lambda: crop_masks(PIXELS, WINDOWS, BOXES, INDEX, 0, 8, 8), 'size must be positive'),
    (lambda: crop_masks(PIXELS, WINDOWS, BOXES.to('meta'), INDEX, 7, 8, 8), 'rois on meta'),
    (lambda: paste_masks(PROBS[0], BOXES, 8, 8, 0.5), 'probs must be'),
    (lambda: paste_masks(PROBS, BOXES.repeat(2, 1), 8, 8, 0.5), 'probs must be'),
    (lambda: paste_masks(PROBS.int(), BOXES, 8, 8, 0.5), 'floating point'),
    (lambda: paste_masks(PROBS, BOXES.to('meta'), 8, 8, 0.5), 'boxes on meta'),
    (lambda: paste_masks(PROBS, BOXES, 8, 8, 0), 'threshold must be positive'),
    (lambda: paste_masks_as_rle(PROBS[0], BOXES, 8, 8, 0.5), 'paste_masks_as_rle: probs must be'),
    (lambda: paste_masks_as_rle(PROBS, BOXES, 8, 8, math.nan), 'threshold must be positive'),
]


def test_refuses(subtests):
    for call, message in MISTAKES:
        with subtests.test(str(call)):
            with pytest.raises((ValueError, TypeError), match=message):
                call()
