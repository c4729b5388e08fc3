"""A run as a tracker sees it: started, killed after its last checkpoint, and gone on with."""

import pytest
from PIL import Image

CONFIG = {"recipe": "digits", "train": {"steps": 6}, "net": {"name": "mlp", "widths": [8, 8]}}


@pytest.fixture
def sheet(tmp_path):
    path = tmp_path / "sheet.png"
    Image.new("RGB", (12, 8), (200, 40, 40)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "a run"
    path.mkdir()
    return path


@pytest.fixture
def live(folder, sheet):
    """Return a function that lets a fresh tracker see steps of the run; step 4 has a validation and a sheet too."""

    def go(make, steps, closes=True):
        tracker = make()
        tracker.start(folder, CONFIG)
        for step in steps:
            tracker.log(step, {"loss": 1 / step})
            if step == 4:
                tracker.log(step, {"val_loss": 0.5, "val_loss/+1.25": 0.25})
                tracker.sheet(step, sheet)
        if closes:
            tracker.close()
        return tracker

    return go
