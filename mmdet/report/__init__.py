from .evaluated import Evaluated
from .figure_name import figure_name
from .run import EVALUATED, Run

__all__ = ['EVALUATED', 'Evaluated', 'Run', 'figure_name']
