"""A folder of pictures without annotations, for a detector to look at."""
from .options import Options
from .records import Collection, Picture
from .tree import Tree, split_of


def recognizes(tree: Tree) -> bool:
    return bool(tree.pictures)


def read(tree: Tree, options: Options) -> Collection:
    pictures = [Picture(path, 0, 0, split=split_of(path, tree.root)) for path in tree.pictures]
    return Collection(pictures, list(options.classes or []))
