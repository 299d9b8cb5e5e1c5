"""What a run stands on, for its log."""
import os
import platform
from importlib.metadata import version
from pathlib import Path

import cv2
import mmengine
import torch


def multiplies_bfloat16(cpu_flags: str | None = None) -> bool:
    """Whether the CPU has instructions for bfloat16. Without them it takes 3 times as long as float32.

    cpu_flags: as Linux tells them; by default those of this machine. True where nothing tells.
    """
    if cpu_flags is None:
        try:
            cpu_flags = Path('/proc/cpuinfo').read_text()
        except OSError:
            return True
    words = set(cpu_flags.split())
    return not words.isdisjoint({'avx512_bf16', 'amx_bf16', 'avx_ne_convert', 'bf16', 'svebf16'})


def environment(**run: str) -> str:
    """Versions, devices and what `run` tells, a line each, as text for the log."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    lines = {
        'Python': f'{platform.python_version()} on {platform.platform()}',
        'PyTorch': f'{torch.__version__}, torchvision {version("torchvision")}, OpenCV {cv2.__version__}, '
                   f'mmengine {mmengine.__version__}',
        'Device': f'{len(gpus)} x {gpus[0]}, CUDA {torch.version.cuda}' if gpus else
                  f'CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads a process',
        **run}
    return '\n'.join(['Environment', *(f'    {key:<10} {value}' for key, value in lines.items())])
