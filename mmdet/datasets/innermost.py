"""The data set itself, out of RepeatDataset and other wrappers."""
from typing import Any


def innermost_dataset(dataset: Any) -> Any:
    """The data set that wrappers hold; the first of several."""
    while hasattr(dataset, 'datasets') or hasattr(dataset, 'dataset'):
        dataset = dataset.datasets[0] if hasattr(dataset, 'datasets') else dataset.dataset
    return dataset
