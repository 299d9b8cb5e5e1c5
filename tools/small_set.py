"""Small generated data at the paths that a config names, as COCO, LVIS, Cityscapes and Pascal VOC have it."""
import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 100, 160
BOXES = [(20, 10, 50, 40), (80, 30, 60, 60), (5, 60, 40, 30)]  # x, y, width, height
NUM_IMAGES = 2
VOC_OBJECT = ('<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>'
              '<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>')


def write_small_set(dataset: dict, classes: Sequence[str]) -> None:
    """Write the files of the config `dataset` of a data set, and of those inside it."""
    for part in innermost_all(dataset):
        root, prefix = Path(part.get('data_root') or ''), part.get('data_prefix') or {}
        if part['type'] in ('VOCDataset', 'XMLDataset'):
            _write_voc(root / prefix.get('sub_data_root', ''), root / part['ann_file'], classes)
        else:
            _write_coco(part, root / part['ann_file'], root / prefix.get('img', ''), classes)


def innermost_all(dataset: dict) -> Iterator[dict]:
    """The configs of the data sets themselves, out of those of wrappers."""
    inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', [])
    for part in inner:
        yield from innermost_all(part)
    if not inner:
        yield dataset


def _picture(path: Path, index: int) -> None:
    image = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    for x, y, w, h in BOXES:
        cv2.rectangle(image, (x, y), (x + w, y + h), (40, 200, 90), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def _write_coco(dataset: dict, ann_file: Path, folder: Path, classes: Sequence[str]) -> None:
    images, annotations = [], []
    city = dataset['type'] == 'CityscapesDataset'
    for i in range(NUM_IMAGES):
        name = f'small/small_{i:06}_000019_leftImg8bit.png' if city else f'{i:012}.png'
        _picture(folder / name, i)
        images.append(dict(id=i, file_name=name, height=HEIGHT, width=WIDTH))
        for k, (x, y, w, h) in enumerate(BOXES):
            annotations.append(dict(
                id=len(annotations) + 1, image_id=i, category_id=k % len(classes) + 1, bbox=[x, y, w, h], area=w * h,
                iscrowd=0, segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]]))
        if city:
            _write_instance_ids(folder / name)
    categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
    if dataset['type'].startswith('LVIS'):
        for image in images:
            image.update(neg_category_ids=[len(classes)], not_exhaustive_category_ids=[1])
        for i, category in enumerate(categories):
            category['frequency'] = 'rcf'[i % 3]
    ann_file.parent.mkdir(parents=True, exist_ok=True)
    ann_file.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    if 'proposal_file' in dataset:
        boxes = np.array(BOXES, np.float32) + np.float32([3, -2, 0, 0])
        boxes[:, 2:] += boxes[:, :2]
        proposals = dict(bboxes=boxes, scores=np.linspace(1, .1, len(boxes), dtype=np.float32))
        path = Path(dataset.get('data_root') or '', dataset['proposal_file'])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps({f'{folder.name}/{image["file_name"]}': proposals for image in images}))


def _write_instance_ids(picture: Path) -> None:
    """The pixels of object k hold 24000 + k: persons."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint16)
    for k, (x, y, w, h) in enumerate(BOXES):
        ids[y:y + h, x:x + w] = 24000 + k
    path = Path(str(picture).replace('leftImg8bit.png', 'gtFine_instanceIds.png').replace('leftImg8bit', 'gtFine'))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), ids)


def _write_voc(root: Path, ann_file: Path, classes: Sequence[str]) -> None:
    names = [f'{i:06}' for i in range(NUM_IMAGES)]
    objects = ''.join(VOC_OBJECT.format(name=classes[k], x1=x + 1, y1=y + 1, x2=x + w, y2=y + h)
                      for k, (x, y, w, h) in enumerate(BOXES))
    for i, name in enumerate(names):
        _picture(root / 'JPEGImages' / f'{name}.jpg', i)
        path = root / 'Annotations' / f'{name}.xml'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'<annotation><filename>{name}.jpg</filename><size><width>{WIDTH}</width>'
                        f'<height>{HEIGHT}</height><depth>3</depth></size>{objects}</annotation>')
    ann_file.parent.mkdir(parents=True, exist_ok=True)
    ann_file.write_text('\n'.join(names))
