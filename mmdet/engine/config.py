"""Reading configs from files."""
import sys
from functools import reduce
from typing import Any

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from mmdet.errors import UserError
from mmdet.named_files import existing_config


def read_config(path: str, options: dict | None = None) -> Config:
    """Read a config file and override keys of it. Raises FileNotFoundError or ValueError that names the file."""
    existing_config(path)
    try:
        cfg = Config.fromfile(path)
    except SyntaxError as error:
        cure = '; save it as UTF-8 without a byte order mark' if 'U+FEFF' in str(error) else ''
        raise UserError(f'config {path} is no Python: {error}{cure}') from None
    except SystemExit:
        raise UserError(f'config {path} ends the program (sys.exit)') from None
    except Exception as error:  # a config is a program: anything may go wrong in it
        raise UserError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error
    if getattr(cfg, '_imported_names', None):
        cfg = Config(_named(cfg.to_dict()), cfg_text=cfg.text, filename=cfg.filename)
    if not isinstance(cfg.get('model'), dict):
        raise UserError(f'config {path} has no `model`; is it one of the parts that configs are made of?'
                        if 'model' not in cfg else f'config {path}: model is {cfg.model!r:.80}, not a dict')
    for key, value in (options or {}).items():
        if key == 'launcher':
            raise UserError(f'--cfg-options launcher={value}: the option --launcher says it')
        if key.split('.')[0] not in cfg:
            print(f'note: --cfg-options sets {key}, of which the config knew nothing', file=sys.stderr)
        if value == {} and reduce(_entry, key.split('.'), cfg):
            raise UserError(f'--cfg-options {key}={value}: an empty dict is merged into what is there and changes '
                            'nothing; dict(_delete_=True, ...) replaces it, None takes it away')
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, AssertionError) as error:
            raise UserError(f'--cfg-options {key}={value!r:.80} does not suit the config {path}: {error}') from None
    if any(key.startswith('custom_imports') for key in options or {}):
        import_named_modules(cfg)
    if not isinstance(cfg.model, dict):
        raise UserError(f'--cfg-options makes model {cfg.model!r:.80}, which must be a dict')
    cfg._cfg_dict.setdefault('default_scope', 'mmdet')
    return cfg


def _named(node: Any) -> Any:
    """`node` of a config that imports its types, with the short, registered names that other configs have."""
    if isinstance(node, (list, tuple)):
        return type(node)(map(_named, node))
    if not isinstance(node, dict):
        return node
    named = {key: _named(value) for key, value in node.items()}
    if isinstance(kind := named.get('type'), str) and kind.startswith(('mmdet.', 'mmcv.', 'mmengine.', 'torch.')):
        named['type'] = kind.rpartition('.')[2]
    return named


def import_named_modules(cfg: Config) -> None:
    """Import what `custom_imports` of a config names, as reading a file does."""
    named = cfg.custom_imports
    try:
        import_modules_from_strings(**named)
    except (ImportError, TypeError) as error:
        raise UserError(f'custom_imports={named}: {error}') from error


def _entry(node: Any, name: str) -> Any:
    """What `node` holds by this name or, a list, at this index; None where there is nothing."""
    if isinstance(node, (list, tuple)):
        return node[int(name)] if name.isdecimal() and int(name) < len(node) else None
    return node.get(name) if isinstance(node, dict | Config) else None


def innermost(dataset: dict) -> dict:
    """The config of the data set itself, out of those of RepeatDataset and other wrappers; the first of several."""
    while 'dataset' in dataset or dataset.get('datasets'):
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset
