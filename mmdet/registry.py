"""The registries a config builds from: each a child, in scope `mmdet`, of mmengine's registry of the same name.

A `type` nobody registered and a key no constructor takes are reported with the nearest name there is.
"""
import difflib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mmengine import registry as root
from mmengine.logging import print_log
from mmengine.registry import Registry

from mmdet.errors import UserError

SCOPE = 'mmdet'
# Classes that hand on what they do not name -> the keys that where it goes takes.
HANDED_ON = {'CheckpointHook': (), 'EMAHook': ('momentum', 'gamma', 'interval', 'device', 'update_buffers')}
# What a constructor raises for an argument that it cannot use.
MISFITS = (TypeError, ValueError, AssertionError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError)
_whole: list[Any] = []  # the config whose parts are built


def known_types(registry: Registry | None) -> list[str]:
    """Names that `registry` and its parents can build, nearest scope first."""
    names = []
    while registry is not None:
        registry.import_from_location()
        names += [name for name in registry.module_dict if name not in names]
        registry = registry.parent
    return names


def unknown_type(kind: str, known: Iterable[str], place: str) -> UserError:
    """The error to raise where `place`, a key of a config, has the `type` `kind` and `known` are those there are."""
    known = sorted(known)
    return UserError(f'{place}: unknown type {kind!r}.{nearest(str(kind), known)} Known types: {", ".join(known)}. A '
                     'class of your own must be registered in mmdet.registry, and its module named in custom_imports.')


def remember(cfg: Any) -> None:
    """Errors of what is built from now on tell its place in `cfg`."""
    _whole[:] = [cfg]


def _place(part: Any) -> str:
    """The dotted key of `part` in the config that is built, in brackets, or nothing."""
    def found(node: Any, place: str) -> Iterator[str]:
        if node is part or (place and node == part):
            yield place
        parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
        for key, value in parts:
            yield from found(value, f'{place}.{key}' if place else str(key))
    where = next((place for cfg in _whole for place in found(cfg.to_dict(), '')), '')
    return f' (config key {where})' if where else ''


def nearest(name: str, choices: Sequence[str]) -> str:
    """' Did you mean ...?', or nothing where no choice is near."""
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f' Did you mean {close[0]!r}?' if close else ''


def _parameters(cls: Any) -> list[str] | None:
    """Keys that `cls` takes, those it hands on to its parents included; None where any key might do."""
    names = []
    for part in inspect.getmro(cls) if inspect.isclass(cls) else [cls]:
        function = part.__dict__.get('__init__') if inspect.isclass(cls) else part
        if function is None:
            continue
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            return None
        names += [p.name for p in parameters
                  if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != 'self']
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
        if part.__name__ in HANDED_ON:
            return [*names, *HANDED_ON[part.__name__]]
    return None


def _takes_only_numbers(cls: Any, key: str) -> bool:
    """Whether the parameter `key` of `cls`, or of the parent that takes it, has the type of a number, or None."""
    for part in inspect.getmro(cls) if inspect.isclass(cls) else [cls]:
        function = part.__dict__.get('__init__') if inspect.isclass(cls) else part
        if key in getattr(function, '__annotations__', {}):
            try:
                hint = typing.get_type_hints(function)[key]
            except (NameError, TypeError):  # of names that exist for type checkers alone
                return False
            several = typing.get_origin(hint) in (typing.Union, types.UnionType)
            return set(typing.get_args(hint) if several else [hint]) <= {int, float, type(None)}
    return False


def check_keys(cfg: Any, registry: Registry, default_args: dict | None = None) -> None:
    """Raise the error a user can act on when `cfg` names an unknown type or holds a key its class does not take."""
    if isinstance(cfg, (list, tuple)):  # which becomes a Sequential
        for part in cfg:
            check_keys(part, registry, default_args)
    if not isinstance(cfg, dict):
        return  # mmengine's to refuse
    args = {**(default_args or {}), **cfg}
    if 'type' not in args:
        raise UserError(f'a config for {registry.name!r} needs the key "type"; it holds only {sorted(args)}'
                        f'{_place(cfg)}')
    with registry.switch_scope_and_registry(args.pop('_scope_', None)) as registry:
        kind = args.pop('type')
        cls = registry.get(kind) if isinstance(kind, str) else kind
        if cls is None:
            raise unknown_type(kind, known_types(registry), registry.name + _place(cfg))
    parameters = _parameters(cls)
    if parameters is None:
        return
    # What the Runner adds (default_args) and what mmengine's builder takes for itself is no key of the class.
    for key in cfg:
        if key not in parameters and key not in ('type', '_scope_', 'convert_to_iter_based'):
            raise UserError(f'{cls.__module__}.{cls.__name__} takes no key {key!r}{_place(cfg)}.'
                            f'{nearest(str(key), parameters)} It takes: {", ".join(parameters)}.')
        if isinstance(cfg[key], (str, list, tuple, dict)) and _takes_only_numbers(cls, key):
            raise UserError(f'{cls.__module__}.{cls.__name__} takes a number as {key}{_place(cfg)}, not '
                            f'{cfg[key]!r:.80}')


def _checked(build: Callable) -> Callable:
    @functools.wraps(build)
    def build_checked(cfg: Any, *args: Any, registry: Registry, **kwargs: Any) -> Any:
        check_keys(cfg, registry, *args, **kwargs)
        if registry.name in ('dataset', 'metric', 'runner') or not isinstance(cfg, dict):
            return build(cfg, *args, registry=registry, **kwargs)  # they read files or do work: an error may be a bug
        try:
            return build(cfg, *args, registry=registry, **kwargs)
        except UserError:
            raise
        except MISFITS as error:
            given = ', '.join(f'{key}={value!r:.40}' for key, value in cfg.items() if not isinstance(value, dict))
            raise UserError(f'dict({given[:200]}){_place(cfg)} cannot be built: {type(error).__name__}: '
                            f'{error}') from error
    return build_checked


class YieldingRegistry(Registry):
    """A registry whose own classes give way to those of other packages, whichever come first."""

    def _register_module(self, module: Any, module_name: str | list[str] | None = None, force: bool = False) -> None:
        names = [module_name] if isinstance(module_name, str) else module_name or [module.__name__]
        for name in names:
            there = self._module_dict.get(name, module)
            if _is_own(there) and not _is_own(module):
                print_log(f'{module.__module__}.{name} takes the place of {there.__module__}.{name}', logger='current')
                super()._register_module(module, name, force=True)
            elif _is_own(there) or not _is_own(module):
                super()._register_module(module, name, force)


def _is_own(module):
    return module.__module__.partition('.')[0] == SCOPE


def _child(name: str, *locations: str) -> Registry:
    parent = getattr(root, name)
    # The Runner builds through mmengine's registries, so the check belongs on both.
    parent.build_func = _checked(parent.build_func)
    return YieldingRegistry(parent.name, parent=parent, scope=SCOPE, locations=list(locations))


MODELS = _child('MODELS', 'mmdet.models')
TASK_UTILS = _child('TASK_UTILS', 'mmdet.models')
DATASETS = _child('DATASETS', 'mmdet.datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'mmdet.datasets')
TRANSFORMS = _child('TRANSFORMS', 'mmdet.datasets.transforms')
METRICS = _child('METRICS', 'mmdet.evaluation')
EVALUATOR = _child('EVALUATOR', 'mmdet.evaluation')
HOOKS = _child('HOOKS', 'mmdet.engine')
RUNNERS = _child('RUNNERS', 'mmdet.engine')
LOOPS = _child('LOOPS', 'mmdet.engine')
OPTIMIZERS = _child('OPTIMIZERS', 'mmdet.engine')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'mmdet.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'mmdet.engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'mmdet.engine')
LOG_PROCESSORS = _child('LOG_PROCESSORS', 'mmdet.engine')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS', 'mmdet.engine')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS', 'mmdet.models')
VISUALIZERS = _child('VISUALIZERS', 'mmdet.visualization')
VISBACKENDS = _child('VISBACKENDS', 'mmdet.visualization')
INFERENCERS = _child('INFERENCERS', 'mmdet.apis')
