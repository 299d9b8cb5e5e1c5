import json

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope


@pytest.fixture(autouse=True)
def mmdet_scope():
    init_default_scope('mmdet')


def blocks(height, width):
    """A picture whose pixel at (x, y) is (x, y, 128)."""
    image = np.full((height, width, 3), 128, np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    return image


class TinyCoco:
    """A COCO folder of four images: polygons, two kinds of RLE, a crowd, and an image without annotations."""

    def __init__(self, root):
        self.root = root
        self.ann_file = root / 'ann.json'
        self.data = dict(
            images=[dict(id=10, file_name='wide.png', height=40, width=60),
                    dict(id=20, file_name='tall.png', height=60, width=40),
                    dict(id=30, file_name='empty.png', height=40, width=60),
                    dict(id=40, file_name='small.png', height=20, width=24)],
            categories=[dict(id=2, name='acorn'), dict(id=5, name='birch'), dict(id=9, name='cedar')],
            annotations=[
                self.square(1, 10, 5, [10, 5, 20, 15]), self.square(2, 10, 2, [30, 20, 10, 10]),
                dict(self.square(3, 10, 2, [0, 30, 50, 10]), iscrowd=1,
                     segmentation=dict(size=[40, 60], counts=self.runs(40, 60, 0, 30, 50, 10))),
                self.square(4, 20, 9, [4, 8, 12, 16]), self.square(5, 40, 2, [2, 2, 8, 8])])
        (root / 'images').mkdir()
        for image in self.data['images']:
            cv2.imwrite(str(root / 'images' / image['file_name']), blocks(image['height'], image['width']))
        self.save()

    @staticmethod
    def square(i, image_id, category_id, box):
        x, y, w, h = box
        return dict(id=i, image_id=image_id, category_id=category_id, bbox=box, area=w * h, iscrowd=0,
                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]])

    @staticmethod
    def runs(height, width, x, y, w, h):
        """Uncompressed RLE counts of a box, by walking down the columns."""
        pixels = [x <= c < x + w and y <= r < y + h for c in range(width) for r in range(height)]
        counts, value = [0], False
        for pixel in pixels:
            if pixel != value:
                counts.append(0)
                value = pixel
            counts[-1] += 1
        return counts

    def save(self):
        self.ann_file.write_text(json.dumps(self.data))

    def config(self, **kwargs):
        return dict(data_root=str(self.root), ann_file='ann.json', data_prefix=dict(img='images/'), **kwargs)


@pytest.fixture
def tiny(tmp_path):
    return TinyCoco(tmp_path)
