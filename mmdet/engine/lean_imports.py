"""Puts off imports that take a third of a training's start and serve few: torch's compiler, FSDP, sharded optimizers.

- torch.optim and DistributedDataParallel import torch._dynamo, and sympy with it, to tell the compiler what to leave
  alone. A stand-in answers them until somebody asks for more.
- mmengine imports all that it registers. Three of its classes import FSDP; each is imported when it is used.

What has been imported before stays as it is.
"""
import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import torch  # noqa: F401  # whole, before its compiler is stood in for
from mmengine.registry import MODEL_WRAPPERS, OPTIMIZERS, RUNNERS, Registry

COMPILER = 'torch._dynamo'
RARE = {
    'mmengine.optim.optimizer.zero_optimizer': ('ZeroRedundancyOptimizer', OPTIMIZERS),
    'mmengine.model.wrappers.fully_sharded_distributed': ('MMFullyShardedDataParallel', MODEL_WRAPPERS),
    'mmengine.runner._flexible_runner': ('FlexibleRunner', RUNNERS),
}


def _put_off() -> None:
    if COMPILER not in sys.modules:
        sys.modules[COMPILER] = stand_in = CompilerStandIn()
        sys.meta_path.insert(0, stand_in.finder)
    for module, (name, registry) in RARE.items():
        if module not in sys.modules:
            later = Later(name, (), dict(module=module, registry=registry))
            registry.register_module(module=later)
            sys.modules[module] = ModuleType(module)
            setattr(sys.modules[module], name, later)


class CompilerStandIn(ModuleType):
    """Is torch._dynamo until somebody asks for a name that it has not, or imports a part of it."""

    def __init__(self) -> None:
        super().__init__(COMPILER)
        self.__path__: list[str] = []
        self.left_alone: list[Callable] = []
        # What DistributedDataParallel and destroy_process_group ask, and the answers where nothing is compiled.
        self.utils = SimpleNamespace(get_optimize_ddp_mode=lambda: 'ddp_optimizer')
        self.trace_rules = SimpleNamespace(clear_lru_cache=lambda: None)
        self.finder = PartFinder(self)

    @staticmethod
    def graph_break() -> None:
        """Where nothing is compiled there is no graph to break."""

    def disable(self, function: Callable, recursive: bool = True, **options: Any) -> Callable:
        """torch._compile caches this answer; the compiler gives its own as soon as it is there."""
        self.left_alone.append(function)
        return function

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # inspect looks at every module's __file__
            raise AttributeError(name)
        return getattr(self.compiler(), name)

    def compiler(self) -> ModuleType:
        """The true module, imported now at the latest."""
        if sys.modules.get(COMPILER) is self:
            sys.meta_path.remove(self.finder)
            del sys.modules[COMPILER]
            for function in self.left_alone:
                vars(function).pop('__dynamo_disable', None)
        return importlib.import_module(COMPILER)


class PartFinder:
    """Is asked where to find any module: an import of a part of the compiler ends the standing in."""

    def __init__(self, stand_in: CompilerStandIn):
        self.stand_in = stand_in

    def find_spec(self, name: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(f'{COMPILER}.'):
            return None
        path = self.stand_in.compiler().__path__
        if name in sys.modules:  # has come with the compiler, and must not be made twice
            return importlib.machinery.ModuleSpec(name, Made(sys.modules[name]))
        return importlib.machinery.PathFinder.find_spec(name, path)


class Made(importlib.abc.Loader):
    """A loader that has its module already."""

    def __init__(self, module: ModuleType):
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class Later(type):
    """Stands in for the class of this name in `module`, which is imported when the class is first used."""

    module: str
    registry: Registry

    def true_class(cls) -> type:
        """The class itself. It takes the place of this one in its registry and in mmengine's packages."""
        name = cls.__name__
        if cls.registry.module_dict.get(name) is cls:
            cls.registry.module_dict.pop(name)
            del sys.modules[cls.module]
            true = getattr(importlib.import_module(cls.module), name)
            for package in [module for key, module in sys.modules.items() if key.startswith('mmengine')]:
                if vars(package).get(name) is cls:
                    setattr(package, name, true)
        return getattr(sys.modules[cls.module], name)

    def __call__(cls, *args: Any, **options: Any) -> Any:
        return cls.true_class()(*args, **options)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.true_class(), name)

    def __instancecheck__(cls, instance: Any) -> bool:
        return cls.registry.module_dict.get(cls.__name__) is not cls and isinstance(instance, cls.true_class())


_put_off()
