"""Shares of a data set that are alike in their classes and keep what belongs together in one."""
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from mmdet.errors import UserError

from .records import Collection, Picture

NAMES = ('train', 'val', 'test')


def parse_shares(text: str) -> list[float]:
    """Shares of train, val and test, such as 0.8/0.1/0.1 or 80/20; they are scaled to a sum of 1."""
    try:
        shares = [float(part) for part in text.split('/')]
    except ValueError:
        shares = []
    if not 2 <= len(shares) <= 3 or min(shares) < 0 or not 0 < sum(shares) < float('inf'):
        raise UserError(f'--split is {text!r}: it must be shares of train, val and test such as 0.8/0.1/0.1, or own')
    return [share / sum(shares) for share in shares]


def group_of(picture: Picture, pattern: str | None) -> str:
    """What `pattern`, or its first bracket, finds in the path of a picture; the path where it finds nothing."""
    path = picture.path.as_posix()
    try:
        match = re.search(pattern, path) if pattern else None
    except re.error as error:
        raise UserError(f'--group-by is {pattern!r}, which is no regular expression: {error}') from None
    return path if match is None else f'group {match[1] if match.re.groups else match[0]}'


def split(collection: Collection, shares: Sequence[float], pattern: str | None = None, seed: int = 0) -> None:
    """Give each picture a split, so that pictures and the objects of each class are divided by `shares`.

    Groups that `pattern` makes stay together. Those that hold most, a rare class counting as much as a common one, are
    dealt out first, each to the split that lacks most of what it holds.
    """
    groups: dict[str, list[Picture]] = defaultdict(list)
    for picture in collection.pictures:
        groups[group_of(picture, pattern)].append(picture)
    members = [groups[name] for name in sorted(groups)]
    np.random.default_rng(seed).shuffle(members)  # type: ignore[arg-type]
    column = {name: i for i, name in enumerate(collection.classes)}
    counts = np.zeros((len(members), len(column) + 2))  # of each class, of empty pictures, of pictures
    for row, pictures in zip(counts, members, strict=True):
        for picture in pictures:
            row[-1] += 1
            row[-2] += not picture.objects
            for item in picture.objects:
                row[column[item.name]] += 1
    parts = counts / np.maximum(counts.sum(axis=0), 1)
    lacking = np.where(np.asarray(shares) > 0, shares, -1e9)[:, None].repeat(parts.shape[1], axis=1)
    weights = 1 / np.maximum(shares, 1e-9)
    for i in np.argsort(-parts.sum(axis=1), kind='stable'):
        place = int((lacking @ parts[i] * weights).argmax())  # the split that lacks the greatest part of its share
        lacking[place] -= parts[i]
        for picture in members[i]:
            picture.split = NAMES[place]
