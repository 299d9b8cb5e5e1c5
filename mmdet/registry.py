"""The registries a config builds from: each a child, in scope `mmdet`, of mmengine's registry of the same name.

A `type` nobody registered and a key no constructor takes are reported with the nearest name there is.
"""
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mmengine import registry as root
from mmengine.registry import Registry

from mmdet.errors import UserError

SCOPE = 'mmdet'


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
    return UserError(f'{place}: unknown type {kind!r}.{_nearest(kind, known)} Known types: {", ".join(known)}. A class '
                    'of your own must be registered in mmdet.registry, and its module named in custom_imports.')


def _nearest(name: str, choices: Sequence[str]) -> str:
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
        names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return None


def _check(cfg: Any, registry: Registry, default_args: dict | None = None) -> None:
    """Raise the error a user can act on when `cfg` names an unknown type or holds a key its class does not take."""
    if not isinstance(cfg, dict):
        return  # lists become Sequential; anything else is mmengine's to refuse
    args = {**(default_args or {}), **cfg}
    if 'type' not in args:
        raise UserError(f'a config for {registry.name!r} needs the key "type"; it holds only {sorted(args)}')
    with registry.switch_scope_and_registry(args.pop('_scope_', None)) as registry:
        kind = args.pop('type')
        cls = registry.get(kind) if isinstance(kind, str) else kind
        if cls is None:
            raise unknown_type(kind, known_types(registry), registry.name)
    parameters = _parameters(cls)
    if parameters is None:
        return
    # What the Runner adds (default_args) and what mmengine's builder takes for itself is no key of the class.
    for key in cfg:
        if key not in parameters and key not in ('type', '_scope_', 'convert_to_iter_based'):
            raise UserError(f'{cls.__module__}.{cls.__name__} takes no key {key!r}.{_nearest(key, parameters)} '
                            f'It takes: {", ".join(parameters)}.')


def _checked(build: Callable) -> Callable:
    @functools.wraps(build)
    def build_checked(cfg: Any, *args: Any, registry: Registry, **kwargs: Any) -> Any:
        _check(cfg, registry, *args, **kwargs)
        return build(cfg, *args, registry=registry, **kwargs)
    return build_checked


def _child(name: str, *locations: str) -> Registry:
    parent = getattr(root, name)
    # The Runner builds through mmengine's registries, so the check belongs on both.
    parent.build_func = _checked(parent.build_func)
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=list(locations))


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
