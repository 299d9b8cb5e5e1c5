import random

import numpy as np
import torch

from mmdet.checkpoints import read_checkpoint
from mmdet.engine.random_state import get_random_state, set_random_state


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(2).tolist()


def test_generators_go_on_where_they_were(tmp_path):
    draw()
    torch.save(dict(state=get_random_state()), tmp_path / 'a.pth')
    expected = [draw() for _ in range(3)]
    set_random_state(read_checkpoint(tmp_path / 'a.pth')['state'])
    assert [draw() for _ in range(3)] == expected
