"""The images of a CocoDataset, as dicts that are made when they are asked for."""
import os.path as osp
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from .annotations import AnnotationTable


class CocoImages(Sequence):
    """dicts of img_path, img_id, height, width and instances, one an image.

    Processes and workers share the table behind them; a dict is the caller's own.

    Args:
        folder: what file names are relative to.
        labels: (C,) int64, label of each category of the table, -1 for those that are left out.
        kept: (N,) bool, the objects that become instances; see learnable_objects.
        positions: (n,) int64, the images of the table that are meant; by default all.
    """

    def __init__(self, table: AnnotationTable, folder: str, labels: np.ndarray, kept: np.ndarray,
                 positions: np.ndarray | None = None):
        self.table, self.folder, self.labels, self.kept = table, folder, labels, kept
        self.positions = np.arange(table.num_images) if positions is None else positions

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, index: int) -> dict: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> 'CocoImages': ...

    def __getitem__(self, index: int | slice | np.ndarray) -> 'dict | CocoImages':
        """The dict of one image; for a slice, or an array of integers or booleans, the images chosen."""
        chosen = self.positions[index]
        if np.ndim(chosen):
            return CocoImages(self.table, self.folder, self.labels, self.kept, chosen)
        height, width = self.table.sizes[chosen].tolist()
        return dict(img_path=self._path(int(chosen)), img_id=self.table.image_id(int(chosen)), height=height,
                    width=width, instances=self._instances(int(chosen)))

    def __deepcopy__(self, memo: dict) -> 'CocoImages':
        return self  # nothing of it changes

    @property
    def sizes(self) -> np.ndarray:
        """(n, 2), height and width of each image."""
        return self.table.sizes[self.positions]

    def num_instances(self, crowds: bool) -> np.ndarray:
        """(n,) int64, instances of each image, with or without the crowds among them."""
        counted = self.kept if crowds else self.kept & ~self.table.crowd
        return np.bincount(self.table.image[counted], minlength=self.table.num_images)[self.positions]

    def labels_of(self, index: int) -> list[int]:
        """Labels of the instances of one image."""
        objects = self.table.objects(self.positions[index])
        return self.labels[self.table.category[objects[self.kept[objects]]]].tolist()

    def paths(self) -> Iterator[str]:
        """img_path of each image."""
        return map(self._path, self.positions.tolist())

    def _path(self, i: int) -> str:
        path = osp.join(self.folder, self.table.file_name(i))
        if '\\' in path and not osp.exists(path) and osp.exists(path.replace('\\', '/')):
            return path.replace('\\', '/')  # annotated on Windows
        return path

    def _instances(self, i: int) -> list[dict]:
        table, objects = self.table, self.table.objects(i)
        objects = objects[self.kept[objects]]
        corners = table.boxes[objects]
        corners[:, 2:] += corners[:, :2]
        labels, crowds = self.labels[table.category[objects]].tolist(), table.crowd[objects].tolist()
        instances = []
        for box, label, crowd, mask in zip(corners.tolist(), labels, crowds, table.segmentations(objects), strict=True):
            instances.append(dict(bbox=box, bbox_label=label, ignore_flag=int(crowd)))
            if mask is not None:
                instances[-1]['mask'] = mask
        return instances
