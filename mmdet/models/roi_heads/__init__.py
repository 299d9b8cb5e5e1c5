from .bbox_head import BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from .cascade_roi_head import CascadeRoIHead
from .deform_roi_pool import DeformRoIPoolPack, ModulatedDeformRoIPoolPack
from .double_head import DoubleConvFCBBoxHead, DoubleHeadRoIHead
from .dynamic_roi_head import DynamicRoIHead
from .mask_head import FCNMaskHead
from .res_layer import ResLayer
from .roi_extractor import RoIAlign, SingleRoIExtractor
from .standard_roi_head import BaseRoIHead, StandardRoIHead

__all__ = ['BBoxHead', 'BaseRoIHead', 'CascadeRoIHead', 'ConvFCBBoxHead', 'DeformRoIPoolPack', 'DoubleConvFCBBoxHead',
           'DoubleHeadRoIHead', 'DynamicRoIHead', 'FCNMaskHead', 'ModulatedDeformRoIPoolPack', 'ResLayer', 'RoIAlign',
           'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead', 'SingleRoIExtractor', 'StandardRoIHead']
