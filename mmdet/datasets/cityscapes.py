"""CityscapesDataset: instances of Cityscapes in COCO's form."""
from mmdet.registry import DATASETS

from .coco import CocoDataset


@DATASETS.register_module()
class CityscapesDataset(CocoDataset):
    """The 8 classes of Cityscapes that have instances. Arguments and errors are CocoDataset's.

    Annotation files are those that cityscapesScripts or tools/convert/dataset.py write. To filter_cfg.filter_empty_gt
    an image with nothing but crowds is empty, too.
    """
    METAINFO = dict(classes=('person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle'),
                    palette=[(220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100),
                             (0, 0, 230), (119, 11, 32)])
    CROWDS_COUNT = False
