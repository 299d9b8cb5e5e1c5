"""tools/publish_model.py: what is kept, the name, the model card, and that nothing else detects."""
import hashlib
import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fill_weights import fill
from mmengine.hooks import EMAHook
from run_tool import run

from mmdet.apis import inference_detector, init_detector
from mmdet.apis.model_card import model_card
from mmdet.checkpoints import published, write_published
from mmdet.checkpoints.source import HASH
from mmdet.errors import UserError

LOG = '''2026/11/26 09:15:57 - mmengine - INFO - Environment
    Python     3.11.7 on Linux
    Processes  2, launcher pytorch
2026/11/26 09:15:57 - mmengine - INFO - Config
'''
VALIDATIONS = [{'coco/bbox_mAP': 0.123, 'coco/bbox_mAP_s': -1.0, 'coco/segm_mAP': 0.111, 'time': 1.0, 'step': 2},
               {'coco/bbox_mAP': 0.456, 'coco/bbox_mAP_s': 0.25, 'coco/segm_mAP': 0.444, 'time': 1.0, 'step': 3}]


@pytest.fixture(scope='module')
def work_dir(tiny):
    """Of a training with EMAHook: a checkpoint of epoch 2, after which epoch 3 came."""
    model = init_detector(tiny, device='cpu')
    hook = EMAHook()
    hook.before_run(SimpleNamespace(model=model))  # the averages are random weights
    averages = {name: value.clone() for name, value in model.state_dict().items()}
    fill(model)
    meta = dict(cfg=model.cfg.pretty_text, dataset_meta=dict(classes=('a', 'b', 'c', 'd', 'e'), palette=np.eye(5, 3)),
                epoch=2, iter=8, seed=np.int64(3), random_states=[dict(python=random.getstate())])
    checkpoint = dict(state_dict=model.state_dict(), meta=meta, optimizer=dict(state={0: torch.ones(9)}))
    hook.before_save_checkpoint(None, checkpoint)
    folder = tiny.parent / 'averaged'
    logs = folder / '20261126_091557/vis_data'
    logs.mkdir(parents=True)
    torch.save(checkpoint, folder / 'epoch_2.pth')
    (logs.parent / '20261126_091557.log').write_text(LOG)
    (logs / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in [dict(loss=1., step=8),
                                                                                    *VALIDATIONS]) + '{"cut')
    return SimpleNamespace(path=folder, averages=averages)


def test_publish(tiny, work_dir):
    said = run('publish_model.py', work_dir.path / 'epoch_2.pth', 'out/net.pth', cwd=tiny.parent)
    assert 'averages of EMAHook' in said and 'left out: optimizer, ema_state_dict' in said
    file, = (tiny.parent / 'out').glob('*.pth')
    assert HASH.search(file.name)[1] == hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    loaded = torch.load(file, weights_only=True)
    assert loaded.keys() == {'state_dict', 'meta'} and 'random_states' not in loaded['meta']
    torch.testing.assert_close(dict(loaded['state_dict']), work_dir.averages, rtol=0, atol=0)
    assert loaded['meta']['seed'] == 3 and loaded['meta']['dataset_meta']['palette'][1] == [0, 1, 0]

    card = file.with_suffix('.md').read_text()
    for line in ('| Detector | MaskRCNN |', '| Backbone | ResNet-18 with FPN |', '| Classes | 5: a, b, c, d, e |',
                 '| Batch | 8 images (4 a process x 2 processes) |', '|  | AP | small |', '| Iterations | 8 |',
                 '| box AP | 0.123 | - |', '| mask AP | 0.111 |  |', 'Validation after epoch 2.'):
        assert line in card, card
    assert 'backbone GN, neck GN' in card and '0.456' not in card and 'EMAHook' in card

    said = run('publish_model.py', work_dir.path / 'epoch_2.pth', 'out/net.pth', cwd=tiny.parent, fails=True)
    assert f'{file.name} exists; --force' in said and 'Traceback' not in said
    assert sorted(path.name for path in file.parent.iterdir()) == [f'{file.stem}.md', file.name]


def test_both_kinds_of_file_detect_the_same(tiny, work_dir):
    checkpoint = published(torch.load(work_dir.path / 'epoch_2.pth', weights_only=False), 'it')
    files = [write_published(checkpoint, tiny.parent / name)[0] for name in ('a.safetensors', 'b')]
    assert [path.suffix for path in files] == ['.safetensors', '.pth']
    assert files[0].stat().st_mode == files[1].stat().st_mode
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    found = []
    for path in (work_dir.path / 'epoch_2.pth', *files):
        detector = init_detector(tiny, path, device='cpu')
        assert detector.dataset_meta['classes'] == ('a', 'b', 'c', 'd', 'e')
        found.append(inference_detector(detector, image).pred_instances)
    assert len(found[0]) == 5
    for other in found[1:]:
        for key in ('bboxes', 'scores', 'labels', 'masks'):
            assert torch.equal(other[key], found[0][key])


def test_what_is_not_published(tmp_path):
    one = torch.ones(2)
    for checkpoint, message in ((dict(state_dict={'a': one / 0}), 'a holds values that are not finite'),
                                (dict(optimizer={}), 'optimizer is a dict, not a tensor'),
                                (dict(state_dict={}), 'holds no weights')):
        with pytest.raises(UserError, match=message):
            published(checkpoint, 'it')
    with pytest.raises(UserError, match='must end in .pth or .safetensors'):
        write_published(published(dict(state_dict={'a': one}), 'it'), tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir())


def test_views_do_not_bring_the_rest_along(tmp_path):
    whole = torch.zeros(1000000)
    path, _ = write_published(published(dict(state_dict={'a': whole[:3], 'b': whole[:3]}), 'it'), tmp_path / 'a.pth')
    assert path.stat().st_size < 5000


def test_card_of_a_checkpoint_that_tells_nothing(tmp_path):
    checkpoint = published(dict(state_dict={'a': torch.ones(2)}, meta=dict(cfg='import os')), 'it')
    path, digest = write_published(checkpoint, tmp_path / 'a.pth')
    card = model_card(checkpoint, path, digest, tmp_path)
    assert digest in card and "DetInferencer(config, weights='a-" in card and 'Accuracy' not in card
