"""The loss of a validation is the training's loss in evaluation mode, and changes nothing in the training."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub

from mmdet.engine import LogProcessor, Runner
from mmdet.engine.check_config import check_config
from mmdet.engine.config import read_config
from mmdet.errors import UserError
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules


def trained(tiny, tmp_path, **options):
    register_all_modules()
    cfg = read_config(str(tiny), {'work_dir': str(tmp_path), 'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1,
                                  'val_dataloader.batch_size': 3, **options})
    cfg.default_hooks.report = None
    cfg.experiment_name = tmp_path.name
    torch.manual_seed(0)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def test_equals_the_loss_in_evaluation_mode(tiny, tmp_path):
    with_loss = trained(tiny, tmp_path / 'with', **{'val_cfg.loss': True, 'default_hooks.checkpoint.save_best':
                                                    'val_loss'})
    given = {name.removeprefix('val/'): buffer.current() for name, buffer in with_loss.message_hub.log_scalars.items()
             if 'val_' in name}
    cfg, model = with_loss.cfg, with_loss.model
    dataset = cfg.val_dataloader.dataset
    load, resize, annotations, pack = dataset.pipeline
    assert annotations['type'] == 'LoadAnnotations'
    dataset.pipeline = [load, annotations, resize, pack]  # boxes and masks are resized with the picture
    data = [DATASETS.build(dict(dataset))[i] for i in range(8)]
    sums = {}
    model.eval()
    for number in range(3):
        batch = model.data_preprocessor(pseudo_collate(data[3 * number:3 * number + 3]), True)
        torch.manual_seed(number)
        with torch.no_grad():
            losses = model(**batch, mode='loss')
        for name, value in losses.items():
            if 'loss' in name:
                sums[f'val_{name}'] = sums.get(f'val_{name}', 0) + value.item() * len(batch['inputs'])
    expected = {name: value / 8 for name, value in sums.items()}
    expected['val_loss'] = sum(expected.values())
    assert given == pytest.approx(expected, rel=1e-5) and len(given) == 6
    assert list((tmp_path / 'with').glob('best_val_loss_epoch_1.pth'))

    without = trained(tiny, tmp_path / 'without')
    for (name, ours), theirs in zip(with_loss.model.state_dict().items(), without.model.state_dict().values(),
                                    strict=True):
        assert torch.equal(ours, theirs), name


def test_the_log_tells_that_of_the_last_validation():
    hub = MessageHub('two validations')
    for loss, seconds in ((3., 1.), (2., 2.)):
        hub.update_scalars({'val/val_loss': loss, 'val/own/loss': loss, 'val/time': seconds})
    told = LogProcessor(window_size=2)._collect_scalars([], SimpleNamespace(message_hub=hub), 'val')
    assert told == {'val_loss': 2., 'own/loss': 2., 'time': 1.5}


def test_it_needs_annotations(tiny, tmp_path):
    cfg = read_config(str(tiny), {'work_dir': str(tmp_path), 'val_cfg.loss': True})
    cfg.val_dataloader.dataset.pipeline.pop(2)
    with pytest.raises(UserError, match='val_cfg.loss=True needs the annotations'):
        Runner.from_cfg(cfg).train()
    cfg = read_config(str(tiny), {'default_hooks.checkpoint.save_best': 'val_loss'})
    with pytest.raises(UserError, match='val_loss.*is no metric'):
        check_config(cfg)
