"""VOCDataset: Pascal VOC's folders, one XML file a picture."""
import os.path as osp
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from mmengine import fileio

from mmdet.errors import MissingFileError, UserError
from mmdet.registry import DATASETS

from .annotations import AnnotationTable
from .annotations.build import build_table
from .annotations.json_file import Entries
from .coco import CocoDataset
from .coco_classes import COCO_PALETTE
from .picture_file import PICTURE_SUFFIXES, picture_size
from .voc_xml import read_voc_xml

VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
               'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')


@DATASETS.register_module()
class XMLDataset(CocoDataset):
    """Pictures with boxes and classes from XML files in Pascal VOC's form.

    Corners become those of mmdetection: truncated to whole pixels, minus 1, because VOC counts pixels from 1. Objects
    marked difficult are ignored (ignore_flag), and so are those narrower or lower than filter_cfg's bbox_min_size in
    training. Classes are matched by name: see CocoDataset.

    Args:
        ann_file: a list of picture names without suffix, such as VOC2007/ImageSets/Main/trainval.txt; without it all
            files of the folder `ann_subdir` are taken.
        img_subdir, ann_subdir: folders of pictures and XML files in data_prefix['sub_data_root'], else in data_root.
        metainfo, kwargs: those of CocoDataset.

    Raises:
        FileNotFoundError, ValueError: a file is missing or wrong; names it, the object, the value and the cure.
    """
    ann_file: str

    def __init__(self, ann_file: str = '', metainfo: Mapping | None = None, *args: Any, img_subdir: str = 'JPEGImages',
                 ann_subdir: str = 'Annotations', **kwargs: Any):
        self.img_subdir, self.ann_subdir = img_subdir, ann_subdir
        super().__init__(ann_file, metainfo, *args, **kwargs)

    @property
    def sub_data_root(self) -> str:
        return self.data_prefix.get('sub_data_root') or self.data_root or ''

    def _image_folder(self) -> str:
        return self.sub_data_root

    def _read_table(self) -> AnnotationTable:
        self.ann_file = self.ann_file or osp.join(self.sub_data_root, self.ann_subdir)  # what messages name
        images: list[dict] = []
        annotations: list[dict] = []
        positions: dict[str, int] = {}
        for name in self._names():
            xml = osp.join(self.sub_data_root, self.ann_subdir, f'{name}.xml')
            with fileio.get_local_path(xml, backend_args=self.backend_args) as path:
                content = read_voc_xml(path)
            file_name = self._file_name(name, content.filename)
            height, width = content.size or self._size(file_name)
            images.append(dict(id=name, file_name=file_name, height=height, width=width))
            for item in content.objects:
                x1, y1, x2, y2 = (int(side) - 1 for side in item.corners)
                annotations.append(dict(
                    image_id=name, category_id=positions.setdefault(item.name, len(positions)),
                    bbox=[x1, y1, x2 - x1, y2 - y1], iscrowd=item.difficult or self._too_small(x2 - x1, y2 - y1)))
        categories = [dict(id=positions[name], name=name) for name in sorted(positions)]
        return build_table(Entries(_encoded(images), _encoded(annotations), _encoded(categories), complete=True),
                           self.ann_file)

    def _kept_objects(self, table: AnnotationTable, labels: np.ndarray) -> np.ndarray:
        # A box of one pixel has xmin = xmax: no room to learn in, but ground truth that counts.
        return (labels >= 0)[table.category] if self.test_mode else super()._kept_objects(table, labels)

    def _names(self) -> Iterator[str]:
        if osp.isdir(self.ann_file):
            yield from sorted(path.stem for path in Path(self.ann_file).glob('*.xml') if path.name[0] != '.')
            return
        try:
            text = fileio.get_text(self.ann_file, backend_args=self.backend_args)
        except FileNotFoundError:
            raise MissingFileError(f'{self.ann_file}, the list of pictures, does not exist. Set ann_file, and '
                                   'data_root if ann_file is relative, to a file of ImageSets/Main.') from None
        except UnicodeDecodeError:
            raise UserError(f'{self.ann_file} is no list of pictures: it is not UTF-8 text') from None
        yield from (line.strip() for line in text.splitlines() if line.strip())

    def _file_name(self, name: str, filename: str) -> str:
        """The picture in the folder sub_data_root: NAME.jpg, or where that is missing what there is."""
        suffixes = dict.fromkeys(('.jpg', osp.splitext(filename)[1], *PICTURE_SUFFIXES))
        known = (osp.join(self.img_subdir, name + suffix) for suffix in suffixes if suffix)
        return next((file for file in known if osp.isfile(osp.join(self.sub_data_root, file))),
                    osp.join(self.img_subdir, f'{name}.jpg'))

    def _size(self, file_name: str) -> tuple[int, int]:
        with fileio.get_local_path(osp.join(self.sub_data_root, file_name), backend_args=self.backend_args) as path:
            return picture_size(path)[:2]

    def _too_small(self, width: int, height: int) -> bool:
        least = (self.filter_cfg or {}).get('bbox_min_size') or 0
        return not self.test_mode and min(width, height) < least


@DATASETS.register_module()
class VOCDataset(XMLDataset):
    """Pascal VOC 2007 and 2012, and data in its form; metainfo['dataset_type'] tells VOCMetric which.

    Without classes in `metainfo` they are VOC's 20, or the names in the files, sorted, where others stand there.
    Arguments and errors are XMLDataset's.
    """
    METAINFO = dict(classes=VOC_CLASSES, palette=COCO_PALETTE[:len(VOC_CLASSES)])
    USUAL_METAINFO = METAINFO

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        year = next((year for year in ('VOC2007', 'VOC2012') if year in self.sub_data_root), None)
        self._metainfo['dataset_type'] = year


def _encoded(entries: list[dict]) -> list[msgspec.Raw]:
    return [msgspec.Raw(msgspec.json.encode(entry)) for entry in entries]
