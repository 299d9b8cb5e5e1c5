"""The models that benchmarks time, with images and targets of random content, and what they do with them."""
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules

CONFIG = Path(__file__).parents[2] / 'configs/mask_rcnn/mask_rcnn_r50_fpn_1x.py'
CLASSES = 80


def batch(args):
    """Images (B, 3, H, W) uint8, and boxes (G, 4), labels (G,) and masks (G, H, W) uint8 of each."""
    height, width = map(int, args.size.split('x'))
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (args.batch_size, 3, height, width), np.uint8))
    targets = []
    for _ in images:
        corners = rng.random((args.objects, 2)) * (height * 0.6, width * 0.6)
        sides = 20 + rng.random((args.objects, 2)) * min(height, width) * 0.35
        boxes = np.concatenate([corners[:, ::-1], (corners + sides)[:, ::-1]], axis=1)
        masks = np.zeros((args.objects, height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
            mask[y1:y2, x1:x2] = 1
        labels = torch.from_numpy(rng.integers(0, CLASSES, args.objects))
        targets.append((torch.from_numpy(boxes).float(), labels, masks))
    return images, targets


class Ours:
    """The model of the package `mmdet` that is installed, which may be mmdetection: both are used in the same way."""

    def __init__(self, args, cfg_options=None, config=CONFIG):
        register_all_modules()
        cfg = Config.fromfile(config)
        cfg.merge_from_dict(cfg_options or {})
        cfg.model.backbone.init_cfg = None
        cfg.model.test_cfg.rcnn.score_thr = 0
        if args.norm:
            from mmdet.engine.norm_option import apply_norm  # mmdetection has none
            apply_norm(cfg, args.norm)
        self.model = MODELS.build(cfg.model).to(args.device)
        images, targets = batch(args)
        samples = []
        for boxes, labels, masks in targets:
            size = masks.shape[1:]
            sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.)))
            sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=BitmapMasks(masks, *size))
            sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
            samples.append(sample.to(args.device))
        self.data = dict(inputs=list(images.to(args.device)), data_samples=samples)

    def losses(self):
        return self.model(**self.model.data_preprocessor(self.data, True), mode='loss')

    def predict(self):
        return self.model(**self.model.data_preprocessor(self.data, False), mode='predict')


class Compiled(Ours):
    def __init__(self, args):
        super().__init__(args)
        self.model.compile()


class Torchvision:
    def __init__(self, args):
        import torchvision  # takes longer than all the rest; another process has our model alone
        from torchvision.models.detection import MaskRCNN
        from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
        backbone = torchvision.models.resnet50(norm_layer=torchvision.ops.FrozenBatchNorm2d)
        sides = sorted(map(int, args.size.split('x')))
        self.model = MaskRCNN(_resnet_fpn_extractor(backbone, 3), CLASSES + 1, min_size=sides[0], max_size=sides[1],
                              box_score_thresh=0).to(args.device)
        images, targets = batch(args)
        self.images = [image.float() / 255 for image in images.to(args.device)]
        self.targets = [dict(boxes=boxes.to(args.device), labels=labels.to(args.device) + 1,
                             masks=torch.from_numpy(masks).to(args.device)) for boxes, labels, masks in targets]

    def losses(self):
        return self.model(self.images, self.targets)

    def predict(self):
        return self.model(self.images)


def training_step(side, dtype, device, lr=1e-4):
    """One step of SGD as a function."""
    side.model.train()
    optimizer = torch.optim.SGD([p for p in side.model.parameters() if p.requires_grad], lr, 0.9, weight_decay=1e-4)

    def step():
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            losses = [value for name, value in side.losses().items() if 'loss' in name]
            loss = sum(sum(value) if isinstance(value, list) else value for value in losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return step


def inference(side, dtype, device):
    side.model.eval()

    def step():
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype != torch.float32):
            side.predict()
    return step
