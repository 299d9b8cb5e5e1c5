"""What a run stands on, for its log."""
import os
import platform
from importlib.metadata import version

import cv2
import mmengine
import torch


def describe_machine() -> dict[str, str]:
    """Versions and devices, by the words under which they are logged."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        'Python': f'{platform.python_version()} on {platform.platform()}',
        'PyTorch': f'{torch.__version__}, torchvision {version("torchvision")}, OpenCV {cv2.__version__}, '
                   f'mmengine {mmengine.__version__}',
        'Device': f'{len(gpus)} x {gpus[0]}, CUDA {torch.version.cuda}' if gpus else
                  f'CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads a process',
    }
