import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from small_detector import write_detector

from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.evaluation.coco_metric import encode_masks
from mmdet.literals import literal_config
from mmdet.structures import DetDataSample

DEMO = Path(__file__).parents[2] / 'configs/demo/mask-rcnn_demo_256.py'
CLASSES = ('ellipse', 'triangle', 'rectangle', 'star', 'cross')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a config whose random weights find something, its checkpoint, and a folder of two images."""
    folder = tmp_path_factory.mktemp('apis')
    write_detector(folder, DEMO)
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir()
    for name, size in (('one.png', (90, 120)), ('two.png', (200, 100))):
        cv2.imwrite(str(folder / 'images' / name), rng.integers(0, 255, (*size, 3), np.uint8))
    (folder / 'images/notes.txt').write_text('no image')
    return folder


def assert_equal(one, other):
    for name in ('bboxes', 'scores', 'labels', 'masks'):
        assert torch.equal(one.pred_instances[name], other.pred_instances[name]), name


def test_init_detector(folder):
    model = init_detector(folder / 'net.py', folder / 'net.pth')
    assert not model.training and model.cfg.model.backbone.depth == 18
    assert model.dataset_meta['classes'] == ('a', 'b', 'c', 'd', 'e') and model.dataset_meta['palette'][0] == (1, 2, 3)
    expected = torch.load(folder / 'net.pth', weights_only=True)['state_dict']['rpn_head.rpn_conv.weight']
    assert torch.equal(model.rpn_head.rpn_conv.weight.cpu(), expected)
    random = init_detector(Config.fromfile(folder / 'net.py'), cfg_options={'model.test_cfg.rcnn.score_thr': 0.5})
    assert random.dataset_meta['classes'] == CLASSES and random.cfg.model.test_cfg.rcnn.score_thr == 0.5


def test_names_of_the_classes(folder, log):
    """The checkpoint's; without one the config's, if they are as many as the model has."""
    def names(checkpoint, classes, num_classes=5):
        cfg = Config.fromfile(folder / 'net.py')
        inner = dict(cfg.test_dataloader.dataset, metainfo=dict(classes=classes))
        cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner])
        cfg.merge_from_dict({'model.roi_head.bbox_head.num_classes': num_classes,
                             'model.roi_head.mask_head.num_classes': num_classes})
        return init_detector(cfg, checkpoint).dataset_meta['classes']
    assert names(folder / 'net.pth', ('e', 'a', 'b', 'c', 'd')) == ('a', 'b', 'c', 'd', 'e')
    assert "names the classes 'e', 'a', 'b', 'c', 'd', the checkpoint 'a', 'b', 'c', 'd', 'e'" in log.text
    assert names(None, ('e', 'a', 'b', 'c', 'd')) == ('e', 'a', 'b', 'c', 'd')
    assert names(None, ('e', 'a'), 3) == ('class 0', 'class 1', 'class 2')
    assert "3 classes, but 2 names are known, 'e', 'a'" in log.text


@pytest.mark.parametrize('palette, first', [('coco', (220, 20, 60)), ('red', (255, 0, 0)), ('none', (230, 60, 60))])
def test_palettes(folder, palette, first):
    assert tuple(init_detector(folder / 'net.py', palette=palette).dataset_meta['palette'][0]) == first


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_gpu_that_is_not_there_falls_back_to_the_cpu(folder):
    assert next(init_detector(folder / 'net.py', device='cuda:0').parameters()).device.type == 'cpu'


def test_checkpoint_of_another_model_is_refused(folder):
    with pytest.raises(ValueError, match='net.pth does not fit MaskRCNN(.|\n)*missing in the file'):
        init_detector(folder / 'net.py', folder / 'net.pth', cfg_options={'model.backbone.depth': 34})


def test_inference_on_paths_arrays_and_lists(folder):
    model = init_detector(folder / 'net.py', folder / 'net.pth')
    path = folder / 'images/one.png'
    result = inference_detector(model, str(path))
    assert isinstance(result, DetDataSample)
    assert 0 < len(result.pred_instances) <= 4 and result.pred_instances.masks.shape[1:] == (90, 120)
    assert result.pred_instances.masks.dtype == torch.bool
    boxes = result.pred_instances.bboxes
    assert (boxes >= 0).all() and (boxes[:, [0, 2]] <= 120).all() and (boxes[:, [1, 3]] <= 90).all()
    assert not boxes.requires_grad
    assert_equal(result, inference_detector(model, cv2.imread(str(path))))
    both = inference_detector(model, [path, folder / 'images/two.png'])
    assert len(both) == 2
    assert_equal(result, both[0])


def test_missing_image_is_named(folder):
    with pytest.raises(FileNotFoundError, match='none.jpg does not exist'):
        inference_detector(init_detector(folder / 'net.py'), 'none.jpg')


def test_inferencer_on_a_folder(folder, tmp_path):
    inferencer = DetInferencer(str(folder / 'net.py'), str(folder / 'net.pth'), show_progress=False)
    results = inferencer(str(folder / 'images'), out_dir=str(tmp_path), no_save_pred=False, pred_score_thr=0.)
    assert len(results['predictions']) == len(results['visualization']) == 2
    assert {path.name for path in (tmp_path / 'vis').iterdir()} == {'one.png', 'two.png'}
    prediction = json.loads((tmp_path / 'preds/two.json').read_text())
    assert prediction == json.loads(json.dumps(results['predictions'][1]))
    assert prediction['masks'][0]['size'] == [200, 100] and len(prediction['bboxes'][0]) == 4
    assert results['visualization'][1].shape == (200, 100, 3)
    expected = inference_detector(inferencer.model, folder / 'images/two.png')
    np.testing.assert_allclose(prediction['bboxes'], expected.pred_instances.bboxes.cpu(), atol=1e-3)
    assert prediction['masks'] == encode_masks(expected.pred_instances.masks)


def test_no_result_overwrites_another(folder, tmp_path):
    inferencer = DetInferencer(folder / 'net.py', folder / 'net.pth', show_progress=False)
    image = cv2.imread(str(folder / 'images/one.png'))[:40, :40]
    paths = [tmp_path / name for name in ('cam1/1.png', 'cam2/1.png', 'cam2/1.jpg')]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image)
    inferencer(paths, out_dir=str(tmp_path / 'out'), no_save_pred=False)
    inferencer((path for path in [folder / 'images/one.png', image]), out_dir=str(tmp_path / 'out'), no_save_pred=False)
    written = sorted(str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*.*'))
    assert written == ['preds/00000000.json', 'preds/cam1/1.png.json', 'preds/cam2/1.jpg.json', 'preds/cam2/1.png.json',
                       'preds/one.json', 'vis/00000000.jpg', 'vis/cam1/1.png', 'vis/cam2/1.jpg', 'vis/cam2/1.png',
                       'vis/one.png']


def test_long_and_thin_images(folder):
    model = init_detector(folder / 'net.py', folder / 'net.pth', device='cpu')
    for height, width in ((2000, 2), (1, 500), (2, 65500)):
        result = inference_detector(model, np.full((height, width, 3), 90, np.uint8)).pred_instances
        assert result.masks.shape[1:] == (height, width) and torch.isfinite(result.bboxes).all()


def test_batches_change_nothing(folder):
    inferencer = DetInferencer(folder / 'net.py', folder / 'net.pth', show_progress=False)
    image = cv2.imread(str(folder / 'images/one.png'))
    one, = inferencer(image)['predictions']
    many = inferencer([image] * 3, batch_size=2)['predictions']
    assert len(many) == 3
    for prediction in many:
        np.testing.assert_allclose(prediction['scores'], one['scores'], rtol=1e-4)


def test_inferencer_options(folder, tmp_path, capsys):
    inferencer = DetInferencer(folder / 'net.py', folder / 'net.pth', show_progress=False)
    image = cv2.imread(str(folder / 'images/one.png'))
    assert inferencer(image)['visualization'] == []
    results = inferencer([image, image], return_vis=True, return_datasamples=True, print_result=True)
    assert isinstance(results['predictions'][0], DetDataSample) and len(results['visualization']) == 2
    assert results['predictions'][0].pred_instances.masks.dtype == torch.bool
    assert 'pred_instances' in capsys.readouterr().out
    inferencer([image, image], out_dir=str(tmp_path))
    assert [path.name for path in sorted((tmp_path / 'vis').iterdir())] == ['00000003.jpg', '00000004.jpg']
    inferencer(image, out_dir=str(tmp_path / 'none'), no_save_vis=True)
    assert not (tmp_path / 'none').exists()
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no image'):
        inferencer(str(tmp_path / 'empty'))


def test_inferencer_with_the_config_of_the_checkpoint(folder):
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        inferencer = DetInferencer(weights=folder / 'net.pth', device='cpu', show_progress=False)
    assert inferencer.cfg.model.backbone.base_channels == 16
    with pytest.raises(ValueError, match='needs a config'):
        DetInferencer()


def test_config_of_a_checkpoint_is_read_not_run():
    cfg = Config(dict(a=dict(b=[1, -2.5, None], c=('x', dict(d=True))), e={'f-g': 1e-5}, n=None))
    assert literal_config(cfg.pretty_text) == cfg._cfg_dict.to_dict()
    for text in ("a = __import__('os').getcwd()", 'import os', 'a = dict(b=open("x"))', 'a.b = 1', 'a = ('):
        with pytest.raises(ValueError, match='no list of plain values'):
            literal_config(text)
