"""Lets a training that is asked to stop finish its step and write a checkpoint."""
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import distributed as dist

from mmdet.registry import HOOKS

from ..distributed import device_type
from .checkpoint_hook import write_stopped

# Sent by Slurm, spot machines and torchrun; by Ctrl-C; by a terminal that is closed.
SIGNALS = [getattr(signal, name) for name in ('SIGTERM', 'SIGUSR1', 'SIGINT', 'SIGHUP') if hasattr(signal, name)]
ONE_SIGNAL = 1.  # seconds: make, torchrun and the like pass on what the whole group got, so each comes twice
STOPPED = 75  # exit status: EX_TEMPFAIL of sysexits.h, try again later


@HOOKS.register_module()
class StopHook(Hook):
    """Ends the training behind the step in which a signal of SIGNALS came, with a checkpoint to resume from.

    All processes end behind the same step, whichever of them was told. The exit status is STOPPED, after Ctrl-C 130.
    The same signal once more, ONE_SIGNAL later or after that, ends a process at once.
    """
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._asked = 0  # the signal's number
        self._agree = LaggedMaximum()
        self._val_batches: int | None = None  # of the process that has fewest; None where no training listens

    def before_train(self, runner: Runner) -> None:
        runner.at_end.enter_context(_listening(self._note))
        self._val_batches = 0

    def _note(self, number: int) -> None:
        self._asked = number

    def before_val_epoch(self, runner: Runner) -> None:
        if self._val_batches is None:
            return
        batches = torch.tensor(len(runner.val_dataloader), device=device_type())
        if dist.is_initialized():
            dist.all_reduce(batches, dist.ReduceOp.MIN)
        self._val_batches = int(batches)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        number = self._agree(self._asked)
        if number:
            self._stop(runner, number, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self._val_batches is None or batch_idx >= self._val_batches:
            return
        number = self._agree(self._asked)
        if number:
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(runner)  # gives the model its own weights back
            self._stop(runner, number, dict(epoch=runner.epoch, iter=runner.iter))

    def _stop(self, runner: Runner, number: int, meta: dict) -> None:
        path = write_stopped(runner, meta)
        name = signal.Signals(number).name
        runner.logger.warning(f'Stopped by {name} after iteration {meta["iter"]}: the same command with --resume goes '
                              f'on from {path}')
        if dist.is_initialized():
            dist.barrier()  # a launcher ends the others when the first has left
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if runner.launcher == 'slurm' and runner.world_size > 1:
            # srun --kill-on-bad-exit kills those who are still leaving, and tells their status.
            if runner.rank > 0:
                raise SystemExit(0)
            time.sleep(5)
        raise SystemExit(STOPPED)


@contextlib.contextmanager
def _listening(note: Callable[[int], None]) -> Iterator[None]:
    """Let `note` be told the first signal of each kind; one that comes later than ONE_SIGNAL acts as ever."""
    pid = os.getpid()
    heard = dict[int, float]()

    def hear(number: int, frame: Any) -> None:
        now = time.monotonic()
        if number in heard:
            if now - heard[number] >= ONE_SIGNAL:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        heard[number] = now
        if os.getpid() == pid:  # else a loader's worker, which goes on as long as it is needed
            note(number)
            name = signal.Signals(number).name
            with contextlib.suppress(OSError):
                os.write(2, f'\n{name}: stops behind this step; once more stops at once\n'.encode())

    before = {}
    if threading.current_thread() is threading.main_thread():  # Python hears signals nowhere else
        before = {number: signal.signal(number, hear) for number in SIGNALS
                  if signal.getsignal(number) != signal.SIG_IGN}  # as nohup wants it
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class LaggedMaximum:
    """The largest number that the processes gave at the call before; on one process, at this one.

    A GPU's answer of a step ago is there, or the GPU has this step's work to do while one waits.
    """

    def __init__(self) -> None:
        self._last: tuple[torch.Tensor, Callable[[], Any]] | None = None

    def __call__(self, number: int) -> int:
        if not dist.is_initialized():
            return number
        value = torch.full((), number, dtype=torch.int32, device=device_type())
        work: Any = dist.all_reduce(value, dist.ReduceOp.MAX, async_op=True)
        wait = work.wait
        if value.is_cuda:
            work.wait()  # the stream does, not the host
            value = torch.empty((), dtype=torch.int32, pin_memory=True).copy_(value, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            wait = event.synchronize
        last, self._last = self._last, (value, wait)
        if last is None:
            return 0
        last[1]()
        return int(last[0])
