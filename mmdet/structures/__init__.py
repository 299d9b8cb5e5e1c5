from .batch import BatchMasks, GroundTruth
from .boxes import box_area, box_iou, clip_boxes
from .det_data_sample import DetDataSample, SampleList
from .merge import merge_instances

__all__ = ['BatchMasks', 'DetDataSample', 'GroundTruth', 'SampleList', 'box_area', 'box_iou', 'clip_boxes',
           'merge_instances']
