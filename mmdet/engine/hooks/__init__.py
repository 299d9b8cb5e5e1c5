from .cbn_hook import CBNHook
from .checkpoint_hook import CheckpointHook
from .invalid_loss_hook import CheckInvalidLossHook
from .memory_profiler_hook import MemoryProfilerHook
from .num_class_check_hook import NumClassCheckHook
from .precise_bn_hook import PreciseBNHook
from .report_hook import ReportHook
from .stop_hook import StopHook
from .visualization_hook import DetVisualizationHook

__all__ = ['CBNHook', 'CheckInvalidLossHook', 'CheckpointHook', 'DetVisualizationHook', 'MemoryProfilerHook',
           'NumClassCheckHook', 'PreciseBNHook', 'ReportHook', 'StopHook']
