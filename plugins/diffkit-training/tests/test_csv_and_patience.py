import csv

import pytest
from diffkit_training import CSV, Patience

from diffkit import DiffkitError, build


def logged(folder, lines, tracker=None):
    tracker = tracker or CSV()
    tracker.start(folder, {})
    for step, values in lines:
        tracker.log(step, values)
    tracker.close()
    return list(csv.DictReader((folder / tracker.file).open()))


def test_every_log_is_a_line(tmp_path):
    rows = logged(tmp_path, [(20, {"loss": 0.5, "lr": 1e-3}), (40, {"loss": 0.25, "lr": 5e-4})])
    assert rows == [{"step": "20", "loss": "0.5", "lr": "0.001"}, {"step": "40", "loss": "0.25", "lr": "0.0005"}]


def test_a_line_is_on_the_disk_at_once(tmp_path):
    tracker = CSV()
    tracker.start(tmp_path, {})
    tracker.log(1, {"loss": 1.0})
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,loss", "1,1.0"]


def test_a_run_that_goes_on_replaces_the_lines_it_takes_again(tmp_path):
    logged(tmp_path, [(20, {"loss": 3.0}), (40, {"loss": 2.0}), (60, {"loss": 1.0})])
    rows = logged(tmp_path, [(40, {"loss": 2.5}), (60, {"loss": 1.5})])
    assert [(row["step"], row["loss"]) for row in rows] == [("20", "3.0"), ("40", "2.5"), ("60", "1.5")]


def test_other_values_of_a_step_are_another_line_and_a_run_that_goes_back_replaces_what_it_takes_again(tmp_path):
    rows = logged(tmp_path, [(2, {"loss": 3.0}), (4, {"loss": 2.0}), (4, {"val_loss": 2.5}), (6, {"loss": 9.0})])
    assert [(row["step"], row["loss"], row["val_loss"]) for row in rows[1:3]] == [("4", "2.0", ""), ("4", "", "2.5")]
    again = CSV("again.csv")
    rows = logged(tmp_path, [(2, {"loss": 3.0}), (4, {"loss": 9.0}), (6, {"loss": 9.0}), (4, {"loss": 2.0})], again)
    assert [(row["step"], row["loss"]) for row in rows] == [("2", "3.0"), ("4", "2.0")]


def test_a_torn_line_is_dropped(tmp_path):
    logged(tmp_path, [(20, {"loss": 3.0, "lr": 0.1}), (40, {"loss": 2.0, "lr": 0.1})])
    for torn in ("60,1", "60,1\r\n"):
        with (tmp_path / "metrics.csv").open("a") as file:
            file.write(torn)
        rows = logged(tmp_path, [(80, {"loss": 1.0, "lr": 0.1})])
        assert [row["step"] for row in rows] == ["20", "40", "80"]


def test_a_value_not_seen_before_becomes_a_column(tmp_path):
    rows = logged(tmp_path, [(1, {"loss": 3.0}), (2, {"loss": 2.0, "frechet": 7.0}), (3, {"loss": 1.0})])
    assert [row["frechet"] for row in rows] == ["", "7.0", ""]
    assert [row["loss"] for row in rows] == ["3.0", "2.0", "1.0"]


def test_it_refuses_a_path_for_a_name():
    with pytest.raises(DiffkitError, match=r"file=\.\./x.csv is not the name of a file"):
        build("tracker", {"name": "csv", "file": "../x.csv"})


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    tracker = CSV()
    tracker.start(tmp_path / "gone", {})
    with pytest.raises(DiffkitError, match=r"gone.*cannot be written"):
        tracker.log(1, {"loss": 1.0})


def stopping_step(patience, losses, every=10):
    return next((i * every for i, loss in enumerate(losses, 1) if patience.after_log(i * every, {"loss": loss})), None)


def test_a_loss_that_keeps_falling_is_never_stopped():
    assert stopping_step(Patience(steps=50), [0.99**i for i in range(500)]) is None


def test_a_constant_loss_is_stopped_after_the_steps_asked_for():
    assert stopping_step(Patience(steps=200, smoothing=1), [1.0] * 100) == 210
    assert stopping_step(Patience(steps=200, smoothing=5), [1.0] * 100) == 250


def test_noise_on_a_falling_loss_does_not_stop_it():
    losses = [0.995**i * (1.3 if i % 2 else 0.7) for i in range(400)]
    assert stopping_step(Patience(steps=100), losses) is None
    assert stopping_step(Patience(steps=100, smoothing=1), [1.0 if i % 20 == 0 else 2.0 for i in range(40)]) == 110


def test_an_improvement_below_the_least_does_not_count():
    assert stopping_step(Patience(steps=100, smoothing=1, least=0.05), [1 - i * 1e-4 for i in range(400)]) == 110


def test_a_value_that_is_not_logged_is_an_error_that_says_which_are():
    with pytest.raises(DiffkitError, match=r"value=fid is not logged; choose one of loss, lr"):
        Patience(value="fid").after_log(1, {"loss": 1.0, "lr": 0.1})


def test_the_loss_of_validation_is_waited_for_among_those_of_training():
    patience = Patience(steps=100, value="val_loss", smoothing=1)
    stops = []
    for step in range(10, 500, 10):
        stops.append(patience.after_log(step, {"loss": 1.0 / step}))
        if step % 50 == 0:
            stops.append(patience.after_log(step, {"val_loss": max(1.0, 200 - step)}))
        if stops[-1]:
            break
    assert step == 300


def test_a_loss_of_validation_that_never_comes_is_an_error_in_the_end():
    patience = Patience(steps=100, value="val_loss")
    assert not any(patience.after_log(step, {"loss": 1.0}) for step in range(1000, 1100, 10))
    with pytest.raises(DiffkitError, match=r"value=val_loss is not logged; choose one of loss, or val_loss with train"):
        patience.after_log(1100, {"loss": 1.0})


@pytest.mark.parametrize(("option", "value"), [("steps", 0), ("smoothing", 0.5), ("least", 1.0)])
def test_an_option_out_of_range_is_refused_by_name(option, value):
    with pytest.raises(DiffkitError, match=f"{option}={value} is out of range"):
        build("callback", {"name": "patience", option: value})
