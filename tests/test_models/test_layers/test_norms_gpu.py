"""Norms on a GPU in float32 against the CPU in float64, over steps of training."""
import copy

import pytest
import torch
from no_waits import no_waits
from torch import nn

from mmdet.models.layers import ConvModule

pytestmark = pytest.mark.gpu
CONFIGS = [dict(type='BN'), dict(type='FrozenBN'), dict(type='SyncBN'), dict(type='GN', num_groups=4),
           dict(type='CBN', buffer_num=2, burnin_iters=1)]


def model(norm_cfg):
    torch.manual_seed(0)
    return nn.Sequential(ConvModule(8, 16, 3, padding=1, norm_cfg=norm_cfg), ConvModule(16, 32, 1, norm_cfg=norm_cfg),
                         ConvModule(32, 8, 3, stride=2, groups=2, norm_cfg=norm_cfg))


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('norm_cfg', CONFIGS, ids=lambda cfg: cfg['type'])
def test_equals_float64_on_the_cpu(norm_cfg, memory_format):
    torch.backends.cudnn.allow_tf32 = False
    try:
        exact = model(norm_cfg).double()
        module = copy.deepcopy(exact).float().to('cuda', memory_format=memory_format)
        for t in range(5):
            x = torch.randn(4, 8, 12, 10, generator=torch.Generator().manual_seed(t))
            inputs = x.to('cuda', memory_format=memory_format).requires_grad_(), x.double().requires_grad_()
            outputs = module(inputs[0]), exact(inputs[1])
            assert outputs[0].is_contiguous(memory_format=memory_format)
            for out in outputs:
                (out * torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out)).sum().backward()
            values = [outputs[0], inputs[0].grad], [outputs[1], inputs[1].grad]
            for learned, tensors in zip((module, exact), values, strict=True):
                for parameter in learned.parameters():
                    if parameter.grad is not None:
                        tensors.append(parameter.grad)
                        parameter.data -= 0.02 * parameter.grad
                        parameter.grad = None
                tensors += [value for value in learned.state_dict().values() if value.is_floating_point()]
            for value, expected in zip(*values, strict=True):
                scale = expected.abs().max().clamp(min=1e-3)
                assert ((value.double().cpu() - expected).abs().max() / scale) < 1e-4
    finally:
        torch.backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize('norm_cfg', CONFIGS, ids=lambda cfg: cfg['type'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_mixed_precision(norm_cfg, dtype):
    exact, mixed = model(norm_cfg).cuda(), model(norm_cfg).cuda()
    for t in range(4):
        x = torch.randn(4, 8, 12, 10, generator=torch.Generator().manual_seed(t)).cuda()
        with torch.autocast('cuda', dtype):
            out = mixed(x)
        assert out.dtype == dtype
        torch.testing.assert_close(out.float(), exact(x), rtol=0.05, atol=0.05)
        out.float().sum().backward()
        assert all(p.grad.dtype == torch.float32 for p in mixed.parameters() if p.requires_grad)


@pytest.mark.parametrize('norm_cfg', CONFIGS, ids=lambda cfg: cfg['type'])
def test_no_wait_for_the_device(norm_cfg):
    """Training waits for the GPU nowhere."""
    module = model(norm_cfg).cuda()
    x = torch.randn(4, 8, 12, 10, device='cuda')
    module(x).sum().backward()
    with no_waits():
        for _ in range(3):
            module(x).sum().backward()
