"""What mmengine tells and no user needs."""
import logging
import re
import warnings

# It warns the user of its own use of a class of its own, and lists every parameter with paramwise_cfg. It does not know
# that a checkpoint here holds the gradients accumulated so far.
NOISE = re.compile('"(FileClient|HardDiskBackend)"|^paramwise_options|is skipped since its requires_grad=False$'
                   '|^Resumed iteration number is not divisible by `_accumulative_counts`')
# Its schedules count iterations. While gradients are accumulated several of them precede the optimizer's first step.
warnings.filterwarnings('ignore', r'Detected call of `scheduler\.step\(\)` before', UserWarning, 'mmengine')


def is_worth_telling(record: logging.LogRecord) -> bool:
    return not NOISE.search(record.getMessage())
