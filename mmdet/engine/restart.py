"""Whether a launcher has started a training again."""
import os
from pathlib import Path

RESTARTS = ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT')  # of torchrun --max-restarts and of a requeued job


def restarted(work_dir: str) -> bool:
    """Whether this run was started before and left a checkpoint in `work_dir` to go on from.

    A file there notes when the run was started first, so that an earlier run's checkpoint is not taken for its own.
    """
    started, latest = Path(work_dir, '.started'), Path(work_dir, 'last_checkpoint')
    if any(int(os.environ.get(name, 0)) for name in RESTARTS):
        return latest.exists() and (not started.exists() or latest.stat().st_mtime_ns >= started.stat().st_mtime_ns)
    if int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))) == 0:
        started.parent.mkdir(parents=True, exist_ok=True)
        started.touch()
    return False
