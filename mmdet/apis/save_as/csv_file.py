"""Detections as a table."""
import csv
from collections.abc import Sequence
from pathlib import Path

from ..detected import Record

COLUMNS = ('file_name', 'label', 'class', 'score', 'x1', 'y1', 'x2', 'y2')


class CsvFile:
    """Writes a row of COLUMNS for each detection; boxes are in pixels."""

    def __init__(self, path: Path, classes: Sequence[str]):
        self.classes = classes
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, 'w', encoding='utf-8', errors='surrogateescape', newline='')
        self.rows = csv.writer(self.file)
        self.rows.writerow(COLUMNS)

    def write(self, record: Record) -> None:
        prediction = record.prediction
        for label, score, box in zip(prediction['labels'], prediction['scores'], prediction['bboxes'], strict=True):
            self.rows.writerow([record.name, label, self.classes[label], f'{score:.4f}',
                                *(f'{value:.2f}' for value in box)])

    def close(self) -> None:
        self.file.close()
