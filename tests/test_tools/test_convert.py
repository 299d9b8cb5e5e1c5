"""tools/convert/checkpoint.py, and a converted file in the places where checkpoints are loaded."""
import numpy as np
import pytest
import torch
from run_tool import ROOT, run
from torchvision.models import detection

CONFIG = '''_base_ = {base!r}
model = dict(backbone=dict(init_cfg=None),
             roi_head=dict(bbox_head=dict(num_classes=80)))
'''


def convert(*args, fails=False):
    return run('convert/checkpoint.py', *args, cwd='.', fails=fails)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A folder with torchvision's Faster R-CNN and a config of 80 classes."""
    folder = tmp_path_factory.mktemp('convert')
    torch.manual_seed(0)
    model = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    torch.save(dict(model=model.state_dict(), epoch=1), folder / 'theirs.pth')
    base = ROOT / 'configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    (folder / 'config.py').write_text(CONFIG.format(base=str(base)))
    return folder


def test_table_and_file(files):
    said = convert(files / 'theirs.pth', files / 'out' / 'ours.pth')
    theirs = torch.load(files / 'theirs.pth')['model']
    assert f'torchvision, detector: {len(theirs)} entries read' in said
    assert 'configs/torchvision/faster_rcnn_r50_fpn.py' in said and 'order RGB' in said and 'aligned False' in said
    ours = torch.load(files / 'out' / 'ours.pth')
    assert len(ours['state_dict']) == len(theirs)
    assert len(ours['state_dict']['roi_head.bbox_head.fc_cls.bias']) == 91
    assert torch.equal(ours['state_dict']['backbone.conv1.weight'], theirs['backbone.body.conv1.weight'])
    again = convert(files / 'out' / 'ours.pth', files / 'again.pth')
    assert 'torchvision, converted' in again and 'aligned False' in again


def test_with_a_config_and_loading_everywhere(files):
    said = convert(files / 'theirs.pth', files / 'ours80.pth', '--config', files / 'config.py')
    assert 'everything fits' in said and 'aligned: the weights need False, the model has True' in said
    from mmdet.apis import DetInferencer, init_detector
    image = np.zeros((64, 64, 3), np.uint8)
    states = []
    with pytest.warns(UserWarning, match='aligned: the weights need False'):
        states.append(init_detector(str(files / 'config.py'), files / 'ours80.pth', device='cpu').state_dict())
        states.append(init_detector(str(files / 'config.py'), files / 'theirs.pth', device='cpu').state_dict())
        detect = DetInferencer(str(files / 'config.py'), files / 'theirs.pth', device='cpu')
        states.append(detect.model.state_dict())
    for state in states[1:]:
        torch.testing.assert_close(state, states[0], rtol=0, atol=0)
    assert len(detect(image)['predictions']) == 1


def test_errors_are_plain(files):
    (files / 'bad.pkl').write_bytes(b'\x80\x02cos\nsystem\n.')
    said = convert(files / 'bad.pkl', files / 'out.pth', fails=True)
    assert 'error: ' in said and 'holds an object of type os.system' in said and 'Traceback' not in said
