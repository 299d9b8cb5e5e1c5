from .evaluated import Evaluated
from .run import EVALUATED, Run

__all__ = ['EVALUATED', 'Evaluated', 'Run']
