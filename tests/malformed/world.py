"""A small data set, and what is in it as the loader sees it."""
import copy
import json

import cv2
import numpy as np

from mmdet.datasets import CocoDataset

SIZE = (48, 64)  # height, width
CLASSES = ('apple', 'pear', 'plum')
BOXES = {1: [(4, 5, 20, 12), (30, 8, 16, 30)], 2: [(10, 10, 15, 15)], 3: [(1, 2, 30, 20), (40, 20, 12, 12)]}
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='PackDetInputs')]


def polygon(x, y, w, h):
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def annotations():
    """A sound COCO dict of three images, five objects and three classes."""
    images = [dict(id=i, file_name=f'{i}.png', height=SIZE[0], width=SIZE[1]) for i in BOXES]
    anns = []
    for image, boxes in BOXES.items():
        for box in boxes:
            anns.append(dict(id=len(anns) + 1, image_id=image, category_id=len(anns) % 3 + 1, bbox=list(box),
                             area=box[2] * box[3], iscrowd=0, segmentation=polygon(*box)))
    return dict(images=images, annotations=anns,
                categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)])


def draw():
    """Write the pictures into the current folder."""
    for i in BOXES:
        picture = np.random.default_rng(i).integers(0, 255, (*SIZE, 3), np.uint8)
        cv2.imwrite(f'{i}.png', picture)


def write(data, path='ann.json'):
    with open(path, 'w') as file:
        json.dump(data, file)


def seen(ann_file='ann.json'):
    """What a loader gives: for each picture its pixels' sum, and class, box, crowd and mask area of its objects."""
    dataset = CocoDataset(ann_file, metainfo=dict(classes=CLASSES), data_prefix=dict(img=''), pipeline=PIPELINE)
    found = {}
    for i in range(len(dataset)):
        packed = dataset[i]
        sample = packed['data_samples']
        objects = []
        for crowd, instances in enumerate((sample.gt_instances, sample.ignored_instances)):
            objects += [(int(label), tuple(map(float, box)), crowd, int(area)) for label, box, area in
                        zip(instances.labels, instances.bboxes, instances.masks.areas, strict=True)]
        found[sample.img_path] = (int(packed['inputs'].sum()), sorted(objects))
    return found


def sound():
    """What `seen` gives for the sound data set, computed from its definition alone."""
    found, label = {}, 0
    for i, boxes in BOXES.items():
        objects = []
        for x, y, w, h in boxes:
            objects.append((label % 3, (x, y, x + w, y + h), 0, w * h))
            label += 1
        found[f'{i}.png'] = (int(cv2.imread(f'{i}.png').sum(dtype=np.int64)), sorted(objects))
    return found


def changed(data, path, value):
    """A copy of `data` with the entry at `path`, a tuple of keys, replaced, or removed where value is MISSING."""
    data = copy.deepcopy(data)
    *way, last = path
    place = data
    for key in way:
        place = place[key]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return data


MISSING = object()
