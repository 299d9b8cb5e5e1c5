"""A training step on CUDA waits for the device nowhere and its shapes are fixed, so that a CUDA graph can hold it."""
import sys
from pathlib import Path

import pytest
import torch
from fake_cuda import Transfers, backward, move
from mask_rcnn import ALL_PROPOSED, ALL_SAMPLED, SMALL, build, config, data, losses, norms, total
from mmengine.optim import OptimWrapper
from no_waits import no_waits
from scene import scene, small_scene
from torch import distributed as dist
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore

sys.path.append(str(Path(__file__).parents[1] / 'peer'))
from cases import model_config  # noqa: E402

import mmdet.engine  # noqa: E402, F401  # mends mmengine's optimizer and its log
from mmdet import ops  # noqa: E402
from mmdet.datasets.collate import stacked_collate  # noqa: E402
from mmdet.models.backbones.resnet import BasicBlock, ResNet  # noqa: E402
from mmdet.ops.extension import SERVED
from mmdet.registry import MODELS

NORMS = [dict(type='FrozenBN'), dict(type='BN'), dict(type='SyncBN'), dict(type='GN', num_groups=8),
         dict(type='CBN', buffer_num=2, burnin_iters=1)]
CLASS_WEIGHT = {'roi_head.bbox_head.loss_cls.class_weight': [1.] * 81}


@pytest.fixture(autouse=True)
def one_block_a_stage(monkeypatch):
    """Each block of a stage waits for what the others wait for."""
    monkeypatch.setitem(ResNet.arch_settings, 18, (BasicBlock, (1, 1, 1, 1)))


@pytest.fixture
def our_operators(monkeypatch):
    """Serve on CUDA as far as shapes go, for which a build without CUDA will do."""
    if ops.backend() != 'mmdet':
        pytest.skip('the extension was not built, and torchvision.ops waits for the device')
    if not torch.backends.cuda.is_built():
        pytest.skip('a PyTorch without CUDA aborts where a tensor said to be there needs a gradient')
    monkeypatch.setitem(SERVED, 'cuda', True)
    monkeypatch.setattr(FakeTensorMode, 'avoid_device_init', True)  # else a GPU's new_tensor is noticed by nobody
    monkeypatch.setattr(torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: True)
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda tensor: tensor)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)  # fakes know nothing of streams


@pytest.fixture
def one_of_two():
    """The first of two processes, of which the other is not there."""
    dist.init_process_group('fake', rank=0, world_size=2, store=FakeStore())
    yield
    dist.destroy_process_group()


def faster_rcnn():
    cfg = config(**SMALL)
    cfg.type = 'FasterRCNN'
    del cfg.roi_head['mask_head'], cfg.roi_head['mask_roi_extractor']
    return MODELS.build(cfg)


def loaded():
    """Two pictures as a loader hands them over."""
    samples = data(*scene(0))
    return stacked_collate([dict(zip(samples, sample)) for sample in zip(*samples.values())])


def waits(model, steps=2, dtype=None):
    """Lines that made the device wait in steps from loader to optimizer, on batches of several sizes, but the first."""
    batch, found = loaded(), set()
    with FakeTensorMode(allow_non_fake_inputs=True):
        move(model.train())
        model.data_preprocessor.to('cuda')
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = OptimWrapper(torch.optim.SGD(parameters, 0.1, 0.9, foreach=True), clip_grad=dict(max_norm=35))
        for step in range(steps):
            model.data_preprocessor.pad_size_divisor = 32 if step % 2 else 96
            with Transfers() as transfers:
                with torch.autocast('cuda', dtype, enabled=dtype is not None):
                    losses = model(**model.data_preprocessor(batch, True), mode='loss')
                loss, logged = model.parse_losses(losses)
                backward(loss)
                assert {p.grad.device.type for p in parameters} == {'cuda'}
                optimizer.step()
                optimizer.zero_grad()
                for name, value in logged.items():
                    optimizer.message_hub.update_scalar(name, value)
            found |= set(transfers.lines if step else [])
    optimizer.message_hub.__dict__.pop('_waiting', None)
    assert loss.device.type == 'cuda' and loss.dtype == torch.float32
    return found


@pytest.mark.parametrize('norm_cfg, dtype', [*zip(NORMS, [None, torch.bfloat16, None, torch.bfloat16, None]),
                                             (NORMS[-1], torch.bfloat16)], ids=str)
def test_mask_rcnn(norm_cfg, dtype, our_operators, request):
    steps = 4 if norm_cfg['type'] == 'CBN' else 2  # burn-in; nothing stored yet; one iteration stored; all stored
    capacity = {'train_cfg.rcnn.mask_capacity': 8} if dtype else {}
    if norm_cfg['type'] == 'SyncBN':
        request.getfixturevalue('one_of_two')
    assert not waits(build(**norms(norm_cfg), **CLASS_WEIGHT, **capacity), steps, dtype)


def test_faster_rcnn(our_operators):
    assert not waits(faster_rcnn())


def test_cascade_and_dynamic_rcnn_with_samplers_that_prefer(our_operators):
    cascade, dynamic = model_config('cascade_mask'), model_config('dynamic')
    del cascade.roi_head['mask_head'], cascade.roi_head['mask_roi_extractor']
    cascade.roi_head.update(num_stages=2, stage_loss_weights=[1, 0.5], bbox_head=cascade.roi_head.bbox_head[:2])
    cascade.train_cfg.rcnn = cascade.train_cfg.rcnn[:2]
    cascade.train_cfg.rcnn[1].sampler.update(type='OHEMSampler', num=24)
    dynamic.train_cfg.rcnn.dynamic_rcnn.update_iter_interval = 100
    dynamic.train_cfg.rcnn.sampler = dict(
        type='CombinedSampler', num=24, pos_fraction=0.25, pos_sampler=dict(type='InstanceBalancedPosSampler'),
        neg_sampler=dict(type='IoUBalancedNegSampler', num_bins=3))
    dynamic.roi_head.bbox_roi_extractor.roi_layer = dict(
        type='DeformRoIPoolPack', output_size=7, output_channels=dynamic.roi_head.bbox_roi_extractor.out_channels)
    assert not waits(MODELS.build(cascade)) and not waits(MODELS.build(dynamic))


def test_inference_waits_first_for_the_boxes_that_final_nms_compares(our_operators):
    model, batch = build().eval(), loaded()
    with FakeTensorMode(allow_non_fake_inputs=True):
        move(model).data_preprocessor.to('cuda')
        for _ in range(2):  # the first time constants are made
            with Transfers() as transfers, pytest.raises(DynamicOutputShapeException) as raised:
                model(**model.data_preprocessor(batch, False), mode='predict')
    assert not transfers.lines
    assert [(entry.path.name, entry.name) for entry in raised.traceback if '/mmdet/' in str(entry.path)][-1] == (
        'bbox_head.py', 'predict')


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


GIOU = dict(reg_decoded_bbox=True, loss_bbox=dict(_delete_=True, type='GIoULoss'))
LATE = (False, False, True, True)
BOTTLENECKS = {'backbone.depth': 50, 'neck.in_channels': [64, 128, 256, 512]}


@pytest.mark.gpu
@pytest.mark.parametrize('options', [
    {}, {f'{head}.{key}': value for head in ('rpn_head', 'roi_head.bbox_head') for key, value in GIOU.items()},
    {'backbone.dcn': dict(type='DCNv2', deform_groups=2), 'backbone.stage_with_dcn': LATE, **BOTTLENECKS},
    {'backbone.plugins': [dict(cfg=dict(type='ContextBlock', ratio=1 / 4), stages=LATE, position='after_conv3')],
     **BOTTLENECKS},
    {'neck.type': 'PAFPN', 'train_cfg.rcnn.mask_capacity': 8}], ids=['plain', 'giou', 'dcn', 'context', 'pafpn'])
def test_step_waits_for_nothing_on_the_device(options):
    model = build(**options).cuda().train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = OptimWrapper(torch.optim.SGD(parameters, 0.001, 0.9, fused=True), clip_grad=dict(max_norm=35))
    model.train_step(loaded(), optimizer)
    with no_waits():
        model.train_step(loaded(), optimizer)


COMPARED = ['neck.fpn_convs.0.conv.weight', 'rpn_head.rpn_cls.weight', 'roi_head.mask_head.conv_logits.weight']


def training_step(model, batch, dtype):
    """A step of SGD as a function that returns losses and gradients."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.001, 0.9, fused=True)
    compared = [model.get_parameter(name) for name in COMPARED]

    def step():
        optimizer.zero_grad()
        with torch.autocast('cuda', dtype, enabled=dtype != torch.float32):
            result = model(**batch, mode='loss')
        total(result).backward()
        optimizer.step()
        return {name: value.detach() for name, value in result.items()}, [p.grad for p in compared]
    return step


def difference(value, expected):
    return float((value - expected).norm() / expected.norm())


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('norm_cfg', NORMS[:2] + NORMS[3:4], ids=lambda cfg: cfg['type'])
def test_a_cuda_graph_replays_the_step(norm_cfg, dtype):
    """Captured once and given other pixels, it computes what the same step of a second model does without a graph."""
    if ops.backend('cuda') != 'mmdet':
        pytest.skip('the extension was built without CUDA, and torchvision.ops waits for the device')
    models = [build(**norms(norm_cfg), **ALL_SAMPLED, **ALL_PROPOSED).cuda().train() for _ in range(2)]
    batches = [model.data_preprocessor(data(*small_scene()), True) for model in models]
    captured, eager = (training_step(*pair, dtype) for pair in zip(models, batches, strict=True))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # not where the graph is captured nor on the default stream, says PyTorch's manual
        for _ in range(3):
            captured()
    torch.cuda.current_stream().wait_stream(side)
    for _ in range(3):
        eager()

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        values, grads = captured()
    pixels, before = batches[0]['inputs'].clone(), None
    near_values, near_grads = (1e-3, 0.02) if dtype == torch.float32 else (0.02, 0.1)
    for axis in (2, 3):
        for batch in batches:
            batch['inputs'].copy_(pixels.flip(axis))
        graph.replay()
        expected_values, expected_grads = eager()
        for name, expected in expected_values.items():
            least = 0.2 if name == 'acc' else 1e-4  # one row more or less of the accuracy's percent
            assert float(values[name]) == pytest.approx(float(expected), rel=near_values, abs=least), name
        for name, grad, expected in zip(COMPARED, grads, expected_grads, strict=True):
            assert difference(grad, expected) < near_grads, name
        assert before is None or difference(grads[-1], before) > near_grads
        before = grads[-1].clone()
    for value, expected in zip(*(model.state_dict().values() for model in models), strict=True):
        torch.testing.assert_close(value, expected, rtol=near_values, atol=near_values)
