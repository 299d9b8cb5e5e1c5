from .boxes import box_area, box_iou, clip_boxes
from .coco_json import read_coco_json
from .det_data_sample import DetDataSample, SampleList

__all__ = ['DetDataSample', 'SampleList', 'box_area', 'box_iou', 'clip_boxes', 'read_coco_json']
