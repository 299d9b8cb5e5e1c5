"""The Runner: mmengine's, on any number of CPU processes or GPUs, with exact resume and named misfits."""
import contextlib
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, is_distributed, is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import BaseOptimWrapper, OptimWrapper
from mmengine.runner import BaseLoop, find_latest_checkpoint
from mmengine.runner import Runner as _Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from mmdet.checkpoints import load_weights, read_checkpoint
from mmdet.datasets.classes import settle_metainfo
from mmdet.errors import UserError
from mmdet.registry import RUNNERS

from . import classes
from .check_config import check_config
from .check_resume import check_training_state
from .compile_option import compile_parts
from .cuda_graph import use_cuda_graphs
from .distributed import ddp_options, device_type, exchange_gradients_in, start_process_group, unwrap
from .failures import named_failures
from .fused_optimizer import choose_kernel, keep_kernel
from .kept_memory import keep_freed_memory
from .loader_workers import prepare_workers
from .log_noise import is_worth_telling
from .machine import environment
from .running_statistics import average_running_statistics
from .seeded_batches import seed_batches
from .training_state import collect_training_state, restore_training_state
from .visual_backends import check_packages

# Hooks that every run has unless its config sets them to None.
STANDING_HOOKS = {'num_classes': dict(type='NumClassCheckHook'), 'invalid_loss': dict(type='CheckInvalidLossHook'),
                  'cbn': dict(type='CBNHook'), 'stop': dict(type='StopHook'), 'progress': dict(type='ProgressHook'),
                  'report': dict(type='ReportHook')}


@RUNNERS.register_module()
class Runner(_Runner):
    """Takes mmengine's config and has its methods; `from_cfg(cfg).train()` and `.test()` are all that tools need."""
    _strict = False  # whether a checkpoint that does not fit the model is an error
    _loaded_meta: dict = {}
    random_state: dict | None = None  # the training's, while a validation runs

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'Runner':
        check_config(cfg)
        return super().from_cfg(cfg)

    def setup_env(self, env_cfg: dict) -> None:
        keep_freed_memory()
        if self.distributed and not is_distributed():
            start_process_group(self.launcher, **env_cfg.get('dist_cfg', {}))
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if not self.distributed:
            return model.to(device_type())
        if is_model_wrapper(model):
            return super().wrap_model(model_wrapper_cfg, model)
        options = ddp_options(self.cfg, model_wrapper_cfg or {})
        gradient_dtype = options.pop('gradient_dtype', None)
        return exchange_gradients_in(gradient_dtype, super().wrap_model(options, model))

    def _maybe_compile(self, target: str) -> None:
        if self.cfg.get('cuda_graph'):
            use_cuda_graphs(unwrap(self.model), self.cfg.cuda_graph)
        if self.cfg.get('compile') not in (None, False):
            compile_parts(unwrap(self.model), self.cfg.compile)

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, seed: int | None = None,
                         diff_rank_seed: bool = False) -> DataLoader:
        ours = dict(collate_fn=dict(type='stacked_collate'), pin_memory=device_type() == 'cuda')
        dataloader = {**ours, **dataloader} if isinstance(dataloader, dict) else dataloader
        loader = _Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        # Each pass draws a seed for its workers: from a generator of its own, so that the additional pass of a run
        # resumed inside an epoch changes nothing that the training draws.
        loader.generator = loader.generator or torch.Generator().manual_seed(seed or 0)
        settle_metainfo(loader.dataset)
        seed_batches(loader, seed or 0)
        prepare_workers(loader)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        if isinstance(loop, dict) and 'by_epoch' in loop:  # the older way to name the loop; mmengine takes its own then
            loop = dict(loop, type='EpochBasedTrainLoop' if loop['by_epoch'] else 'IterBasedTrainLoop')
            del loop['by_epoch']
        return classes.build_train_loop(self, super().build_train_loop, loop)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        loop = {'type': 'ValLoop', **loop} if isinstance(loop, dict) else loop
        return classes.build_val_loop(self, super().build_val_loop, loop)

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        return classes.build_test_loop(self, super().build_test_loop, loop)

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | Optimizer | dict) -> BaseOptimWrapper:
        if not isinstance(optim_wrapper, dict) or not isinstance(optim_wrapper.get('optimizer'), dict):
            return super().build_optim_wrapper(optim_wrapper)
        optimizer_cfg = choose_kernel(optim_wrapper['optimizer'], self.model)
        wrapper = super().build_optim_wrapper({**optim_wrapper, 'optimizer': optimizer_cfg})
        keep_kernel(wrapper.optimizer)
        return wrapper

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(is_worth_telling)
        return logger

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        hooks = {**STANDING_HOOKS, **(hooks or {})}
        super().register_default_hooks({name: hook for name, hook in hooks.items()
                                        if hook or name not in STANDING_HOOKS})

    def get_hooks_info(self) -> str:
        return '\n'.join(f'    {type(hook).__name__:<24} {hook.priority}' for hook in self.hooks)

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        check_packages(visualizer)
        return super().build_visualizer(visualizer)

    def train(self) -> nn.Module:
        with named_failures(), contextlib.ExitStack() as self.at_end:
            return super().train()

    def test(self) -> dict[str, float]:
        self._strict = True
        with named_failures():
            return super().test()

    def val(self) -> dict[str, float]:
        self._strict = True
        with named_failures():
            return super().val()

    def _init_model_weights(self) -> None:
        if self.resume_from is None:  # the checkpoint holds every weight: no need for the pretrained ones
            super()._init_model_weights()

    @functools.cached_property
    def read_ahead(self) -> dict[str, dict]:
        """The checkpoint, by its path, whose classes were needed before its weights."""
        return {}

    @functools.cached_property
    def resume_from(self) -> str | None:
        """The checkpoint that training goes on from: the one asked for, else the last of the work_dir, else None."""
        if not self._resume:
            return None
        if self._load_from is not None:
            return self._load_from
        latest = find_latest_checkpoint(self.work_dir)
        if not latest:
            self.logger.info(f'No checkpoint to resume from in {self.work_dir}: training starts from the beginning')
            return None
        return latest if Path(latest).exists() else str(Path(self.work_dir, Path(latest).name))  # which has moved

    def load_or_resume(self) -> None:
        if self._has_loaded:
            return
        if self.resume_from is not None:
            self.resume(self.resume_from)
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)

    def load_checkpoint(self, filename: str, map_location: str | torch.device = 'cpu', strict: bool = False,
                        revise_keys: Sequence = ()) -> dict:
        checkpoint = self.read_ahead.pop(filename, None) or read_checkpoint(filename, map_location)
        if self._resume and not {'meta', 'message_hub'} <= checkpoint.keys():
            raise UserError(f'{filename} cannot be resumed: it holds weights, but not where the training stood. To '
                            f'start a training from them: --cfg-options load_from={filename}, without --resume')
        if self._resume:
            check_training_state(checkpoint, filename, self.optim_wrapper, self.param_schedulers)
        if self._resume and 'optimizer' not in checkpoint:
            self.logger.warning(f'{filename} holds no state of the optimizer: its momentum starts anew')
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        if 'conversion' in checkpoint:
            self.logger.info(f'{filename}\n{checkpoint["conversion"]}')
        misfit = load_weights(unwrap(self.model), checkpoint, strict or self._strict, filename)
        if misfit:
            self.logger.warning(f'{filename} does not fit the model everywhere:\n{misfit}')
        self._has_loaded = True
        self._loaded_meta = checkpoint.get('meta', {})
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def resume(self, filename: str, resume_optimizer: bool = True, resume_param_scheduler: bool = True,
               map_location: str | torch.device = 'cpu') -> None:
        """Go on where the checkpoint was written: weights, optimizer, schedule, place in the data, random state."""
        self._strict = True
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        restore_training_state(self, self._loaded_meta, filename)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, meta: dict | None = None, **kwargs: Any) -> None:
        """Write a checkpoint that is never half there. Every process must call it, rank 0 writes."""
        self.call_hook('before_checkpoint')  # in every process; before_save_checkpoint comes in the first one alone
        average_running_statistics(self)
        meta = {**(meta or {}), **collect_training_state(self)}
        if not isinstance(get_file_backend(out_dir), LocalBackend):
            return super().save_checkpoint(out_dir, filename, *args, meta=meta, **kwargs)
        unfinished = Path(out_dir, f'.{filename}.part')
        try:
            super().save_checkpoint(out_dir, unfinished.name, *args, meta=meta, **kwargs)
            if is_main_process():
                with open(unfinished, 'rb') as file:
                    os.fsync(file.fileno())
                unfinished.replace(Path(out_dir, filename))
        except OSError:  # a full disk
            unfinished.unlink(missing_ok=True)
            raise

    def _log_env(self, env_cfg: dict) -> None:
        seeds = ', '.join(map(str, dict.fromkeys(all_gather_object(self.seed))))  # one, or by rank
        processes, seed = f'{self.world_size}, launcher {self.launcher}', f'{seeds}, deterministic {self.deterministic}'
        self.logger.info(environment(Processes=processes, Seed=seed))
        self.logger.info(f'Config\n{self.cfg.pretty_text}')
