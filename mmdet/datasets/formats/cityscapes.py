"""Cityscapes: gtFine/SPLIT/CITY/*_gtFine_instanceIds.png, with the pictures in leftImg8bit."""
import re

import cv2
import numpy as np
from pycocotools import mask as mask_api

from mmdet.errors import UserError
from mmdet.progress import progress

from .options import Options
from .records import Collection, Object, Picture, encode
from .tree import Tree, split_of

CLASSES = {24: 'person', 25: 'rider', 26: 'car', 27: 'truck', 28: 'bus', 31: 'train', 32: 'motorcycle', 33: 'bicycle'}
IDS = re.compile(r'_(gtFine|gtCoarse)_instanceIds$')


def recognizes(tree: Tree) -> bool:
    return any(IDS.search(path.stem) for path in tree.ending('.png'))


def read(tree: Tree, options: Options) -> Collection:
    """The 8 classes that have instances; groups, whose pixels hold the class alone, are crowds."""
    found = Collection(classes=list(CLASSES.values()))
    for path in progress(tree.ending('.png'), 'reading'):
        if not IDS.search(path.stem):
            continue
        with found.collect():
            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if pixels is None or pixels.ndim != 2:
                raise UserError(f'{path} is no picture of instance ids: it must be a PNG of one channel')
            objects = []
            for number in np.unique(pixels).tolist():
                name = CLASSES.get(number // 1000 if number >= 1000 else number)
                if name:
                    rle = encode(pixels == number)
                    x, y, width, height = mask_api.toBbox(rle).tolist()
                    objects.append(Object(name, (x, y, width, height), rle, crowd=number < 1000))
            image = tree.picture(IDS.sub('_leftImg8bit.png', path.stem), path)
            height, width = pixels.shape
            found.pictures.append(Picture(image, height, width, objects, split_of(path.parent, tree.root)))
    return found
