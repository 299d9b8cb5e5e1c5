"""One training step stays small enough to read: functions of ours, files and depth from the batch to the losses."""
import pickle
import sys
from pathlib import Path

import torch
from mask_rcnn import config, data
from scene import scene

import mmdet
from mmdet.registry import MODELS

FUNCTIONS, FILES, DEPTH = 75, 20, 8  # torchvision's figures for its Mask R-CNN
PACKAGE = str(Path(mmdet.__file__).parent)


def test_functions_files_and_depth():
    few_rois = {'train_cfg.rpn_proposal.max_per_img': 100, 'train_cfg.rcnn.sampler.num': 32}
    model = MODELS.build(config(**{'backbone.depth': 18, 'neck.in_channels': [64, 128, 256, 512], **few_rois})).train()
    images, targets = scene(0)
    loaded = pickle.dumps(data(images, targets))  # as it comes from a loader's worker
    functions, depth, deepest = set(), 0, 0

    def trace(frame, event, arg):
        nonlocal depth, deepest
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return
        if event == 'call':
            functions.add((code.co_filename, code.co_qualname if sys.version_info >= (3, 11) else code.co_name))
            depth += 1
            deepest = max(deepest, depth)
        elif event == 'return':
            depth -= 1
    with torch.no_grad():
        model(**model.data_preprocessor(pickle.loads(loaded), True), mode='loss')  # anchors are made once
        batch = pickle.loads(loaded)
        sys.setprofile(trace)
        try:
            model(**model.data_preprocessor(batch, True), mode='loss')
        finally:
            sys.setprofile(None)
    files = {file for file, _ in functions}
    assert len(functions) <= FUNCTIONS, sorted(functions)
    assert len(files) <= FILES, sorted(files)
    assert deepest <= DEPTH
