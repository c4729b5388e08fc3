"""W&B and MLflow by the calls they get: stand-ins keep a record, and refuse what the services refuse."""

import json
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
from diffkit_trackers import MLflow, WandB

from diffkit import DiffkitError, build


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the module: runs by id, each with what it was given."""
    module = ModuleType("wandb")
    module.runs, module.inits = {}, []

    class Run:
        def __init__(self):
            self.history, self.ends = [], []

        def log(self, values, step):
            assert not self.history or step >= self.history[-1][0], "W&B drops steps that go back"
            self.history.append((step, values))

        def finish(self, exit_code):
            self.ends.append(exit_code)

    def init(*, id, **how):
        assert how["resume"] == "allow"
        module.inits.append({"id": id, **how})
        return module.runs.setdefault(id, Run())

    module.init, module.Image, module.Error = init, lambda path: f"image of {path}", type("Error", (Exception,), {})
    module.Settings = lambda **settings: settings
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture
def mlflow(monkeypatch):
    """A stand-in for the module: a client that records and checks names as MLflow does."""
    module = ModuleType("mlflow")
    module.MlflowException = type("MlflowException", (Exception,), {})
    module.entities = SimpleNamespace(Metric=lambda *values: values, Param=lambda *values: values)
    runs, allowed = {}, re.compile(r"[\w\-. :/]+")

    class Client:
        def __init__(self, tracking_uri):
            self.uri = tracking_uri

        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            return name

        def create_run(self, experiment, run_name):
            id = f"run{len(runs)}"
            runs[id] = SimpleNamespace(
                experiment=experiment, name=run_name, metrics=[], params={}, images=[], states=[]
            )
            return SimpleNamespace(info=SimpleNamespace(run_id=id))

        def set_terminated(self, id, status):
            if id not in runs:
                raise module.MlflowException(f"no run {id}")
            runs[id].states.append(status)

        def log_dict(self, id, values, file):
            runs[id].config = json.loads(json.dumps(values))

        def log_batch(self, id, metrics=(), params=()):
            assert len(params) <= 100
            assert all(allowed.fullmatch(entry[0]) for entry in (*metrics, *params))
            assert not {key for key, _ in params} & set(runs[id].params), "MLflow's params are written once"
            runs[id].metrics += [(key, step, value) for key, value, _, step in metrics]
            runs[id].params.update(params)

        def log_image(self, id, image, key, step):
            runs[id].images.append((key, step, image.size))

    module.MlflowClient, module.runs = Client, runs
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module


def test_wandb_gets_curves_sheets_and_the_config(wandb, live, folder, sheet):
    live(lambda: WandB(project="p", mode="offline"), range(1, 7))
    (run,) = wandb.runs.values()
    (init,) = wandb.inits
    assert (init["project"], init["mode"], init["name"], init["dir"]) == ("p", "offline", "a run", str(folder))
    assert init["config"]["net"]["widths"] == [8, 8]
    assert [values["loss"] for _, values in run.history if "loss" in values] == [1 / step for step in range(1, 7)]
    assert (4, {"samples": f"image of {sheet}"}) in run.history
    assert run.ends == [0]


def test_wandb_is_told_nothing_of_the_machine_but_its_load(wandb, live):
    live(WandB, [1])
    assert wandb.inits[0]["settings"] == {
        "console": "off",
        "disable_git": True,
        "save_code": False,
        "x_disable_meta": True,
        "host": "-",
    }


def test_a_run_that_goes_on_is_told_to_wandb_with_every_step_once(wandb, live):
    live(WandB, range(1, 6), closes=False)
    live(WandB, range(3, 7))
    live(WandB, range(5, 9))
    (run,) = wandb.runs.values()
    assert [step for step, values in run.history if "loss" in values] == list(range(1, 9))
    assert [step for step, values in run.history if "samples" in values] == [4]


def test_a_failed_login_is_said_with_what_to_type(wandb, folder):
    def init(**_):
        raise wandb.Error("no key\nat all")

    wandb.init = init
    with pytest.raises(DiffkitError, match=r"no key at all.*wandb login, or tracker\.mode=offline"):
        WandB().start(folder, {})


def test_mlflow_gets_curves_sheets_and_the_config(mlflow, live):
    live(lambda: MLflow(experiment="e"), range(1, 7))
    (run,) = mlflow.runs.values()
    assert (run.experiment, run.name) == ("e", "a run")
    assert [(step, value) for key, step, value in run.metrics if key == "loss"] == [(s, 1 / s) for s in range(1, 7)]
    assert ("val_loss/1.25", 4, 0.25) in run.metrics
    assert run.images == [("samples", 4, (12, 8))]
    assert run.params == {"recipe": "digits", "train.steps": "6", "net.name": "mlp", "net.widths": "[8, 8]"}
    assert run.config["net"] == {"name": "mlp", "widths": [8, 8]}
    assert run.states == ["RUNNING", "FINISHED"]


def test_a_run_that_goes_on_is_told_to_mlflow_with_every_step_once(mlflow, live):
    live(MLflow, range(1, 6), closes=False)
    live(MLflow, range(3, 7))
    (run,) = mlflow.runs.values()
    assert [step for key, step, _ in run.metrics if key == "loss"] == [1, 2, 3, 4, 5, 6]
    assert [step for _, step, _ in run.images] == [4]


def test_a_run_that_failed_is_said_to_have(mlflow, wandb, live):
    for make in (MLflow, WandB):
        tracker = live(make, [1], closes=False)
        try:
            raise RuntimeError
        except RuntimeError:
            tracker.close()
    assert next(iter(mlflow.runs.values())).states[-1] == "FAILED"
    assert next(iter(wandb.runs.values())).ends == [1]


def test_a_store_that_does_not_know_the_run_is_said_with_what_to_type(mlflow, live, folder):
    live(MLflow, [1])
    mlflow.runs.clear()
    with pytest.raises(DiffkitError, match=r"no run run0.*tracker\.uri=…, or begin anew without .*mlflow\.json"):
        MLflow().start(folder, {})


def test_a_damaged_note_of_the_place_is_said_with_what_to_type(wandb, folder):
    (folder / "wandb.json").write_text("{")
    with pytest.raises(DiffkitError, match=r"wandb\.json cannot be read .*; remove it"):
        WandB().start(folder, {})


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_package_that_is_not_installed_is_said_before_there_is_a_run(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        DiffkitError,
        match=rf"tracker '{name}': the package {name} is not installed .*pip install 'diffkit-trackers\[{name}\]'",
    ):
        build("tracker", name)


def test_several_are_told_everything_and_their_options(mlflow, wandb, live):
    live(lambda: build("tracker", "several", names=["wandb", {"name": "mlflow", "experiment": "e"}]), range(1, 5))
    (run,) = mlflow.runs.values()
    assert run.experiment == "e"
    assert [step for key, step, _ in run.metrics if key == "loss"] == [1, 2, 3, 4]
    assert len(next(iter(wandb.runs.values())).history) == 6


def test_all_of_several_are_closed_also_where_one_fails_to(mlflow, wandb, live):
    several = live(lambda: build("tracker", "several", names=["wandb", "mlflow"]), [1], closes=False)

    def close():
        raise RuntimeError("gone")

    several.trackers[0].close = close
    with pytest.raises(RuntimeError, match="gone"):
        several.close()
    assert next(iter(mlflow.runs.values())).states[-1] in ("FINISHED", "FAILED")


@pytest.mark.parametrize("names", [[], ["csv", "csv"], ["several"]], ids=str)
def test_several_that_are_not_several_are_refused(names):
    with pytest.raises(DiffkitError, match="are not different trackers"):
        build("tracker", "several", names=names)
