"""What all tests share; those marked gpu run only where there is one, which is said."""
import logging

import pytest
import torch
from mmengine.logging import MMLogger


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('gpu'):
                item.add_marker(pytest.mark.skip(reason='no CUDA device'))


@pytest.fixture
def log(caplog):
    """What is logged through mmengine's current logger."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)
