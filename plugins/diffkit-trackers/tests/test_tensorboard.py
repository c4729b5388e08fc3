"""What TensorBoard itself reads back of a run."""

import io

import pytest
from diffkit_trackers import TensorBoard
from PIL import Image

pytest.importorskip("tensorboard")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return found.Reload()


def scalars(found, tag):
    return [(event.step, pytest.approx(event.value)) for event in found.Scalars(tag)]


def test_the_curves_sheets_and_config_are_there(live, folder, sheet):
    live(TensorBoard, range(1, 7))
    found = read(folder)
    assert scalars(found, "loss") == [(step, 1 / step) for step in range(1, 7)]
    assert scalars(found, "val_loss/+1.25") == [(4, 0.25)]
    (shown,) = found.Images("samples")
    assert (shown.step, shown.width, shown.height) == (4, 12, 8)
    assert Image.open(io.BytesIO(shown.encoded_image_string)).size == (12, 8)
    text = found.Tensors("config")[0].tensor_proto.string_val[0].decode()
    assert "net.widths: [8, 8]" in text
    assert "recipe: digits" in text


def test_a_run_that_goes_on_has_every_step_once(live, folder):
    killed = live(TensorBoard, range(1, 6), closes=False)
    killed._writer.flush()
    live(TensorBoard, range(3, 7))
    found = read(folder)
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in found.Images("samples")] == [4]


def test_a_run_that_goes_back_has_every_step_once(live, folder):
    live(TensorBoard, [1, 2, 3, 2, 3])
    assert [event.step for event in read(folder).Scalars("loss")] == [1, 2, 3]


def test_an_unwritable_folder_is_said_in_a_sentence(tmp_path):
    from diffkit import DiffkitError

    (tmp_path / "tensorboard").write_text("a file")
    with pytest.raises(DiffkitError, match="tensorboard cannot be written"):
        TensorBoard().start(tmp_path, {})
