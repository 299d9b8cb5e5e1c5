"""What a training step costs on a GPU, counted without one: its operators, their bytes and FLOP."""
from .costs import Cost, Device, cost
from .log import Entry, OperatorLog
from .step import record

__all__ = ['Cost', 'Device', 'Entry', 'OperatorLog', 'cost', 'record']
