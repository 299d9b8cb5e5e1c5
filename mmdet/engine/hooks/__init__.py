from .checkpoint_hook import CheckpointHook
from .invalid_loss_hook import CheckInvalidLossHook
from .memory_profiler_hook import MemoryProfilerHook
from .num_class_check_hook import NumClassCheckHook
from .visualization_hook import DetVisualizationHook

__all__ = ['CheckInvalidLossHook', 'CheckpointHook', 'DetVisualizationHook', 'MemoryProfilerHook', 'NumClassCheckHook']
