"""A training step on CUDA waits for the device nowhere and its shapes are fixed, so that a CUDA graph can hold it."""
import pytest
import torch
from fake_cuda import Transfers, backward, fake, move
from mask_rcnn import SMALL, build, config, data, losses, norms, total
from scene import scene
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._pytree import tree_map_only

from mmdet import ops
from mmdet.ops.dispatch import kernels
from mmdet.registry import MODELS

NORMS = [dict(type='FrozenBN'), dict(type='BN'), dict(type='SyncBN'), dict(type='GN', num_groups=8),
         dict(type='CBN', buffer_num=2, burnin_iters=1)]
CLASS_WEIGHT = {'roi_head.bbox_head.loss_cls.class_weight': [1.] * 81}


@pytest.fixture
def our_operators(monkeypatch):
    """Serve on CUDA as far as shapes go, for which a build without CUDA will do."""
    if ops.backend() != 'mmdet':
        pytest.skip('the extension was not built, and torchvision.ops waits for the device')
    monkeypatch.setitem(kernels, 'cuda', torch.ops.mmdet)
    monkeypatch.setattr(torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: True)


def faster_rcnn():
    cfg = config(**SMALL)
    cfg.type = 'FasterRCNN'
    del cfg.roi_head['mask_head'], cfg.roi_head['mask_roi_extractor']
    return MODELS.build(cfg)


def waits(model, steps=2, dtype=None, optimizer=None):
    """Lines that made the device wait in training steps on batches of different sizes, but for the first."""
    batch = MODELS.build(config().data_preprocessor)(data(*scene(0)), True)
    found = set()
    with FakeTensorMode(allow_non_fake_inputs=True):
        move(model.train())
        optimizer = optimizer and optimizer([p for p in model.parameters() if p.requires_grad])
        gt = tree_map_only(torch.Tensor, fake, batch['gt'])
        for step in range(steps):
            inputs = torch.empty(2, 3, 256, 320 + 32 * step, device='cuda')
            with Transfers() as transfers:
                with torch.autocast('cuda', dtype, enabled=dtype is not None):
                    loss = total(model(inputs, batch['data_samples'], mode='loss', gt=gt))
                backward(loss)
                if optimizer:
                    optimizer.step()
                    optimizer.zero_grad()
            found |= set(transfers.lines if step else [])
    assert loss.device.type == 'cuda' and loss.dtype == torch.float32
    if not optimizer:
        for parameter in model.parameters():
            if parameter.requires_grad:
                assert parameter.grad.device.type == 'cuda' and parameter.grad.shape == parameter.shape
    return found


@pytest.mark.parametrize('dtype', [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize('norm_cfg', NORMS, ids=lambda cfg: cfg['type'])
def test_mask_rcnn(norm_cfg, dtype, our_operators):
    steps = 4 if norm_cfg['type'] == 'CBN' else 2  # burn-in; nothing stored yet; one iteration stored; all stored
    assert not waits(build(**norms(norm_cfg), **CLASS_WEIGHT), steps, dtype)


def test_faster_rcnn(our_operators):
    assert not waits(faster_rcnn())


def test_optimizer(our_operators):
    assert not waits(faster_rcnn(), optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1, 0.9, foreach=True))


@pytest.mark.parametrize('wait', [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.nonzero(),
                                  lambda x: bool(x.any()), lambda x: x.tolist()])
def test_what_depends_on_values_raises(wait, our_operators):
    with FakeTensorMode(), pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        wait(torch.empty(3, device='cuda'))


@pytest.mark.parametrize('copy', [lambda x: x.new_tensor([1., 2., 3.]) + x, lambda x: x.cpu(), lambda x: x[0].cpu(),
                                  lambda x: x.copy_(torch.zeros(3)), lambda x: x[torch.tensor([0, 1])],
                                  lambda x: torch.tensor(1., device=x.device)])
def test_copies_are_noted(copy, our_operators):
    with FakeTensorMode(), Transfers() as transfers:
        copy(torch.empty(3, device='cuda'))
    assert len(transfers.lines) == 1
    with FakeTensorMode(), Transfers() as transfers:
        x = torch.empty(3, device='cuda')
        (x * 2 + torch.tensor(1.)).where(x > 0, 0.).clamp(min=1)
    assert not transfers.lines


def test_backward_is_that_of_the_engine():
    gradients = []
    for differentiate in (torch.Tensor.backward, backward):
        model = build(**norms(NORMS[-1])).train()
        torch.manual_seed(0)
        differentiate(total(losses(model, *scene(0))))
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    for ours, expected in zip(*reversed(gradients), strict=True):
        torch.testing.assert_close(ours, expected)
