"""Where a checkpoint lies: a local file, a URL, or one of the short names of configs."""
import contextlib
import hashlib
import http.client
import os
import re
import socket
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import torch

from mmdet.errors import MissingFileError, UserError
from mmdet.named_files import existing_checkpoint

from .file import read_file

THIRD_PARTY = 'https://download.openmmlab.com/pretrain/third_party/'
# The backbones that mmdetection's ResNet configs start from, under the names they use.
OPEN_MMLAB = {
    'detectron/resnet50_caffe': 'resnet50_caffe-788b5fa3.pth',
    'detectron/resnet101_caffe': 'resnet101_caffe-3ad79236.pth',
    'detectron/resnet50_gn': 'resnet50_gn-9186a21c.pth',
    'detectron/resnet101_gn': 'resnet101_gn-cac0ab98.pth',
    'detectron2/resnet50_caffe': 'resnet50_msra-5891d200.pth',
    'detectron2/resnet101_caffe': 'resnet101_msra-6cc46731.pth',
    'contrib/resnet50_gn': 'resnet50_gn_thangvubk-ad1730dd.pth',
    'jhu/resnet50_gn_ws': 'resnet50_gn_ws-15beedd8.pth',
    'jhu/resnet101_gn_ws': 'resnet101_gn_ws-3e3c308c.pth',
}
CONNECT_TIMEOUT = 30  # seconds
HASH = re.compile(r'-([0-9a-f]{8,})\.\w+$')  # the beginning of the SHA-256 of a file, in its name


def resolve(source: str) -> str:
    """Turn `torchvision://resnet50` or `open-mmlab://detectron2/resnet50_caffe` into its URL; leave the rest alone."""
    scheme, _, name = source.partition('://')
    if scheme in ('torchvision', 'modelzoo'):
        return _torchvision_url(source, name)
    if scheme in ('open-mmlab', 'openmmlab'):
        if name not in OPEN_MMLAB:
            raise UserError(f'{source}: unknown name. Known: {", ".join(OPEN_MMLAB)}. '
                            'Any other checkpoint can be given as a URL or a path.')
        return THIRD_PARTY + OPEN_MMLAB[name]
    return source


def local_file(source: str | Path) -> Path:
    """The file that holds `source`; what is not on this machine is downloaded once into torch's cache folder.

    Raises FileNotFoundError that says how to give the file by hand when it is missing or cannot be downloaded.
    """
    source = str(source)
    url = resolve(source)
    if not url.startswith(('http://', 'https://')):
        return existing_checkpoint(url)
    path = Path(torch.hub.get_dir(), 'checkpoints', cached_name(url))
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if not path.is_file():  # another process of this machine may just have fetched it
                _download(url, path, source)
    return path


def cached_name(url: str) -> str:
    """Where in the cache a download of `url` lies: by its last part if that tells the content, else by all of it."""
    name = urllib.parse.urlsplit(url).path.rpartition('/')[2] or 'checkpoint'
    return name if HASH.search(name) else f'{hashlib.sha256(url.encode()).hexdigest()[:16]}/{name}'


def _torchvision_url(source: str, name: str) -> str:
    from torchvision.models import get_model_weights
    model, _, version = name.partition('.')
    try:
        weights = get_model_weights(model)
        # Configs mean the first weights torchvision published; DEFAULT are later ones, trained differently.
        return weights[version.upper() or next(iter(weights)).name].url
    except (ValueError, KeyError, StopIteration) as error:
        raise UserError(f'{source}: torchvision has no such weights ({error})') from None


def _download(url: str, path: Path, source: str) -> None:
    """Under another name until it is whole and a checkpoint: a page of HTML or a cut file never stays."""
    print(f'Downloading {url} to {path}', file=sys.stderr)
    digest = HASH.search(path.name)
    part = path.with_name(f'{path.name}.part')
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_TIMEOUT)
    try:
        torch.hub.download_url_to_file(url, str(part), digest and digest[1], progress=sys.stderr.isatty())
        read_file(part)
        part.replace(path)
    except (OSError, RuntimeError, http.client.HTTPException, UserError) as error:
        reason = str(error).replace(str(part), 'what came')
        raise MissingFileError(
            f'cannot download {url}' + (f' (for {source})' if source != url else '') + f': {reason}. '
            f'Fetch it on a machine with network, then either save it as {path} or name it in the config, '
            f'e.g. --cfg-options model.backbone.init_cfg.checkpoint=/path/to/{path.name}') from None
    finally:
        socket.setdefaulttimeout(timeout)
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time fetch `path`; the system drops the lock of a killed one."""
    try:
        import fcntl
    except ImportError:  # Windows: every process downloads, each into a file of its own that is then renamed
        yield
        return
    with open(f'{path}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.remove(lock.name)
