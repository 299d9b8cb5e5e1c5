"""How strong a transform of AutoAugment is."""
import numpy as np

MAX_LEVEL = 10


def magnitude(level: int | None, least: float, most: float) -> float:
    """From `least` at level 0 to `most` at level 10, in tenths; drawn where the level is None."""
    share = np.random.rand() if level is None else level / MAX_LEVEL
    return round(share * (most - least) + least, 1)
