"""Detections as labelme's files, to be corrected by hand."""
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv

from mmdet.engine.result_names import ResultNames

from ..detected import Record
from .outlines import outlines


class LabelmeFiles:
    """Writes FOLDER/NAME.json for each picture, which it names by a relative path; what is no file is written beside.

    A detection is a rectangle or, of a model with masks, a polygon; the parts of one mask share a group_id.
    """

    def __init__(self, folder: Path, classes: Sequence[str], names: ResultNames):
        self.folder, self.classes, self.names = folder, classes, names

    def write(self, record: Record) -> None:
        path = self.folder / self.names(record.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = record.image
        if not isinstance(picture, str):
            mmcv.imwrite(picture, str(path.with_suffix('.jpg')))
            picture = str(path.with_suffix('.jpg'))
        if '://' not in picture:
            picture = os.path.relpath(picture, path.parent)
        shapes: list[dict[str, Any]] = []
        for i, (label, box) in enumerate(zip(record.prediction['labels'], record.prediction['bboxes'], strict=True)):
            score = round(record.prediction['scores'][i], 4)
            if 'masks' in record.prediction:
                polygons = outlines(record.prediction['masks'][i])
                shapes += [self._shape(label, score, polygon, 'polygon', i if len(polygons) > 1 else None)
                           for polygon in polygons]
            else:
                shapes.append(self._shape(label, score, [round(value, 2) for value in box], 'rectangle', None))
        path.write_text(json.dumps(dict(version='5.5.0', flags={}, shapes=shapes, imagePath=picture, imageData=None,
                                        imageHeight=record.height, imageWidth=record.width), indent=1))

    def _shape(self, label: int, score: float, values: list[float], kind: str, group: int | None) -> dict[str, Any]:
        points = [values[i:i + 2] for i in range(0, len(values), 2)]
        return dict(label=self.classes[label], points=points, group_id=group, description=f'score {score}',
                    shape_type=kind, flags={}, mask=None)

    def close(self) -> None:
        pass
