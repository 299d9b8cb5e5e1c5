"""detectron2's files, .pkl and .pth: value by value, from names written down here."""
import pickle

import numpy as np
import pytest
import torch
from mask_rcnn import SMALL_50, config

from mmdet.checkpoints import load_weights, read_checkpoint
from mmdet.registry import MODELS

NORMS = {'FrozenBN': dict(type='FrozenBN'), 'SyncBN': dict(type='BN'), 'GN': dict(type='GN', num_groups=16)}


def model(norm, masks=True):
    """Narrow Mask R-CNN R-50 of ours; with SyncBN or GN in FPN and heads too, and 4 convolutions in the box head."""
    norm_cfg = NORMS[norm]
    options = {**SMALL_50, 'backbone.norm_cfg': dict(_delete_=True, **norm_cfg),
               'backbone.style': 'pytorch' if norm == 'GN' else 'caffe',
               'data_preprocessor.mean': [103.53, 116.28, 123.675], 'data_preprocessor.std': [1., 1., 1.],
               'data_preprocessor.bgr_to_rgb': False}
    if norm != 'FrozenBN':
        options |= {'neck.norm_cfg': norm_cfg, 'roi_head.bbox_head.type': 'Shared4Conv1FCBBoxHead',
                    'roi_head.bbox_head.conv_out_channels': 32, 'roi_head.bbox_head.norm_cfg': norm_cfg,
                    'roi_head.mask_head.norm_cfg': norm_cfg}
    cfg = config(**options)
    if not masks:
        cfg.type = 'FasterRCNN'
        del cfg.roi_head['mask_head'], cfg.roi_head['mask_roi_extractor']
    return MODELS.build(cfg)


def places(norm, backbone='backbone.bottom_up.', ours='backbone.'):
    """Their module -> ours."""
    kind = 'gn' if norm == 'GN' else 'bn'
    pairs = {f'{backbone}stem.conv1': f'{ours}conv1', f'{backbone}stem.conv1.norm': f'{ours}{kind}1'}
    for stage, count in enumerate((3, 4, 6, 3), 1):
        for block in range(count):
            theirs, entry = f'{backbone}res{stage + 1}.{block}', f'{ours}layer{stage}.{block}'
            for i in (1, 2, 3):
                pairs[f'{theirs}.conv{i}'] = f'{entry}.conv{i}'
                pairs[f'{theirs}.conv{i}.norm'] = f'{entry}.{kind}{i}'
        theirs, entry = f'{backbone}res{stage + 1}.0.shortcut', f'{ours}layer{stage}.0.downsample'
        pairs |= {theirs: f'{entry}.0', f'{theirs}.norm': f'{entry}.1'}
    return pairs


def detector_places(norm):
    pairs = places(norm)
    kind = 'gn' if norm == 'GN' else 'bn'

    def conv(theirs, entry):
        pairs[theirs] = f'{entry}.conv'
        if norm != 'FrozenBN':
            pairs[f'{theirs}.norm'] = f'{entry}.{kind}'
    for i in range(4):
        conv(f'backbone.fpn_lateral{i + 2}', f'neck.lateral_convs.{i}')
        conv(f'backbone.fpn_output{i + 2}', f'neck.fpn_convs.{i}')
        conv(f'roi_heads.mask_head.mask_fcn{i + 1}', f'roi_head.mask_head.convs.{i}')
        if norm != 'FrozenBN':
            conv(f'roi_heads.box_head.conv{i + 1}', f'roi_head.bbox_head.shared_convs.{i}')
    for theirs, entry in (('conv', 'rpn_conv'), ('objectness_logits', 'rpn_cls'), ('anchor_deltas', 'rpn_reg')):
        pairs[f'proposal_generator.rpn_head.{theirs}'] = f'rpn_head.{entry}'
    pairs |= {'roi_heads.box_head.fc1': 'roi_head.bbox_head.shared_fcs.0',
              'roi_heads.box_predictor.cls_score': 'roi_head.bbox_head.fc_cls',
              'roi_heads.box_predictor.bbox_pred': 'roi_head.bbox_head.fc_reg',
              'roi_heads.mask_head.deconv': 'roi_head.mask_head.upsample',
              'roi_heads.mask_head.predictor': 'roi_head.mask_head.conv_logits'}
    if norm == 'FrozenBN':
        pairs['roi_heads.box_head.fc2'] = 'roi_head.bbox_head.shared_fcs.1'
    return pairs


def filled(module, pairs):
    """Their state dict of random values with the shapes of `module`, and what it must become."""
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items() if 'tracked' not in name}
    back = {ours: theirs for theirs, ours in pairs.items()}
    random = np.random.default_rng(0)
    expected = {name: random.integers(-99, 99, shape).astype(np.float32) for name, shape in shapes.items()}
    return {f'{back[name.rpartition(".")[0]]}.{name.rpartition(".")[2]}': value for name, value in expected.items()
            }, expected


def compare(module, expected):
    state = {name: value for name, value in module.state_dict().items() if 'tracked' not in name}
    assert state.keys() == expected.keys()
    for name, value in state.items():
        assert np.array_equal(value.numpy(), expected[name]), name


def anchors(size=32, ratios=(0.5, 1., 2.)):
    w = size / np.sqrt(np.array(ratios))
    h = w * np.array(ratios)
    return np.stack([-w / 2, -h / 2, w / 2, h / 2], 1).astype(np.float32)


def saved(path, content):
    """A .pkl of arrays, or a .pth of tensors."""
    if path.suffix == '.pkl':
        path.write_bytes(pickle.dumps({'model': content, '__author__': 'Detectron2 Model Zoo'}))
    else:
        torch.save({'model': {name: torch.as_tensor(value) for name, value in content.items()}, 'iteration': 9}, path)
    return path


@pytest.mark.parametrize(('norm', 'suffix'), [('FrozenBN', '.pkl'), ('SyncBN', '.pth'), ('GN', '.pkl')])
def test_detectors(tmp_path, recwarn, norm, suffix):
    detector = model(norm)
    content, expected = filled(detector, detector_places(norm))
    others = {'pixel_mean': np.array([103.53, 116.28, 123.675], 'f4').reshape(3, 1, 1),
              'pixel_std': np.ones((3, 1, 1), 'f4')}
    others |= {f'proposal_generator.anchor_generator.cell_anchors.{i}': anchors(32 * 2 ** i) for i in range(5)}
    checkpoint = read_checkpoint(saved(tmp_path / f'model_final{suffix}', {**content, **others}))
    assert not load_weights(detector, checkpoint, strict=True)
    compare(detector, expected)
    conversion = checkpoint['conversion']
    assert conversion.source == 'detectron2' and not conversion.unknown and not conversion.notes
    assert conversion.dropped.keys() == others.keys()
    assert not [each for each in recwarn if 'the weights need' in str(each.message)]
    # The anchors that the outputs belong to are the same, in the same order.
    np.testing.assert_allclose(detector.rpn_head.anchor_generator.base_anchors[0], anchors(), rtol=1e-6)


@pytest.mark.parametrize('source', ['MSRA', 'torchvision'])
def test_backbones(tmp_path, source):
    backbone = MODELS.build(dict(type='ResNet', depth=50, style='caffe' if source == 'MSRA' else 'pytorch'))
    content, expected = filled(backbone, places('FrozenBN', '', ''))
    classifier = {'fc1000.weight' if source == 'MSRA' else 'stem.fc.weight': np.zeros((1000, 2048), 'f4')}
    checkpoint = read_checkpoint(saved(tmp_path / 'R-50.pkl', {**content, **classifier}))
    assert not load_weights(backbone, checkpoint, strict=True)
    compare(backbone, expected)
    conventions = checkpoint['conversion'].conventions
    assert (conventions.order, conventions.style) == (('BGR', 'caffe') if source == 'MSRA' else ('RGB', 'pytorch'))
    assert checkpoint['conversion'].part == 'backbone'


def test_anchors_of_another_order_are_told(tmp_path):
    content = {'proposal_generator.rpn_head.objectness_logits.bias': np.zeros(3, 'f4'),
               'proposal_generator.anchor_generator.cell_anchors.0': anchors(ratios=(1., 0.5, 2.))}
    notes = read_checkpoint(saved(tmp_path / 'a.pkl', content))['conversion'].notes
    assert 'ratios 1.00, 0.50, 2.00 in this order' in notes[0]


def test_pixels_of_the_file_count(tmp_path):
    content = {'proposal_generator.rpn_head.objectness_logits.bias': np.zeros(3, 'f4'),
               'pixel_mean': np.array([103.53, 116.28, 123.675], 'f4'),
               'pixel_std': np.array([57.375, 57.12, 58.395], 'f4')}
    conventions = read_checkpoint(saved(tmp_path / 'a.pth', content))['conversion'].conventions
    assert conventions.std == (57.375, 57.12, 58.395) and conventions.order == 'BGR'


@pytest.mark.parametrize(('name', 'part'), [
    ('roi_heads.keypoint_head.conv_fcn1.weight', 'keypoint head'), ('roi_heads.res5.0.conv1.weight', 'C4'),
    ('roi_heads.box_head.0.fc1.weight', 'cascade'), ('backbone.top_block.p6.weight', 'RetinaNet'),
    ('roi_heads.mask_coarse_head.fc1.weight', 'PointRend'), ('sem_seg_head.p2.0.weight', 'semantic'),
])
def test_other_models_are_named(tmp_path, name, part):
    content = {'proposal_generator.rpn_head.objectness_logits.bias': np.zeros(3, 'f4'), name: np.zeros(1, 'f4')}
    with pytest.raises(ValueError, match=f'a.pkl .detectron2. has a part that no model here has: .*{part}.*{name}'):
        read_checkpoint(saved(tmp_path / 'a.pkl', content))
