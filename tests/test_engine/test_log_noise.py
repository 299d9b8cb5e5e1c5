import importlib
import warnings

import torch
from mmengine.optim import LinearLR

from mmdet.engine import log_noise


def test_a_schedule_that_begins_before_the_first_update_is_no_mistake():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        importlib.reload(log_noise)
        schedule = LinearLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.), start_factor=0.1)
        schedule.step()  # of an accumulated gradient
        schedule.step()
        assert not told, told[0].message
