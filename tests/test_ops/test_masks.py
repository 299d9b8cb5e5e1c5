import math

import pytest
import torch
import torchvision

from mmdet.ops import crop_masks, paste_masks

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


def test_crop_opcheck(extension, device):
    pixels, windows, _ = (tensor.to(device) for tensor in windows_and_images())
    starts = torch.zeros_like(windows[:, 0])
    boxes, index = random_boxes(4).to(device), torch.zeros(4, dtype=torch.int64, device=device)
    torch.library.opcheck(torch.ops.mmdet.crop_masks, (pixels, windows, starts, boxes, index, 7, HEIGHT, WIDTH))


def test_crop_refuses_what_would_read_foreign_memory(extension):
    pixels, boxes, index = torch.zeros(16, dtype=torch.uint8), torch.zeros(1, 4), torch.tensor([0])
    for window in ([-1, 0, 3, 4], [0, 0, 4, 9], [6, 0, 10, 4], [4, 0, 0, 4]):
        with pytest.raises(RuntimeError, match='window 0'):
            crop_masks(pixels, torch.tensor([window]), boxes, index, 7, 8, 8)
    with pytest.raises(RuntimeError, match='16 pixels'):
        crop_masks(pixels, torch.tensor([[0, 0, 5, 4]]), boxes, index, 7, 8, 8)
    with pytest.raises(RuntimeError, match='index 1'):
        crop_masks(pixels, torch.tensor([[0, 0, 4, 4]]), boxes, index + 1, 7, 8, 8)


def pasted_by_grid_sample(probs, boxes, threshold):
    x = torch.arange(WIDTH, dtype=torch.float64) + 0.5
    y = torch.arange(HEIGHT, dtype=torch.float64) + 0.5
    x1, y1, x2, y2 = boxes.double()[:, :, None].unbind(1)
    x, y = (x - x1) / (x2 - x1) * 2 - 1, (y - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), -1)
    values = torch.nn.functional.grid_sample(probs.double()[:, None], grid, align_corners=False)[:, 0]
    return values >= threshold


@pytest.mark.parametrize('threshold', [0.1, 0.5])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_paste_is_grid_sample(served_by, device, dtype, threshold):
    hostile = [[-100.0, -100, 200, 200], [100, 100, 120, 120], [3, 3, 3.2, 3.2]]
    boxes = torch.cat([random_boxes(40), torch.tensor(hostile)])
    probs = torch.rand(len(boxes), 14, 10, generator=torch.Generator().manual_seed(3)).to(dtype)
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


PIXELS, WINDOWS, BOXES = torch.zeros(9, dtype=torch.uint8), torch.tensor([[0, 0, 3, 3]]), torch.zeros(1, 4)
INDEX, PROBS = torch.tensor([0]), torch.zeros(1, 7, 7)


@pytest.mark.parametrize('call, message', [
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
])
def test_refuses(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
