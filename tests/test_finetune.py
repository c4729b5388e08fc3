"""Fine-tuning and export of runs: to other labels, by matrices of low rank, to a folder that needs no data."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import diffkit
from diffkit import DiffkitError, RunFolder
from diffkit.cli.main import run as run_words
from diffkit.run import checkpoint
from diffkit.run.train import resume

TINY = ("net=mlp", "net.width=16", "net.blocks=1", "sampler.steps=3", "sample.n=3", "device=cpu", "train.batch_size=8")
OWN = ("data=image_folder", "data.path=own", "data.size=8", "data.channels=1")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four runs: of digits; from there, of digits inverted under two labels; and from there, lora and dora."""
    folder = tmp_path_factory.mktemp("finetune")
    digits, modality = diffkit.build("data", "digits"), diffkit.build("modality", "image")
    for i in range(40):
        x, label = digits[i]
        if label in (3, 8):
            place = folder / "own" / ("3" if label == 3 else "night")
            place.mkdir(parents=True, exist_ok=True)
            modality.save(-x, place / str(i), digits.spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DIFFKIT_CACHE", str(folder / "cache"))
        found = {"base": train("train.steps=12", "train.save_every=6")}
        found["weights"] = train(*OWN, "train.steps=2", "adapt=weights", f"adapt.run={found['base']}")
        for kind in ("lora", "dora"):
            words = (f"adapt={kind}", f"adapt.run={found['weights']}", "adapt.rank=2")
            found[kind] = train(*OWN, "train.steps=3", "train.ema=0.5", *words)
        yield found
        patch.undo()


def train(*words):
    return diffkit.train(*TINY, *words).path.resolve()


def weights(run, *names):
    return checkpoint.newest(run / "checkpoints", names or ("model", "ema"))[1]


def test_weights_start_from_the_average_with_rows_for_the_new_labels(runs, command, tmp_path):
    words = (*OWN[:1], f"data.path={runs['base'].parents[2] / 'own'}", *OWN[2:])
    done = command(*TINY, *words, "train.steps=1", "optim.lr=1e-20", "adapt=weights", f"adapt.run={runs['base']}")
    assert done.returncode == 0, done.stderr
    assert f"tensors from {runs['base']}, step 12" in done.stdout
    assert "labels: known 3; new night, beside the null label" in done.stdout
    (run,) = (command.folder / "runs/digits").iterdir()
    before, after = weights(runs["base"])["ema"], weights(run)["ema"]
    assert torch.equal(after.pop("condition.classes.weight")[[0, 2]], before.pop("condition.classes.weight")[[3, 10]])
    assert all(torch.allclose(after[name], before[name], atol=1e-12) for name in before)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_matrices_leave_what_they_are_beside_as_it_was(runs, kind):
    base = diffkit.load(runs["weights"]).denoiser.net.state_dict()
    model = weights(runs[kind])["model"]
    originals = {name: value for name, value in model.items() if ".weight.0." not in name}
    assert len(originals) == len(base)
    for name, value in originals.items():
        assert torch.equal(value, base[name.replace("parametrizations.weight.original", "weight")]), name
    assert any(value.any() for name, value in model.items() if name.endswith(".up"))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_loaded_run_draws_what_the_training_drew_in_a_plain_network(runs, kind):
    model = diffkit.load(runs[kind])
    plain = diffkit.build("net", model.config.net, spec=model.latent)
    assert {n: v.shape for n, v in model.denoiser.net.state_dict().items()} == {
        n: v.shape for n, v in plain.state_dict().items()
    }
    (sheet,) = runs[kind].glob("samples/step-00000003/sheet.png")
    drawn = [Image.open(path).tobytes() for path in sorted(sheet.parent.glob("*_0000?.png"))]
    for index, x in enumerate(model.sample(3)):
        stem = runs[kind] / f"again_{index}"
        (path,) = model.modality.save(x, stem, model.spec)
        assert Image.open(path).tobytes() in drawn
        path.unlink()


def test_a_run_of_matrices_goes_on_without_the_run_it_came_from(runs, tmp_path):
    copy = Path(shutil.copytree(runs["lora"], tmp_path / "lora"))
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace(str(runs["weights"]), str(tmp_path / "gone")))
    assert resume(copy, "train.steps=5").step == 5
    assert diffkit.load(copy).sample(1).isfinite().all()


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    return diffkit.export(runs["lora"], tmp_path_factory.mktemp("exported") / "model")


@pytest.mark.usefixtures("one_thread")
def test_an_export_draws_the_same_to_the_bit_where_there_is_no_data_and_no_fine_tuning(
    runs, exported, python, tmp_path
):
    moved = shutil.copytree(exported, tmp_path / "elsewhere")
    source = """
import sys, torch, diffkit
model = diffkit.load(sys.argv[1], "device=cpu")
assert not any(name.startswith("diffkit_finetune") for name in sys.modules)
torch.save(model.sample(3, seed=5), sys.argv[2])
"""
    env = {"DIFFKIT_DISABLE_PLUGINS": "diffkit-finetune"}
    done = python(source, moved, tmp_path / "x.pt", env=env)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "x.pt"), diffkit.load(runs["lora"]).sample(3, seed=5))


def test_an_export_is_one_file_of_weights_and_says_nothing_of_where_the_data_was(runs, exported):
    names = {"model.safetensors", "config.yaml", "data.json", "plugins.lock", "state.json", "SHA256SUMS"}
    assert {path.name for path in exported.iterdir()} == names
    said = (exported / "config.yaml").read_text() + (exported / "plugins.lock").read_text()
    assert str(runs["lora"].parents[2]) not in said
    assert "lora" not in said
    assert json.loads((exported / "state.json").read_text()) == {"step": 3}


def test_an_export_says_nothing_of_where_the_parts_of_a_mixture_were(runs, monkeypatch, tmp_path):
    monkeypatch.chdir(runs["base"].parents[2])
    place = Path("own").resolve()
    run = train(
        "train.steps=1", "data=mixture", f"data.sets=[digits,{{name:image_folder,path:'{place}',size:8,channels:1}}]"
    )
    said = (diffkit.export(run, tmp_path / "model") / "config.yaml").read_text()
    assert str(place.parent) not in said and "path: own" in said


def test_last_is_a_run_and_never_what_was_exported_into_it(tmp_path):
    for folder in ("spirals/a", "spirals/a/export"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.yaml").write_text("{}")
    assert RunFolder.find("last", out=str(tmp_path)).path == tmp_path / "spirals/a"


@pytest.mark.parametrize("name", ["model.safetensors", "data.json"])
def test_a_damaged_export_is_not_loaded(exported, tmp_path, name):
    copy = shutil.copytree(exported, tmp_path / "copy")
    data = bytearray((copy / name).read_bytes())
    data[-2] ^= 1 if name == "model.safetensors" else ord("}") ^ ord(" ")
    (copy / name).write_bytes(data)
    with pytest.raises(DiffkitError, match="damaged"):
        diffkit.load(copy)


def test_training_does_not_go_on_from_an_export(exported):
    with pytest.raises(DiffkitError, match=r"is an exported model, .*: diffkit adapt=weights adapt.run="):
        resume(exported)


def test_an_export_is_a_start_for_fine_tuning_too(runs, exported, monkeypatch):
    monkeypatch.chdir(runs["base"].parents[2])
    run = train("train.steps=1", "optim.lr=1e-20", "adapt=weights", f"adapt.run={exported}")
    before = diffkit.load(exported).denoiser.net.state_dict()
    after = diffkit.load(run).denoiser.net.state_dict()
    assert torch.allclose(after["blocks.0.enter.weight"], before["blocks.0.enter.weight"], atol=1e-12)


def test_the_command_exports_once(runs, command, tmp_path):
    done = command("export", runs["weights"], "shipped")
    assert done.returncode == 0, done.stderr
    assert "model    shipped" in done.stdout
    with pytest.raises(DiffkitError, match="shipped exists; export to another folder"):
        run_words(["export", str(runs["weights"]), str(command.folder / "shipped")])


def test_a_network_for_clips_says_of_each_frame_what_that_for_pictures_says(runs, monkeypatch):
    monkeypatch.chdir(runs["base"].parents[2])
    run = train("train.steps=2", "net=unet", "net.width=8", "sample.n=1")
    pictures = diffkit.load(run).denoiser.eval()
    spec = diffkit.DataSpec(1, (3, 8, 8), tuple("0123456789"))
    net = diffkit.build("net", {"name": "unet", "width": 8, "temporal": "factorised"}, spec=spec)
    clips = diffkit.Denoiser(net, "edm", "edm", spec=spec)
    (line,) = diffkit.build("adapt", "weights", run=str(run)).start(clips)
    x, lam, label = torch.randn(2, 1, 3, 8, 8), torch.tensor([-1.0, 1.0]), torch.tensor([3, 10])
    said = clips.net.eval()(x, lam, label=label)
    assert "tensors from" in line
    for i in range(3):
        assert torch.allclose(said[:, :, i], pictures.net(x[:, :, i], lam, label=label), atol=1e-5)
    flat = diffkit.Denoiser(diffkit.build("net", "mlp", spec=spec), "edm", "edm", spec=spec)
    with pytest.raises(DiffkitError, match="2 axes and here it has 3, but a MLP cannot be made of another"):
        diffkit.build("adapt", "weights", run=str(run)).start(flat)


def test_any_checkpoint_that_is_there_can_be_loaded(runs):
    early, late = (diffkit.load(runs["base"], step=step) for step in (6, 12))
    assert (early.step, late.step) == (6, 12)
    assert torch.equal(late.sample(1), diffkit.load(runs["base"]).sample(1))
    assert not torch.equal(early.sample(1), late.sample(1))
    with pytest.raises(DiffkitError, match="has no checkpoint of step 7; it has 6, 12"):
        diffkit.load(runs["base"], step=7)


LORA = ("adapt=lora", "adapt.run=BASE")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("adapt=lora", "adapt.run=nowhere"), "nowhere is not a run"),
        (("adapt=lora",), "needs adapt.run"),
        ((*LORA, "adapt.rank=1000"), "adapt.rank=1000 is out of range"),
        ((*LORA, "adapt.targets=[qkv]"), "matches nothing in this network"),
        (
            (*LORA, "net.width=32"),
            r"the MLP of .* has a .* of 16.*, and not of 32.* as here; give net=mlp net.width=16",
        ),
        ((*LORA, "net.blocks=2"), r"tensors, and not .* give net=mlp net.width=16 net.blocks=1"),
        ((*LORA, "net=unet"), r"is a MLP, not a UNet; give net=mlp net.width=16 net.blocks=1"),
        ((*LORA, "prediction=v"), "was trained with prediction=edm"),
        ((*LORA, *OWN[:2], "data.size=16"), r"would stay at random values; .*adapt.train=\[first.weight"),
    ],
    ids=["gone", "no run", "rank", "targets", "width", "depth", "kind", "prediction", "size"],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(runs, monkeypatch, words, said):
    monkeypatch.chdir(runs["base"].parents[2])
    before = sorted(Path("runs").rglob("*"))
    kind = () if any(word.startswith("net=") for word in words) else TINY[:3]
    with pytest.raises(DiffkitError, match=said):
        diffkit.train(*kind, *TINY[3:], *(word.replace("BASE", str(runs["base"])) for word in words))
    assert sorted(Path("runs").rglob("*")) == before
