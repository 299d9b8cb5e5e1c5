"""Types under the names by which modules written for mmdetection 3.x import them."""
from collections.abc import Sequence
from typing import TypeAlias

from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData

ConfigType: TypeAlias = ConfigDict | dict
OptConfigType: TypeAlias = ConfigType | None
MultiConfig: TypeAlias = ConfigType | list[ConfigType]  # one for all, or one a part
OptMultiConfig: TypeAlias = MultiConfig | None
InstanceList: TypeAlias = list[InstanceData]
OptInstanceList: TypeAlias = InstanceList | None
PixelList: TypeAlias = list[PixelData]
OptPixelList: TypeAlias = PixelList | None
RangeType: TypeAlias = Sequence[tuple[int, int]]
