from .batch import BatchMasks, GroundTruth, Proposals
from .boxes import box_area, box_iou, clip_boxes, to_rois
from .det_data_sample import DetDataSample, SampleList
from .merge import merge_instances

__all__ = ['BatchMasks', 'DetDataSample', 'GroundTruth', 'Proposals', 'SampleList', 'box_area', 'box_iou', 'clip_boxes',
           'merge_instances', 'to_rois']
