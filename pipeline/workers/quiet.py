"""Ray Data without its own output: the caller shows progress."""

import logging

from ray.data import Dataset


def quiet(dataset: Dataset) -> Dataset:
    """The same dataset; running it draws no bars and logs errors only."""
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    # Every run of a dataset announces itself twice, and a long training runs hundreds.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return dataset
