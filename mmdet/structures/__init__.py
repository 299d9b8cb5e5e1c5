from mmdet.ops import box_area, box_iou, clip_boxes, to_rois

from .batch import BatchMasks, GroundTruth, Proposals, pack_image_sizes, packed_lists, to_host
from .det_data_sample import DetDataSample, OptSampleList, SampleList
from .merge import merge_instances

__all__ = ['BatchMasks', 'DetDataSample', 'GroundTruth', 'OptSampleList', 'Proposals', 'SampleList', 'box_area',
           'box_iou', 'clip_boxes', 'merge_instances', 'pack_image_sizes', 'packed_lists', 'to_host', 'to_rois']
