"""Detections as an annotation file of COCO's form."""
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pycocotools import mask as mask_api

from ..detected import Record


class CocoFile:
    """Writes images, annotations (with scores) and categories; numbers of categories begin at 1.

    What is known of a picture is written at once, so that any number of pictures takes little memory.
    """

    def __init__(self, path: Path, classes: Sequence[str]):
        self.path, self.classes = path, classes
        self.images = tempfile.TemporaryFile('w+', encoding='utf-8')
        self.num_images = self.num_annotations = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, 'w', encoding='utf-8')
        self.file.write('{"annotations": [')

    def write(self, record: Record) -> None:
        prediction = record.prediction
        self.num_images += 1
        self.images.write((',\n' if self.num_images > 1 else '') + json.dumps(dict(
            id=self.num_images, file_name=record.name, height=record.height, width=record.width)))
        for i, (label, score, (x1, y1, x2, y2)) in enumerate(zip(prediction['labels'], prediction['scores'],
                                                                 prediction['bboxes'], strict=True)):
            self.num_annotations += 1
            annotation = dict(id=self.num_annotations, image_id=self.num_images, category_id=label + 1, score=score,
                              bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), iscrowd=0)
            if 'masks' in prediction:
                mask = prediction['masks'][i]
                annotation.update(segmentation=mask, area=float(mask_api.area(mask)))
            self.file.write((',\n' if self.num_annotations > 1 else '') + json.dumps(annotation))

    def close(self) -> None:
        self.images.seek(0)
        self.file.write('],\n"images": [')
        while text := self.images.read(1 << 20):
            self.file.write(text)
        categories = [dict(id=label + 1, name=name) for label, name in enumerate(self.classes)]
        self.file.write(f'],\n"categories": {json.dumps(categories)}}}')
        self.file.close()
        self.images.close()
