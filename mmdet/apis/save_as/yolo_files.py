"""Detections as YOLO's text files."""
import json
from collections.abc import Sequence
from pathlib import Path

from mmdet.engine.result_names import ResultNames

from ..detected import Record
from .outlines import outlines


class YoloFiles:
    """Writes FOLDER/NAME.txt for each picture and FOLDER/data.yaml with the names of the classes.

    A line is the label, then centre, width and height of the box or, of a model with masks, the points of the largest
    part of the mask; all as shares of the picture's width and height.
    """

    def __init__(self, folder: Path, classes: Sequence[str], names: ResultNames):
        self.folder, self.names = folder, names
        folder.mkdir(parents=True, exist_ok=True)
        listed = ''.join(f'  {label}: {json.dumps(name)}\n' for label, name in enumerate(classes))
        (folder / 'data.yaml').write_text(f'names:\n{listed}', encoding='utf-8')

    def write(self, record: Record) -> None:
        prediction, width, height = record.prediction, record.width, record.height
        lines = []
        for i, (label, (x1, y1, x2, y2)) in enumerate(zip(prediction['labels'], prediction['bboxes'], strict=True)):
            values = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
            if 'masks' in prediction:
                polygons = outlines(prediction['masks'][i])
                if not polygons:  # no pixel is in the mask
                    continue
                values = polygons[0]
            shares = (value / (height if place % 2 else width) for place, value in enumerate(values))
            lines.append(' '.join([str(label), *(f'{share:.6f}' for share in shares)]) + '\n')
        path = self.folder / self.names(record.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(lines))

    def close(self) -> None:
        pass
