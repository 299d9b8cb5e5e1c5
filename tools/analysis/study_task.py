"""The pictures of the norm study: small grey patches of textures that differ in fine structure alone.

A patch has a contrast and a brightness of its own, so that they tell nothing of its class. Two kinds: generated
textures, which need nothing, and patches of photographs, whose class is the photograph. Training, validation and test
patches come from different tiles of a photograph.
"""
import functools
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from mmdet.errors import UserError

SIDE = 32
TILE = 64  # pixels of a photograph; each tile belongs to one split
SPLITS = ('train', 'val', 'test')
CLASSES = 16  # of the generated textures
PACKAGED = ('brick.png cell.png chelsea.png coffee.png coins.png grass.png gravel.png hubble_deep_field.jpg ihc.png '
            'motorcycle_left.png page.png text.png').split()


@functools.cache
def load(source, count, split):
    """Patches float32 (count, 1, 32, 32), and their labels (count,): the same for the same arguments.

    source: 'textures'; 'photographs', those that scikit-image brings along; or a folder of photographs.
    """
    seed = SPLITS.index(split)
    if source == 'textures':
        patches, labels = _textures(count, seed)
    else:
        patches, labels = _cut(_photographs(source), count, seed)
    rng = torch.Generator().manual_seed(seed)
    patches = patches - patches.mean((2, 3), keepdim=True)
    patches = patches / (patches.std((2, 3), keepdim=True) + 0.05)
    contrast = torch.empty(count, 1, 1, 1).uniform_(-0.5, 0.5, generator=rng).exp()
    brightness = torch.empty(count, 1, 1, 1).uniform_(-0.5, 0.5, generator=rng)
    noise = torch.randn(patches.shape, generator=rng)
    return patches * contrast + brightness + 0.05 * noise, labels


def _textures(count, seed):
    """Four families of four: white noise through three filters of the class, and the largest of the three."""
    rng = torch.Generator().manual_seed(1234)
    family = torch.randn(CLASSES // 4, 1, 3, 3, 3, generator=rng)
    own = torch.randn(CLASSES // 4, 4, 3, 3, 3, generator=rng)
    filters = F.interpolate((family + own).flatten(0, 1), size=7, mode='bilinear').unsqueeze(2)
    filters = filters - filters.mean((3, 4), keepdim=True)
    filters = filters / filters.square().sum((3, 4), keepdim=True).sqrt()
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=rng)
    patches = torch.empty(count, 1, SIDE, SIDE)
    for label, filter_ in enumerate(filters):
        mine = labels == label
        noise = torch.randn(int(mine.sum()), 1, SIDE + 6, SIDE + 6, generator=rng)
        patches[mine] = F.conv2d(noise, filter_).amax(1, keepdim=True)
    return patches, labels


@functools.cache
def _photographs(source):
    """Grey pictures float32 in [0, 1]."""
    if source == 'photographs':
        try:
            import skimage
        except ImportError as error:
            raise UserError('--task photographs takes those of scikit-image: pip install scikit-image') from error
        files = [Path(skimage.__file__).parent / 'data' / name for name in PACKAGED]
    else:
        files = sorted(path for path in Path(source).glob('*') if path.suffix.lower() in ('.jpg', '.jpeg', '.png'))
    pictures = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    lost = [str(file) for file, picture in zip(files, pictures, strict=True) if picture is None]
    if lost:
        raise UserError(f'--task {source}: {lost[0]} is missing, or no picture that OpenCV reads')
    pictures = [picture.astype(np.float32) / 255 for picture in pictures if min(picture.shape) >= 2 * TILE]
    if len(pictures) < 2:
        raise UserError(f'--task {source}: a folder with two or more photographs of {2 * TILE} pixels a side or more '
                        'is needed')
    return pictures


def _cut(pictures, count, split):
    """Random squares, of which some pixels are joined, within the tiles of one split."""
    rng = np.random.default_rng(split)
    tiles = []
    for picture in pictures:
        height, width = (edge // TILE for edge in picture.shape)
        places = [(y, x) for y in range(height) for x in range(width) if ((0, 2, 0, 1)[(y + 2 * x) % 4]) == split]
        tiles.append([picture[y * TILE:(y + 1) * TILE, x * TILE:(x + 1) * TILE] for y, x in places])
    labels = rng.integers(len(pictures), size=count)
    patches = np.empty((count, 1, SIDE, SIDE), np.float32)
    for patch, label in zip(patches, labels, strict=True):
        tile = tiles[label][rng.integers(len(tiles[label]))]
        side = int(rng.integers(SIDE, TILE))
        y, x = rng.integers(TILE - side + 1, size=2)
        square = cv2.resize(tile[y:y + side, x:x + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        patch[0] = np.rot90(square, rng.integers(4))
    return torch.from_numpy(patches), torch.from_numpy(labels)
