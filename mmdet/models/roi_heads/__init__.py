from .bbox_head import ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from .cascade_roi_head import CascadeRoIHead
from .deform_roi_pool import DeformRoIPoolPack, ModulatedDeformRoIPoolPack
from .mask_head import FCNMaskHead
from .roi_extractor import RoIAlign, SingleRoIExtractor
from .standard_roi_head import BaseRoIHead, StandardRoIHead

__all__ = ['BaseRoIHead', 'CascadeRoIHead', 'ConvFCBBoxHead', 'DeformRoIPoolPack', 'FCNMaskHead',
           'ModulatedDeformRoIPoolPack', 'RoIAlign', 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead',
           'SingleRoIExtractor', 'StandardRoIHead']
