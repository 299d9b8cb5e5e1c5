from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import toy_run
from mmengine.dataset import BaseDataset
from mmengine.structures import InstanceData
from torch import nn

from mmdet.engine import Runner
from mmdet.engine.hooks import CheckInvalidLossHook, DetVisualizationHook
from mmdet.engine.hooks.num_class_check_hook import check_num_classes
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer


class Head(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes


@pytest.mark.parametrize('heads, classes, match', [
    (dict(rpn_head=1, bbox_head=2), ('a', 'b'), None), (dict(bbox_head=2), None, None),
    (dict(bbox_head=80), ('a', 'b'), r'model.bbox_head.num_classes is 80.*2 classes \(a, b\).*num_classes=2'),
    (dict(bbox_head=6), 'person', r"\('person',\)")])
def test_num_classes(heads, classes, match):
    model = nn.ModuleDict({name: Head(count) for name, count in heads.items()})
    dataset = SimpleNamespace(metainfo=dict(classes=classes))
    if match is None:
        check_num_classes(model, dataset)
    else:
        with pytest.raises(ValueError, match=match):
            check_num_classes(model, dataset)


def test_num_classes_are_checked_unless_the_config_says_no(tmp_path):
    runner = Runner.from_cfg(toy_run.config(tmp_path / 'a', experiment_name='a'))
    assert 'NumClassCheckHook' in runner.get_hooks_info() and 'CheckInvalidLossHook' in runner.get_hooks_info()
    runner = Runner.from_cfg(toy_run.config(tmp_path / 'b', experiment_name='b', **{'default_hooks.num_classes': None}))
    assert 'NumClassCheckHook' not in runner.get_hooks_info()


def test_invalid_loss_names_term_and_image():
    hook = CheckInvalidLossHook(interval=3)
    bad = dict(loss=torch.tensor(float('nan')), loss_mask=torch.tensor(float('nan')), loss_cls=torch.tensor(1.))
    batches = [dict(data_samples=[DetDataSample(metainfo=dict(img_path=f'{name}.jpg'))]) for name in 'abc']
    hook.after_train_iter(SimpleNamespace(iter=0), 0, batches[0], dict(loss=torch.tensor(1.5)))
    hook.after_train_iter(SimpleNamespace(iter=1), 1, batches[1], bad)  # not looked at
    with pytest.raises(ValueError, match='iteration 2: loss, loss_mask. Images of this batch: b.jpg.*lr'):
        hook.after_train_iter(SimpleNamespace(iter=2), 2, batches[2], bad)


def test_memory_is_logged(tmp_path):
    runner = toy_run.train(tmp_path, custom_hooks=[dict(type='MemoryProfilerHook', interval=4)])
    log = (tmp_path / runner.timestamp / f'{runner.timestamp}.log').read_text()
    assert log.count('peak memory of the process') == 6  # at the fourth step of three trainings and validations


@pytest.fixture
def tested(tmp_path):
    """What a hook sees of a test: (runner, outputs of a batch of one image)."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((40, 60, 3), 200, np.uint8))
    sample = DetDataSample(metainfo=dict(img_path=str(tmp_path / 'a.png')))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[5., 5., 20., 20.]]), labels=torch.tensor([0]))
    sample.pred_instances = InstanceData(bboxes=torch.tensor([[30., 10., 50., 30.]]), labels=torch.tensor([1]),
                                         scores=torch.tensor([0.9]))
    visualizer = DetLocalVisualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path / 'log'))
    return SimpleNamespace(visualizer=visualizer, work_dir=str(tmp_path), timestamp='now', iter=0), [sample]


def test_pictures_of_a_test_show_truth_and_predictions(tested, tmp_path):
    runner, outputs = tested
    DetVisualizationHook(test_out_dir='shown').after_test_iter(runner, 0, None, outputs)
    assert not (tmp_path / 'now').exists(), 'drawing is off by default'
    DetVisualizationHook(draw=True, test_out_dir='shown').after_test_iter(runner, 0, None, outputs)
    picture = cv2.imread(str(tmp_path / 'now/shown/a.png'))
    assert picture.shape == (40, 120, 3)
    assert (picture[20, 10:60] != 200).any() and (picture[25, 80:] != 200).any()
    DetVisualizationHook(draw=True, test_out_dir=str(tmp_path / 'there')).after_test_iter(runner, 0, None, outputs)
    assert (tmp_path / 'there/a.png').exists()


def test_no_picture_of_a_test_overwrites_another(tested, tmp_path):
    runner, (sample,) = tested
    paths = [tmp_path / 'cam1/a.png', tmp_path / 'cam2/a.png']
    infos = [dict(img_path=str(path)) for path in paths]
    runner.test_dataloader = SimpleNamespace(dataset=BaseDataset(lazy_init=True, serialize_data=False))
    runner.test_dataloader.dataset.load_data_list = lambda: infos
    runner.test_dataloader.dataset.full_init()
    for path in paths:
        path.parent.mkdir()
        cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
        hook = DetVisualizationHook(draw=True, test_out_dir='shown')  # of another process
        hook.before_test(runner)
        sample.set_metainfo(dict(img_path=str(path)))
        hook.after_test_iter(runner, 0, None, [sample])
    assert sorted(path.parent.name for path in (tmp_path / 'now/shown').rglob('a.png')) == ['cam1', 'cam2']


def test_pictures_of_a_validation_go_to_the_backends(tested, tmp_path):
    runner, outputs = tested
    hook = DetVisualizationHook(draw=True, interval=2)
    for batch_idx in range(4):
        hook.after_val_iter(runner, batch_idx, None, outputs)
    assert len(list((tmp_path / 'log').rglob('val_img_*.png'))) == 2
