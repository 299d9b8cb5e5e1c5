"""Training and testing on top of mmengine's Runner."""
from . import lean_imports  # isort: skip  # noqa: F401  # before what it makes lean
from . import compat, hooks
from .amp import AmpOptimWrapper
from .layer_decay import LearningRateDecayOptimizerConstructor
from .log_processor import LogProcessor
from .loops import EpochBasedTrainLoop, IterBasedTrainLoop, ValLoop
from .optimizers import Lion
from .pretrained import PretrainedInit
from .runner import Runner

compat.apply()

__all__ = ['AmpOptimWrapper', 'EpochBasedTrainLoop', 'IterBasedTrainLoop',
           'LearningRateDecayOptimizerConstructor', 'Lion', 'LogProcessor', 'PretrainedInit', 'Runner',
           'ValLoop', 'hooks']
