"""The weights of an ONNX graph in fewer bytes. Standard operators bring them back to float32 where they are used."""
from typing import Any

import numpy as np
import onnx_ir as ir

LEAST = 1024  # values of an array that is worth it


def pack(graph: Any, weights: str) -> None:
    """Store the large float32 initializers of an onnx_ir.Graph as `weights`, in place.

    float16: with a Cast behind. int8: with a DequantizeLinear behind, one scale for each row of the first axis, and so
    for each output channel of a convolution.
    """
    if weights == 'float32':
        return
    for value in list(graph.initializers.values()):
        array = value.const_value.numpy()
        if array.dtype != np.float32 or array.size < LEAST or array.ndim < 2:
            continue
        if weights == 'float16':
            replace(graph, value, [array.astype(np.float16)], 'Cast', dict(to=ir.DataType.FLOAT))
        else:
            scale = np.abs(array.reshape(len(array), -1)).max(1) / 127
            scale = np.where(scale == 0, 1, scale).astype(np.float32)
            rows = scale.reshape(-1, *[1] * (array.ndim - 1))
            replace(graph, value, [np.rint(array / rows).astype(np.int8), scale], 'DequantizeLinear', dict(axis=0))


def replace(graph: Any, value: Any, stored: list[np.ndarray], operator: str, options: dict) -> None:
    """Put `operator` of the arrays `stored` in the place of the initializer `value`."""
    parts = []
    for i, array in enumerate(stored):
        part = ir.Value(name=f'{value.name}.{i}', shape=ir.Shape(array.shape), const_value=ir.tensor(array),
                        type=ir.TensorType(ir.tensor(array).dtype))
        graph.register_initializer(part)
        parts.append(part)
    node = ir.node(operator, parts, options)
    node.outputs[0].name = f'{value.name}.float32'
    value.replace_all_uses_with(node.outputs[0])
    del graph.initializers[value.name]
    graph.insert_before(graph[0], node)
