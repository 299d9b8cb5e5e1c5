"""The key `compile` of a config."""
import inspect
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from mmdet.errors import UserError


def compile_parts(detector: nn.Module, options: bool | dict[str, Any]) -> None:
    """Let torch.compile compile the detector's parts; mmengine would compile the whole step, losses, logging and all.

    Args:
        options: True, or a dict of torch.compile's options.

    Raises:
        UserError: options that are none.
    """
    known = [name for name in inspect.signature(torch.compile).parameters if name != 'model']
    if options is not True and (not isinstance(options, dict) or not options.keys() <= set(known)):
        raise UserError(f'compile={options!r} must be True, False or a dict of options of torch.compile, such as '
                        f"dict(mode='max-autotune'); known: {', '.join(known)}")
    try:
        detector.compile(**({} if options is True else options))
    except RuntimeError as error:
        raise UserError(f'compile={options!r}: {error}') from error
    print_log('The model is compiled as its first batches of each shape come; they take minutes', 'current')
