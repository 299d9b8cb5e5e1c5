"""The data set that a config tests on, beside a file of predictions."""
from typing import Any

from mmengine.config import Config

from mmdet.engine.config import read_config
from mmdet.errors import UserError
from mmdet.evaluation.prediction_file import read_predictions
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules


def tested(config: str, predictions: str, options: dict | None = None) -> tuple[Config, Any, list[dict]]:
    """The config, the data set of its test_dataloader, and one prediction for each image of it (read_predictions).

    Raises:
        UserError: the config has no test_dataloader, or the predictions are of other images.
    """
    register_all_modules()
    cfg = read_config(config, options)
    if cfg.get('test_dataloader') is None:
        raise UserError(f'config {config} has no test_dataloader')
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, 'pipeline': []}
                             if 'pipeline' in cfg.test_dataloader.dataset else cfg.test_dataloader.dataset)
    return cfg, dataset, read_predictions(predictions, dataset)
