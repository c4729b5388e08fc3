"""A stranger's package, from its source to a wheel, into a fresh environment beside the core's wheel, and out again."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PYTHON = """
import torch
import diffkit
from diffkit import Denoiser, build
from diffkit.testing import check_modality, check_network, check_sampler, check_schedule
from diffkit_spirals.model import Dense, Midpoint, PlainAdam, Root
from diffkit_spirals.points import Points, Spirals

# Its classes keep the contracts.
check_schedule(Root())
check_network(Dense, conditions=False)
check_sampler(Midpoint)
check_modality(Points(), Spirals())

# Its names, through a config.
run = diffkit.train("recipe=spirals", "train.steps=20", "sample.n=2", "net.width=16", "device=cpu")
model = diffkit.load(run.path)
assert model.sample(3, label="left", steps=4, seed=1, sampler="midpoint").shape == (3, 2, 8)

# Its names and classes, without one.
data = Spirals()
net = Dense(data.spec, width=16)
denoiser = Denoiser(net, build("schedule", "root"), prediction="clean")
denoiser.loss(data.items[:8], label=torch.zeros(8, dtype=torch.int64)).backward()
x = Midpoint(steps=4)(denoiser, torch.randn(2, 2, 8), label=torch.tensor([0, 1]))
assert x.shape == (2, 2, 8) and x.isfinite().all()
assert "site-packages" in diffkit.__file__
print("all of it works")
"""


def build_wheel(source, out, *parts):
    """Build a wheel from a copy of ``parts`` of a folder, and return it."""
    copy = out / f"source-{source.name}"
    copy.mkdir(parents=True)
    for part in parts:
        if (source / part).is_dir():
            shutil.copytree(source / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif (source / part).exists():
            shutil.copy(source / part, copy / part)
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out / source.name, copy]
    done = subprocess.run(words, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (out / source.name).glob("*.whl")
    return wheel


def lend(folder, environment):
    """Let an environment find what is installed here, but nothing of diffkit: to install torch again takes a minute."""
    folder.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "diffkit" not in entry.name and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    site = sysconfig.get_path("purelib", vars={"base": str(environment)})
    Path(site, "lent.pth").write_text(f"{folder}\n")


def test_a_strangers_package_is_built_installed_used_by_name_and_uninstalled(tmp_path):
    core = build_wheel(ROOT, tmp_path, "diffkit", "conf", "pyproject.toml", "README.md", "LICENSE")
    theirs = build_wheel(ROOT / "tests/outside", tmp_path, "src", "pyproject.toml")
    venv.create(tmp_path / "venv", with_pip=True)
    lend(tmp_path / "lent", tmp_path / "venv")
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    work = tmp_path / "work"
    work.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DIFFKIT", "HYDRA", "PYTHON"))}
    environment = {**clean, "OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def run(name, *words, status=0):
        done = subprocess.run(
            [scripts / name, *map(str, words)], cwd=work, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == status, f"{name} {' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
        return done.stderr if status else done.stdout

    run("pip", "install", "-q", core, theirs)
    assert "No broken requirements" in run("pip", "check")

    # On the command line: its recipe is complete, so the core needs nothing else.
    listed = run("diffkit", "plugins", "list")
    assert all(name in listed for name in ("root", "dense", "midpoint", "points", "spirals", "plain_adam", "turns"))
    run("diffkit", "recipe=spirals", "train.steps=60", "train.save_every=30", "device=cpu")
    (saved,) = work.glob("runs/spirals/*/config.yaml")
    folder = saved.parent
    config = yaml.safe_load(saved.read_text())
    assert (config["schedule"]["name"], config["net"]["name"], config["modality"]["name"]) == (
        "root",
        "dense",
        "points",
    )
    run("diffkit", "sample", folder, "sampler=midpoint", "sampler.steps=4", "sample.label=left", "sample.n=3")
    (sheet,) = folder.glob("samples/2*/sheet.png")
    counted = run("diffkit", "turns", sheet.parent).splitlines()
    assert [line.split()[0] for line in counted] == [f"left_{i:05d}.csv" for i in range(3)]
    assert {line.split()[1] for line in counted} <= {"left", "right"}
    assert "dense" in run("diffkit", "completion", "words", "recipe=spirals", "net=de")

    # From Python.
    assert run("python", "-c", PYTHON).splitlines()[-1] == "all of it works"

    # Uninstalled, its names are refused with what to install, and its runs with the very version.
    run("pip", "uninstall", "-q", "-y", "diffkit-spirals")
    said = run("diffkit", "recipe=spirals", status=2)
    assert said.startswith("diffkit: recipe 'spirals' is not installed")
    assert "pip install" in said and said.count("\n") == 1
    said = run("diffkit", "turns", sheet.parent, status=2)
    assert said.startswith("diffkit: there is no command 'turns'")
    for verb in ("sample", "resume"):
        said = run("diffkit", verb, folder, status=2)
        assert "of diffkit-spirals, which is not installed; pip install diffkit-spirals==1.2.3" in said
        assert said.startswith("diffkit: ") and said.count("\n") == 1

    # Installed again, the run goes on.
    run("pip", "install", "-q", "--no-deps", theirs)
    assert "from step 60" in run("diffkit", "resume", folder, "train.steps=62", "sample.n=1")
