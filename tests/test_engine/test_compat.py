import importlib.metadata
import pickle

import mmengine.config.config
import mmengine.utils
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import OptimWrapper
from mmengine.runner import CheckpointLoader, load_checkpoint, save_checkpoint

from mmdet.engine import compat


def test_mmengine_reads_its_own_checkpoints(tmp_path):
    hub = MessageHub.get_instance('compat')
    for value in (3., 1., 2.):
        hub.update_scalar('train/loss', value)
    hub.update_scalar('val/mAP', torch.tensor(0.5))
    save_checkpoint(dict(state_dict={}, message_hub=hub.state_dict()), str(tmp_path / 'a.pth'))
    history = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert (history.min(), history.max(), history.mean(), history.current()) == (1, 3, 2, 2)
    assert HistoryBuffer([1., 5.], [1, 1]).statistics('max') == 5  # reading has not touched the class


def test_mmengine_loads_through_our_reader(tmp_path):
    source, target = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'a.pth')
    load_checkpoint(target, str(tmp_path / 'a.pth'))
    assert torch.equal(source.weight, target.weight)
    with pytest.raises(FileNotFoundError, match='checkpoint .*none.pth does not exist'):
        load_checkpoint(target, str(tmp_path / 'none.pth'))
    for scheme in ('', 'http://', 'https://', 'torchvision://', 'open-mmlab://', 'openmmlab://', 'modelzoo://'):
        assert CheckpointLoader._get_checkpoint_loader(scheme + 'a') is compat.load_from_mmdet


@pytest.mark.parametrize('state', [
    None, {}, dict(_log_history=[1]), dict(_log_history=np.ones(2), _count_history=np.ones(3)),
    dict(_log_history=np.array(['a']), _count_history=np.ones(1))], ids=str)
def test_a_history_without_numbers_is_refused(state):
    with pytest.raises(pickle.UnpicklingError):
        compat.SavedHistory.__new__(compat.SavedHistory).__setstate__(state)


def test_packages_are_found_without_pkg_resources():
    assert mmengine.utils.is_installed('numpy') and mmengine.utils.is_installed('opencv-python')
    assert mmengine.utils.is_installed('mmdet') and not mmengine.utils.is_installed('no_such_package')
    assert mmengine.utils.get_installed_path('torch') == torch.__path__[0]
    assert mmengine.config.config.get_installed_path('opencv-python').endswith('cv2')
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        mmengine.utils.get_installed_path('no_such_package')


def test_config_inherits_from_an_installed_package(tmp_path, monkeypatch):
    configs = tmp_path / 'zoo_of_a_test/.mim/configs/net'
    configs.mkdir(parents=True)
    (tmp_path / 'zoo_of_a_test/__init__.py').write_text('')
    (tmp_path / 'zoo_of_a_test/.mim/model-index.yml').write_text('Import: []\n')
    (configs / 'net.py').write_text('model = dict(depth=50)\n')
    (tmp_path / 'mine.py').write_text("_base_ = 'zoo_of_a_test::net/net.py'\nmodel = dict(width=2)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr('mmengine.config.config._get_package_and_cfg_path',
                        lambda path: tuple(path.split('::')))  # mmengine knows its own packages alone
    assert mmengine.Config.fromfile(tmp_path / 'mine.py').model == dict(depth=50, width=2)


@pytest.fixture
def hub():
    return MessageHub.get_instance(f'hub {id(object())}')


class Unread:
    """Counts how often tensors are read; .item() is."""

    def __init__(self, monkeypatch):
        self.times = 0
        for name in ('item', 'tolist'):
            monkeypatch.setattr(torch.Tensor, name, self.counted(getattr(torch.Tensor, name)))

    def counted(self, method):
        def read(tensor):
            self.times += 1
            return method(tensor)
        return read


def test_scalars_stay_on_the_device_until_they_are_asked_for(hub, monkeypatch):
    reads = Unread(monkeypatch)
    losses = torch.tensor([[0.5, 2.], [0.25, 1.], [1 / 3, 0.]], requires_grad=True)
    for i, (a, b) in enumerate(losses):
        hub.update_scalar('train/a', a)
        hub.update_scalar('train/b', b, count=4, resumed=False)
        hub.update_scalar('train/lr', 0.1 * i)
    assert reads.times == 0
    assert hub.get_scalar('train/a').data[0].tolist() == [0.5, 0.25, losses[2, 0].item()]
    assert hub.log_scalars['train/b'].data[1].tolist() == [4, 4, 4]
    assert hub.get_scalar('train/b').current() == 0 and hub.get_scalar('train/lr').current() == 0.2
    hub.update_scalar('train/a', losses[0, 1])
    state = hub.state_dict()
    assert state['log_scalars']['train/a'].current() == 2 and 'train/b' not in state['log_scalars']


def test_scalars_of_several_kinds(hub):
    values = torch.tensor([3]), torch.tensor(2.5, dtype=torch.bfloat16), 7, torch.tensor(1e-300, dtype=torch.float64)
    for value in values:
        hub.update_scalar('value', value)
    assert hub.get_scalar('value').data[0].tolist() == [3, 2.5, 7, 1e-300]
    with pytest.raises(RuntimeError, match='shape'):
        hub.update_scalar('value', torch.zeros(2))


def test_norm_of_the_gradients_stays_on_the_device(hub, monkeypatch):
    weight = torch.nn.Parameter(torch.tensor([3., 4.]))
    unused = torch.nn.Parameter(torch.ones(1))
    wrapper = OptimWrapper(torch.optim.SGD([weight, unused], 1.), clip_grad=dict(max_norm=1.))
    wrapper.message_hub = hub
    reads = Unread(monkeypatch)
    wrapper.update_params((weight * weight).sum() / 2)
    assert reads.times == 0
    assert hub.get_scalar('train/grad_norm').current() == 5
    torch.testing.assert_close(weight.detach(), torch.tensor([3 - 0.6, 4 - 0.8]))
