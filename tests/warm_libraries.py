"""What the warm process imports once: LIBRARIES, as lean as a training imports them."""
import gc
import importlib
import runpy
from pathlib import Path

from warm_process import LIBRARIES

LEAN = runpy.run_path(str(Path(__file__).parents[1] / 'mmdet/engine/lean_imports.py'))
for name in LIBRARIES:
    importlib.import_module(name)
gc.freeze()  # what is there stays: no script need look through it
