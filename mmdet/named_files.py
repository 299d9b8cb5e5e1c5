"""Files that a user names: there, or one error."""
import glob
from difflib import get_close_matches
from pathlib import Path

from mmdet.errors import MissingFileError


def existing_config(path: str) -> Path:
    """The config; MissingFileError, which tells names that are near, where there is none."""
    config = Path(path)
    if not config.is_file():
        known = {other.name.replace('-', '_'): other.name for other in config.parent.glob('*.py')}
        near = [known[name] for name in get_close_matches(config.name.replace('-', '_'), known, n=3)]
        raise MissingFileError(f'config {path} does not exist' + f'; did you mean {" or ".join(near)}?' * bool(near))
    return config


def existing_inputs(inputs: str) -> str:
    """What to detect on: a file, folder, pattern, URL or the number of a camera; MissingFileError where it is none."""
    if not (Path(inputs).exists() or glob.has_magic(inputs) or '://' in inputs or inputs.isdigit()):
        raise MissingFileError(f'{inputs} does not exist')
    return inputs


def existing_checkpoint(path: str) -> Path:
    """The file of a checkpoint on this machine; MissingFileError where there is none."""
    checkpoint = Path(path).expanduser()
    if not checkpoint.is_file():
        raise MissingFileError(f'checkpoint {checkpoint} does not exist' if not checkpoint.is_dir() else
                               f'checkpoint {checkpoint} is a folder; name a file in it')
    return checkpoint
