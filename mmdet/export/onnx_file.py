"""Writes the graph of a detector as an ONNX file of standard operators (opset 18)."""
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.export import ExportedProgram

from mmdet.errors import UserError

from .program import first_line

OPSET = 18
OUTPUTS = ('boxes', 'labels', 'scores', 'masks')


def write_onnx(program: ExportedProgram, path: Path, meta: Mapping[str, str], weights: str = 'float32') -> None:
    """Write `program`, made by export_program, with `meta` as the file's metadata.

    Args:
        weights: how the file holds them, 'float32', 'float16' or 'int8'; the graph computes in float32 whatever it is.

    Raises:
        UserError: onnx or onnxscript is missing, or an operator of the graph has no form in ONNX.
    """
    try:
        import onnx  # noqa: F401  # the exporter needs it
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f'{error.name} is missing: pip install "mmdet-norms[export]"') from None
    from .onnx_operators import TRANSLATIONS
    from .onnx_weights import pack
    check_operators(program, {str(operator) for operator in TRANSLATIONS})
    outputs = OUTPUTS[:len(program.graph_signature.user_outputs)]
    try:
        file = torch.onnx.export(program, (), custom_translation_table=TRANSLATIONS, opset_version=OPSET, verbose=False,
                                 input_names=['images'], output_names=outputs)
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f'the model cannot be written as ONNX: {first_line(error)}') from error
    assert file is not None
    file.model.metadata_props.update(meta)
    pack(file.model.graph, weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)


def check_operators(program: ExportedProgram, known: set[str]) -> None:
    """Raise UserError where an operator is neither PyTorch's nor one of `known`; it names the part that calls it."""
    for node in program.graph.nodes:
        operator = str(node.target)
        if isinstance(node.target, torch._ops.OpOverload) and operator not in known and \
                node.target.namespace not in ('aten', 'prim', 'prims'):
            place, kind = list(node.meta.get('nn_module_stack', {'': ('', 'model')}).values())[-1]
            place = place.removeprefix('detector.')
            raise UserError(f'model.{place} ({str(kind).rpartition(".")[2]}) cannot be written as ONNX: its operator '
                            f'{operator} has no form there')
