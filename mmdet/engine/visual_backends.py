"""The packages that visual backends log through, looked for before a training starts."""
import importlib.util
from typing import Any

from mmdet.errors import UserError

BACKEND_PACKAGES = {'TensorboardVisBackend': 'tensorboard', 'WandbVisBackend': 'wandb', 'MLflowVisBackend': 'mlflow',
                    'ClearMLVisBackend': 'clearml', 'NeptuneVisBackend': 'neptune', 'DVCLiveVisBackend': 'dvclive',
                    'AimVisBackend': 'aim'}


def check_packages(visualizer: Any) -> None:
    """Raise ImportError when the config of a visualizer names a backend whose package is not installed."""
    for backend in visualizer.get('vis_backends') or [] if isinstance(visualizer, dict) else []:
        package = BACKEND_PACKAGES.get(backend.get('type', '')) if isinstance(backend, dict) else None
        if package and importlib.util.find_spec(package) is None:
            raise UserError(f'visualizer.vis_backends names {backend["type"]}, which needs a package that is not '
                            f'installed: pip install {package}. To go without: --cfg-options visualizer=None')
