"""Detections in the forms of other programs."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.engine.result_names import ResultNames
from mmdet.errors import UserError

from .coco_file import CocoFile
from .csv_file import CsvFile
from .labelme_files import LabelmeFiles
from .yolo_files import YoloFiles

ONE_FILE = {'coco': (CocoFile, 'coco.json'), 'csv': (CsvFile, 'detections.csv')}
A_FILE_EACH = {'yolo': (YoloFiles, '.txt'), 'labelme': (LabelmeFiles, '.json')}
FORMATS = (*ONE_FILE, *A_FILE_EACH)


def writers(formats: Sequence[str], out_dir: str | Path, classes: Sequence[str],
            found: Sequence[str]) -> dict[str, Any]:
    """For each format what has write(record) and close(); it writes into out_dir.

    found: the paths of all pictures, as far as they are known; their files get names of one form.
    """
    made: dict[str, Any] = {}
    for name in formats:
        if name in ONE_FILE:
            make, file = ONE_FILE[name]
            made[name] = make(Path(out_dir, file), classes)
        elif name in A_FILE_EACH:
            names = ResultNames(A_FILE_EACH[name][1])
            names.plan(found)
            made[name] = A_FILE_EACH[name][0](Path(out_dir, name), classes, names)
        else:
            raise UserError(f'unknown format {name!r}; known: {", ".join(FORMATS)}')
    return made


__all__ = ['FORMATS', 'ONE_FILE', 'CocoFile', 'CsvFile', 'LabelmeFiles', 'YoloFiles', 'writers']
