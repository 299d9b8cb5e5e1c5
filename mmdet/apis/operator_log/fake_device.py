"""A model on a CUDA device that need not exist: real shapes, dtypes and sequence of operators, no numbers.

FakeTensorMode refuses what depends on values: .item(), nonzero, boolean indexing.
"""
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# PyTorch tells no shapes of it.
META = torch.library.Library('aten', 'IMPL', 'Meta')
META.impl('batch_norm_update_stats', lambda x, mean, variance, momentum: (torch.empty_like(mean),
                                                                          torch.empty_like(variance)))
META.impl('_fused_sgd_', lambda *args, **kwargs: None)
META.impl('cudnn_convolution_relu', lambda x, weight, bias, *options:
          torch.conv2d(x, weight, bias, *options).contiguous(memory_format=torch.channels_last))
META.impl('cudnn_convolution_add_relu', lambda x, weight, z, alpha, bias, *options: torch.empty_like(z))


def fake(tensor: Tensor) -> Tensor:
    """A tensor like this one on the device; call it under FakeTensorMode."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device='cuda')


def move(model: nn.Module) -> nn.Module:
    """Put fakes in the place of the model's parameters and buffers."""
    for module in model.modules():
        for name, value in module._parameters.items():
            if value is not None:
                module._parameters[name] = torch.nn.Parameter(fake(value), value.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fake(buffer)
    return model


def backward(loss: Tensor, before: Callable[[Any], None] = lambda node: None) -> None:
    """loss.backward() without PyTorch's engine, which asks for the streams of the missing device.

    before: told of each node of autograd's graph before it runs.
    """
    after, order = set[Any](), list[Any]()
    stack: list[tuple[Any, bool]] = [(loss.grad_fn, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in after:
            after.add(node)
            stack += [(node, True), *((edge[0], False) for edge in node.next_functions if edge[0])]
    grads: dict[Any, dict[int, Tensor]] = {loss.grad_fn: {0: torch.ones_like(loss)}}
    with torch.no_grad():
        for node in reversed(order):
            before(node)
            given = grads.pop(node, {})
            inputs = [None if i not in given else _fitted(given[i], like)
                      for i, like in enumerate(node._input_metadata)]
            if hasattr(node, 'variable'):
                leaf = node.variable
                leaf.grad = inputs[0] if leaf.grad is None else leaf.grad + inputs[0]
            else:
                for (target, i), grad in _flows(node, inputs):
                    slots = grads.setdefault(target, {})
                    slots[i] = slots[i] + grad if i in slots else grad


def _fitted(grad, like):
    """A gradient in the shape and dtype of what it is of."""
    return (grad if tuple(grad.shape) == tuple(like.shape) else grad.sum_to_size(like.shape)).to(like.dtype)


def _flows(node, inputs):
    """The edges that lead on from a node, each with its gradient."""
    if isinstance(node, torch.autograd.function.BackwardCFunction):  # knows arguments that are no tensors, too
        outputs = node.apply(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        outputs = [output for output, needed in zip(outputs, node.needs_input_grad, strict=True) if needed]
        edges = [edge for edge in node.next_functions if edge[0]]
    else:
        outputs, edges = node(*inputs), node.next_functions
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return [(edge, output) for edge, output in zip(edges, outputs, strict=True) if edge[0] and output is not None]
