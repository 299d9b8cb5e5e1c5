from .cbn_hook import CBNHook
from .checkpoint_hook import CheckpointHook
from .early_stopping_hook import EarlyStoppingHook
from .invalid_loss_hook import CheckInvalidLossHook
from .memory_profiler_hook import MemoryProfilerHook
from .num_class_check_hook import NumClassCheckHook
from .precise_bn_hook import PreciseBNHook
from .progress_hook import ProgressHook
from .report_hook import ReportHook
from .stop_hook import StopHook
from .visualization_hook import DetVisualizationHook

__all__ = ['CBNHook', 'CheckInvalidLossHook', 'CheckpointHook', 'DetVisualizationHook', 'EarlyStoppingHook',
           'MemoryProfilerHook', 'NumClassCheckHook', 'PreciseBNHook', 'ProgressHook', 'ReportHook', 'StopHook']
