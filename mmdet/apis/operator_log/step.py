"""A training step of a config on a CUDA device that need not exist."""
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import Function

from mmdet.engine.cuda_graph import GraphedLoss, unflatten
from mmdet.errors import UserError
from mmdet.models.layers import CBN
from mmdet.ops import extension
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import PolygonMasks
from mmdet.utils import register_all_modules

from .costs import Device
from .fake_device import backward, move
from .log import OperatorLog

CUDA_ONLY = 'bias_relu_', 'fold_norm', 'group_norm', 'match_boxes', 'nms_segments', 'scaled_sum'  # asked for by name


def record(cfg: Any, batch_size: int, size: tuple[int, int], objects: int, dtype: str, device: Device,
           cuda_graph: bool = False) -> OperatorLog:
    """The operators of a step, from uint8 images in pinned memory to updated weights, when training runs steadily.

    Args:
        cfg: a config. batch_size, size: of the images, (height, width). objects: of an image.
        dtype: of autocast. device: for the floors. cuda_graph: only what is left outside the graph.
    """
    if not torch.backends.cuda.is_built() or not extension.SERVED['cpu']:
        raise UserError('operator_log.py needs a PyTorch for CUDA, though no GPU, and the compiled extension')
    register_all_modules()
    cfg.model.backbone.init_cfg = None
    with ExitStack() as patches:
        for patch in (mock.patch.object(torch.cuda, 'is_available', lambda: False),  # fakes have no streams
                      mock.patch.object(FakeTensorMode, 'avoid_device_init', True),
                      mock.patch.object(torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False),
                      mock.patch.object(torch.cuda, 'is_bf16_supported', lambda: True),
                      mock.patch.object(torch._C, '_select_conv_backend', _cudnn),
                      mock.patch.object(torch.Tensor, 'pin_memory', lambda tensor: tensor),
                      mock.patch.dict(extension.SERVED, cuda=True),
                      mock.patch.dict(extension.KERNELS, {(name, 'cuda'): True for name in CUDA_ONLY})):
            patches.enter_context(patch)
        model = MODELS.build(cfg.model)
        if not hasattr(model, 'loss') or not hasattr(model, 'data_preprocessor'):
            raise UserError(f'a {cfg.model.type} is no detector of ours')
        patches.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        return _steps(move(model.train()), _batch(batch_size, size, objects), getattr(torch, dtype),
                      OperatorLog(device), cuda_graph)


def _cudnn(*args, transposed, **kwargs):
    """What runs a convolution; of bfloat16 PyTorch would ask the missing GPU."""
    return torch._C._ConvBackend.CudnnTranspose if transposed else torch._C._ConvBackend.Cudnn


def _steps(model, data, dtype, log, cuda_graph):
    """Some steps of which the last is logged: constants are made, and each CBN has all its iterations."""
    model.data_preprocessor.to('cuda')  # its tensors are there: it notes the device
    norms = [module for module in model.modules() if isinstance(module, CBN)]
    for norm in norms:
        norm.burnin = norm.burnin_iters = 0
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, 0.02, 0.9, weight_decay=1e-4, fused=True)
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    optimizer.step()  # makes its state
    optimizer.zero_grad()
    if cuda_graph:
        model.loss = GraphedLoss(model)
        model.loss._record = partial(_graph, model.loss, log)
    own = {id(tensor.untyped_storage()) for tensor in [*model.parameters(), *model.buffers()]}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if tensor.is_cuda and id(storage) not in own:
            kept[id(storage)] = storage
        return tensor

    def losses():
        batch = model.data_preprocessor(data, True)
        with torch.autocast('cuda', dtype, enabled=dtype != torch.float32):
            found = model(**batch, mode='loss')
        return sum(value for name, value in found.items() if 'loss' in name)

    for _ in range(max([1 + cuda_graph, *(norm.buffer_num for norm in norms)])):
        losses()
    with log:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = losses()
        log.kept = sum(storage.nbytes() for storage in kept.values())
        backward(loss, log.stand_at)
        log.stand_at(None)
        optimizer.step()
    return log


class _OutOfGraph(Function):
    """A loss as a CUDA graph puts it out; its gradient is copied to where the graph reads it."""

    @staticmethod
    def forward(ctx, loss):
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx, grad):
        return torch.empty_like(grad).copy_(grad)


def _graph(graphed, log, tensors, gt):
    """In place of a recording: the step itself, copies to where a graph has its inputs and one operator, the launch."""
    inputs = [tensor.clone() for tensor in tensors]

    def replay(*tensors):
        for own, given in zip(inputs, tensors, strict=True):
            own.copy_(given)
        with log.pause():
            found = graphed._loss(inputs[0], unflatten(tuple(inputs[1:]), gt))
        names[:] = found
        return [_OutOfGraph.apply(value) if value.requires_grad else value for value in found.values()]
    names = []
    return names, replay


def _batch(batch_size, size, objects):
    """What the loader hands over: images as one tensor, and samples with square objects of a quarter of the height."""
    height, width = size
    side = height // 4
    boxes = torch.tensor([[0., 0, side, side]]).repeat(objects, 1)
    samples = []
    for _ in range(batch_size):
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.)))
        corners = np.array([0, 0, side, 0, side, side, 0, side], float)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(objects, dtype=torch.long),
                                           masks=PolygonMasks([[corners]] * objects, *size))
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    images = torch.empty(batch_size, height, width, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    return dict(inputs=images, data_samples=samples)
