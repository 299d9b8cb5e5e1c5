"""The peer of compare_torchvision.py sees what a detector here sees."""
import sys

import torch
from mmengine.structures import InstanceData
from run_tool import ROOT

from mmdet.engine.config import read_config
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules

sys.path.insert(0, str(ROOT / 'tools/analysis'))


def test_pictures_keep_their_size_in_training_and_in_testing():
    import torchvision_peer  # noqa: F401  registers it
    register_all_modules()
    model = read_config(str(ROOT / 'configs/examples/cells/faster-rcnn_r18_fpn_cells.py')).model
    model.test_cfg.rcnn.nms = dict(type='nms', iou_threshold=0.5)
    peer = MODELS.build(dict(type='TorchvisionFasterRCNN', model=model))
    seen = []
    peer.detector.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    sample = DetDataSample(metainfo=dict(img_shape=(64, 96), ori_shape=(128, 192), scale_factor=(0.5, 0.5)))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[8., 8, 40, 40]]), labels=torch.tensor([2]))
    data = dict(inputs=[torch.full((3, 64, 96), 90, dtype=torch.uint8)], data_samples=[sample])
    losses = peer.train()(**peer.data_preprocessor(data, True), mode='loss')
    found, = peer.eval()(**peer.data_preprocessor(data, False), mode='predict')
    assert seen == [(1, 3, 64, 96)] * 2 and all(torch.isfinite(loss) for loss in losses.values())
    assert found.pred_instances.bboxes.min() >= 0 and found.pred_instances.bboxes[:, 2].max() <= 192
    assert set(found.pred_instances.labels.tolist()) <= {0, 1, 2}
