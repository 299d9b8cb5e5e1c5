"""Detectron's files as Python 2 wrote them: every blob of its models lands where it belongs.

Blobs and places are both written down here, block by block; the converter's own rules are not asked.
"""
import numpy as np
import pytest
import python2_pickle
import torch
from mask_rcnn import SMALL_50, config

from mmdet.checkpoints import load_weights, read_checkpoint
from mmdet.registry import MODELS

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
GN = dict(type='GN', num_groups=16)
CLASSES = 80
STEM, FPN, FC = 16, 32, 64  # channels; names, order and transposition are those of files of 64, 256 and 1024


class Files:
    """Blobs of small values, and for each the entry it must become: name -> array."""

    def __init__(self):
        self.blobs, self.entries = {}, {}
        self.random = np.random.default_rng(0)

    def array(self, *shape):
        return self.random.integers(-99, 99, shape).astype(np.float32)

    def add(self, blob, entry, *shape):
        self.blobs[blob] = self.entries[entry] = self.array(*shape)

    def layer(self, blob, entry, *shape):
        self.add(f'{blob}_w', f'{entry}.weight', *shape)
        self.add(f'{blob}_b', f'{entry}.bias', shape[1] if 'conv5' in blob else shape[0])

    def norm(self, blob, entry, channels, gn):
        self.add(f'{blob}_{"gn" if gn else "bn"}_s', f'{entry}.weight', channels)
        self.add(f'{blob}_{"gn" if gn else "bn"}_b', f'{entry}.bias', channels)
        if not gn:
            self.entries[f'{entry}.running_mean'] = np.zeros(channels, np.float32)
            self.entries[f'{entry}.running_var'] = np.full(channels, 1 - 1e-5, np.float32)

    def conv_norm(self, blob, entry, channels, inputs, gn):
        """A convolution of FPN or a head: with GN, or with a bias."""
        self.add(f'{blob}_w', f'{entry}.conv.weight', channels, inputs, 3, 3)
        if gn:
            self.norm(blob, f'{entry}.gn', channels, True)
        else:
            self.add(f'{blob}_b', f'{entry}.conv.bias', channels)

    def backbone(self, depth, gn, prefix):
        kind = 'gn' if gn else 'bn'
        self.add('conv1_w', f'{prefix}conv1.weight', STEM, 3, 7, 7)
        self.norm('conv1' if gn else 'res_conv1', f'{prefix}{kind}1', STEM, gn)
        inputs = STEM
        for stage, count in enumerate(BLOCKS[depth], 1):
            width = STEM * 2 ** (stage - 1)
            for block in range(count):
                blob, entry = f'res{stage + 1}_{block}_branch', f'{prefix}layer{stage}.{block}.'
                shapes = ((width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1))
                for i, shape in enumerate(shapes, 1):
                    self.add(f'{blob}2{"abc"[i - 1]}_w', f'{entry}conv{i}.weight', *shape)
                    self.norm(f'{blob}2{"abc"[i - 1]}', f'{entry}{kind}{i}', shape[0], gn)
                if block == 0:
                    self.add(f'{blob}1_w', f'{entry}downsample.0.weight', 4 * width, inputs, 1, 1)
                    self.norm(f'{blob}1', f'{entry}downsample.1', 4 * width, gn)
                inputs = 4 * width

    def fpn(self, depth, gn):
        for level, count in zip((2, 3, 4, 5), BLOCKS[depth]):
            blob = f'fpn_inner_res{level}_{count - 1}_sum' + ('' if level == 5 else '_lateral')
            entry = f'neck.lateral_convs.{level - 2}'
            self.add(f'{blob}_w', f'{entry}.conv.weight', FPN, STEM * 2 ** level, 1, 1)
            if gn:
                self.norm(blob, f'{entry}.gn', FPN, True)
            else:
                self.add(f'{blob}_b', f'{entry}.conv.bias', FPN)
            self.conv_norm(f'fpn_res{level}_{count - 1}_sum', f'neck.fpn_convs.{level - 2}', FPN, FPN, gn)

    def heads(self, gn, masks):
        self.layer('conv_rpn_fpn2', 'rpn_head.rpn_conv', FPN, FPN, 3, 3)
        self.layer('rpn_cls_logits_fpn2', 'rpn_head.rpn_cls', 3, FPN, 1, 1)
        self.layer('rpn_bbox_pred_fpn2', 'rpn_head.rpn_reg', 12, FPN, 1, 1)
        box = 'roi_head.bbox_head.'
        for i in range(4 * gn):
            self.conv_norm(f'head_conv{i + 1}', f'{box}shared_convs.{i}', FPN, FPN, True)
        self.layer('fc6', f'{box}shared_fcs.0', FC, FPN * 7 * 7)
        if not gn:
            self.layer('fc7', f'{box}shared_fcs.1', FC, FC)
        for blob, entry, rows in (('cls_score', 'fc_cls', 1), ('bbox_pred', 'fc_reg', 4)):
            for leaf, name, width in (('w', 'weight', (FC,)), ('b', 'bias', ())):
                background, classes = self.array(rows, *width), self.array(rows * CLASSES, *width)
                self.blobs[f'{blob}_{leaf}'] = np.concatenate([background, classes])
                self.entries[f'{box}{entry}.{name}'] = (np.concatenate([classes, background]) if rows == 1 else classes)
        if masks:
            mask = 'roi_head.mask_head.'
            for i in range(4):
                self.conv_norm(f'_mask_fcn{i + 1}' if gn else f'_[mask]_fcn{i + 1}', f'{mask}convs.{i}', FPN, FPN, gn)
            self.layer('conv5_mask', f'{mask}upsample', FPN, FPN, 2, 2)
            for leaf, name, width in (('w', 'weight', (FPN, 1, 1)), ('b', 'bias', ())):
                rows = self.array(1 + CLASSES, *width)
                self.blobs[f'mask_fcn_logits_{leaf}'], self.entries[f'{mask}conv_logits.{name}'] = rows, rows[1:]


def model(depth, gn, masks):
    options = {**SMALL_50, 'backbone.depth': depth, 'backbone.style': 'pytorch' if gn else 'caffe',
               'data_preprocessor.mean': [102.9801, 115.9465, 122.7717], 'data_preprocessor.std': [1., 1., 1.],
               'data_preprocessor.bgr_to_rgb': False, 'roi_head.bbox_roi_extractor.roi_layer.aligned': False,
               'roi_head.mask_roi_extractor.roi_layer.aligned': False}
    if gn:
        options |= {'backbone.norm_cfg': dict(_delete_=True, **GN), 'neck.norm_cfg': GN,
                    'roi_head.bbox_head.type': 'Shared4Conv1FCBBoxHead', 'roi_head.bbox_head.norm_cfg': GN,
                    'roi_head.bbox_head.conv_out_channels': FPN, 'roi_head.mask_head.norm_cfg': GN}
    cfg = config(**options)
    if not masks:
        cfg.type = 'FasterRCNN'
        del cfg.roi_head['mask_head'], cfg.roi_head['mask_roi_extractor']
    return MODELS.build(cfg)


def compare(module, entries, prefix=''):
    """Value by value, both ways."""
    state = {name: value for name, value in module.state_dict().items() if 'num_batches_tracked' not in name}
    assert state.keys() == entries.keys()
    for name, value in state.items():
        assert np.array_equal(value.numpy(), entries[name]), name


@pytest.mark.parametrize(('depth', 'gn', 'masks'), [(50, True, True), (50, False, True), (50, False, False),
                                                    (50, True, False), (101, True, True), (101, False, True)])
def test_detectors(tmp_path, depth, gn, masks, recwarn):
    files = Files()
    files.backbone(depth, gn, 'backbone.')
    files.fpn(depth, gn)
    files.heads(gn, masks)
    training = {'conv1_w_momentum': np.zeros((STEM, 3, 7, 7), 'f4'), 'lr': np.float32(0.02),
                'conv1_b': np.zeros(STEM, 'f4')}
    path = tmp_path / 'model_final.pkl'
    path.write_bytes(python2_pickle.dumps(dict(blobs={**files.blobs, **training}, cfg='MODEL: {}\n' * 99)))
    checkpoint = read_checkpoint(path)
    detector = model(depth, gn, masks)
    assert not load_weights(detector, checkpoint, strict=True)
    compare(detector, files.entries)
    conversion = checkpoint['conversion']
    assert not conversion.unknown and conversion.dropped.keys() == training.keys()
    assert conversion.renamed.keys() == files.blobs.keys()
    assert conversion.conventions.config == (f'configs/detectron/{"mask" if masks else "faster"}_rcnn_r{depth}_fpn'
                                             f'{"_gn" if gn else ""}.py')
    assert conversion.conventions.style == ('pytorch' if gn else 'caffe')
    assert not [each for each in recwarn if 'the weights need' in str(each.message)]
    assert 'state of the training' in str(conversion) and 'mean (102.98, 115.947, 122.772)' in str(conversion)


@pytest.mark.parametrize('classifier', ['pred', 'fc1000'])
@pytest.mark.parametrize(('depth', 'gn'), [(50, True), (50, False), (101, True), (101, False)])
def test_backbones(tmp_path, depth, gn, classifier):
    """ImageNet's files, into a backbone by init_cfg, with and without prefix, and into a whole detector."""
    files = Files()
    files.backbone(depth, gn, '')
    path = tmp_path / 'R.pkl'
    blobs = {**files.blobs, f'{classifier}_w': np.zeros((1000, 32 * STEM), 'f4'),
             f'{classifier}_b': np.zeros(1000, 'f4')}
    path.write_bytes(python2_pickle.dumps(blobs if gn else dict(blobs=blobs)))
    import mmdet.engine  # noqa: F401  its PretrainedInit
    norm = GN if gn else dict(type='BN')
    for prefix in (None, 'backbone.') if depth == 50 else (None,):
        backbone = MODELS.build(dict(
            type='ResNet', depth=depth, base_channels=STEM, norm_cfg=norm, style='pytorch' if gn else 'caffe',
            init_cfg=dict(type='mmdet.Pretrained', checkpoint=str(path), prefix=prefix)))
        backbone.init_weights()
        compare(backbone, files.entries)
    detector = model(50, gn, False) if depth == 50 else None
    if detector:
        misfit = load_weights(detector, read_checkpoint(path))
        assert not misfit.unexpected_keys and not any(name.startswith('backbone.') for name in misfit.missing_keys)
        compare(detector.backbone, files.entries)


def test_affine_norm_is_exact(tmp_path):
    """scale * x + shift, bit by bit."""
    files = Files()
    files.backbone(50, False, '')
    (tmp_path / 'R.pkl').write_bytes(python2_pickle.dumps(files.blobs))
    backbone = MODELS.build(dict(type='ResNet', depth=50, base_channels=STEM, norm_cfg=dict(type='FrozenBN'),
                                 style='caffe'))
    load_weights(backbone, read_checkpoint(tmp_path / 'R.pkl'), strict=True)
    norm, x = backbone.layer1[0].bn2, torch.randn(1, STEM, 5, 5)
    assert torch.equal((norm.running_var + norm.eps).rsqrt(), torch.ones(STEM))
    scale, shift = (torch.from_numpy(files.blobs[f'res2_0_branch2b_bn_{leaf}']).view(-1, 1, 1) for leaf in 'sb')
    torch.testing.assert_close(norm(x), scale * x + shift, rtol=1e-6, atol=1e-5)


def test_other_conventions_warn(tmp_path):
    files = Files()
    files.backbone(50, False, 'backbone.')
    files.fpn(50, False)
    files.heads(False, False)
    (tmp_path / 'a.pkl').write_bytes(python2_pickle.dumps(files.blobs))
    detector = model(50, False, False)
    detector.data_preprocessor.mean[0] = 103.53
    with pytest.warns(UserWarning, match=r'a.pkl .Detectron.: data_preprocessor.mean: the weights need .102.98, .*'
                                         r'the model has .103.53'):
        load_weights(detector, read_checkpoint(tmp_path / 'a.pkl'), source='a.pkl')


@pytest.mark.parametrize(('blob', 'part'), [
    ('kps_score_w', 'keypoint head'), ('retnet_cls_pred_fpn3_w', 'RetinaNet'), ('conv_rpn_w', 'C4'),
    ('fpn_6_w', 'FPN levels with convolutions of their own'),
])
def test_other_models_are_named(tmp_path, blob, part):
    blobs = {'conv1_w': np.zeros((64, 3, 7, 7), 'f4'), blob: np.zeros(1, 'f4')}
    (tmp_path / 'a.pkl').write_bytes(python2_pickle.dumps(blobs))
    with pytest.raises(ValueError, match=f'a.pkl .Detectron. has a part that no model here has: .*{part}.*{blob}'):
        read_checkpoint(tmp_path / 'a.pkl')


def test_resnext_is_named(tmp_path):
    files = Files()
    files.backbone(50, False, '')
    files.blobs['res2_0_branch2b_w'] = files.array(STEM, 2, 3, 3)
    (tmp_path / 'X.pkl').write_bytes(python2_pickle.dumps(files.blobs))
    with pytest.raises(ValueError, match='X.pkl .* convolutions in groups, as ResNeXt has .layer1.0.conv2.weight'):
        read_checkpoint(tmp_path / 'X.pkl')


def test_unknown_blobs_are_left_over(tmp_path):
    files = Files()
    files.backbone(50, False, '')
    (tmp_path / 'R.pkl').write_bytes(python2_pickle.dumps({**files.blobs, 'something_w': np.zeros(3, 'f4')}))
    checkpoint = read_checkpoint(tmp_path / 'R.pkl')
    assert checkpoint['conversion'].unknown == ['something_w'] and 'left over' in str(checkpoint['conversion'])
    with pytest.raises(ValueError, match='left over in the file: 1(.|\n)*something_w'):
        load_weights(MODELS.build(dict(type='ResNet', depth=50, base_channels=STEM, style='caffe')), checkpoint,
                     strict=True)
