"""What equal processor time buys: our recipes beside diffusers' UNet2DModel and DDPM, trained in the usual way.

    python benchmarks/training.py digits [pictures --folder FOLDER] [--seeds 0 1 2 3 4] [--json]

`digits` is the default recipe, `pictures` is `recipe=small_images` on FOLDER/train, such as CIFAR-10 as 32x32 JPEGs,
one sub-folder a class, with FOLDER/test beside it. Both sides of a pair train at the same moment, each on one thread
and one core, which they swap from seed to seed, until their process has used its seconds (75, and 240 for pictures);
rates that fall reach 0 there. Then averaged weights are judged by the same code:

    error      the squared error of E[x₀ | x₀ + σε], cut to [-1, 1], over that of the best linear estimate,
               σ_d²σ²/(σ_d² + σ²), on held-out items (512 digits, 128 pictures) with fixed noise: the mean over 12
               levels of σ from .02 to 20
    frechet    the Fréchet distance of features of --n samples, whose labels go round, to those of training data, and
    agreement  the share of samples that are taken for their label. For digits both are those of digits.py, for
               pictures those of the small classifier of pictures.py, beside what as many held-out pictures reach

Each side draws as it is usually drawn from: ours guided, as a model can be that now and then was trained without its
label, diffusers with DDIM, of 50 steps for digits and, since those would take longer than the training, of 20 for
pictures, for which ours, too, evaluates its network 20 times: twice in each of 10 steps.
What was found is kept in --out, with a sheet of samples of each run, and not found again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import diffkit
from diffkit import build
from diffkit.data.fetch import fetch
from diffkit.parallel import ALONE
from diffkit.run.model import Model
from diffkit.run.prepare import make_trainer, measured_specs, settled_config

SECONDS = {"digits": 75.0, "pictures": 240.0}
ITEMS = {"digits": 512, "pictures": 128}
"""How many held-out items the error is measured on."""
SIDES = ("ours", "diffusers")
Score = Callable[[Tensor, Tensor], dict[str, float]]
LEVELS = torch.logspace(-1.69897, 1.30103, 12, dtype=torch.float64).tolist()


def words(task: str, folder: str) -> list[str]:
    """Return what one types to train ours on a task."""
    return ["recipe=digits"] if task == "digits" else ["recipe=small_images", f"data.path={folder}/train"]


def data(task: str, folder: str, part: str) -> tuple[Tensor, Tensor]:
    """Return all items and labels of the part ``train`` or ``test``."""
    split = "train" if part == "train" else "held_out"
    options = {"split": split} if task == "digits" else {"path": f"{folder}/{part}", "size": 32}
    dataset = build("data", {"name": "digits" if task == "digits" else "image_folder", **options})
    x, known = fetch(dataset, list(range(len(dataset))))
    return x, known["label"]


class Ours:
    """A model trained as ``diffkit WORD…`` trains it, the learning rate falling to 0 when ``share()`` reaches 1."""

    def __init__(self, typed: list[str], seed: int, share: Callable[[], float]) -> None:
        config = diffkit.compose(*typed, f"seed={seed}")
        dataset = build("data", config.data)
        config = settled_config(config, dataset)
        self.model, self.seed = Model(config, *measured_specs(config, dataset)), seed
        self.denoiser = self.model.denoiser
        self.parameters = sum(p.numel() for p in self.denoiser.parameters())
        trainer = make_trainer(config, self.model, dataset, ALONE)
        share()
        for _ in trainer.run():
            trainer.steps = round(trainer.step / share())
        self.steps = trainer.step
        self.denoiser.net.load_state_dict(trainer.average.state()["ema"], strict=False)
        self.denoiser.eval()

    @torch.no_grad()
    def estimate(self, x: Tensor, sigma: float, label: Tensor) -> Tensor:
        """Return E[x₀ | x₀ + σε = ``x``]."""
        t = self.denoiser.schedule.time(-torch.tensor(sigma, dtype=torch.float64).log())
        return self.denoiser(self.denoiser.schedule.alpha(t).float() * x, t, label=label)

    def sample(self, label: Tensor) -> Tensor:
        """Return a sample of each label."""
        before = self.denoiser.items
        x = self.model.sample(len(label), label=label, seed=self.seed)
        self.evaluations = round((self.denoiser.items - before) / len(label))
        return x


def one(task: str, side: str, seed: int, given: argparse.Namespace) -> None:
    """Train one side on one seed, and keep its figures and samples in a file."""
    torch.set_num_threads(1)
    began: list[float] = []

    def share() -> float:
        began.extend([time.process_time(), time.monotonic()] if not began else [])
        return (time.process_time() - began[0]) / given.seconds

    model: Any
    if side == "ours":
        model = Ours(words(task, given.folder), seed, share)
    else:
        from peer_training import SETTINGS, Peer

        model = Peer(SETTINGS[task], *data(task, given.folder, "train"), seed, share)
    seconds, wall = share() * given.seconds, time.monotonic() - began[1]
    held_out = data(task, given.folder, "test")
    errors = level_errors(model, *held_out, ITEMS[task])
    labels = torch.arange(given.n) % (int(held_out[1].max()) + 1)
    began_sampling = time.process_time()
    samples = model.sample(labels)
    row = {"seconds": seconds, "wall": wall, "sampling": time.process_time() - began_sampling, "errors": errors}
    row |= {"parameters": model.parameters, "steps": model.steps, "evaluations": model.evaluations}
    save_file({"samples": samples, "labels": labels}, place(given, task, side, seed), {"row": json.dumps(row)})


def level_errors(model: Any, x: Tensor, label: Tensor, items: int) -> list[float]:
    """Return the error at each level, over that of the best linear estimate."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(x), generator=generator)[:items]
    x, label, variance = x[chosen], label[chosen], x.double().var().item()
    noise, ratios = torch.randn(x.shape, generator=generator), []
    for sigma in LEVELS:
        parts = zip((x + sigma * noise).split(128), label.split(128), strict=True)
        estimate = torch.cat([model.estimate(some, sigma, told).clamp(-1, 1) for some, told in parts])
        trivial = variance * sigma**2 / (variance + sigma**2)
        ratios.append((estimate - x).square().mean().item() / trivial)
    return ratios


def place(given: argparse.Namespace, task: str, side: str, seed: int) -> Path:
    """Return the file of what was found."""
    return Path(given.out) / f"{task}-{given.seconds:g}s-{side}-{seed}.safetensors"


def pair(task: str, seed: int, given: argparse.Namespace) -> None:
    """Train both sides at once, each on a core of its own."""
    running = []
    for i, side in enumerate(SIDES):
        if not place(given, task, side, seed).is_file():
            command = [sys.executable, __file__, task, "--side", side, "--seeds", str(seed), "--n", str(given.n)]
            command += ["--folder", given.folder, "--out", given.out, "--seconds", str(given.seconds)]
            process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
            if hasattr(os, "sched_setaffinity"):
                cores = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(process.pid, {cores[(i + seed) % len(cores)]})
            running.append(process)
    if sum(abs(process.wait()) for process in running):
        sys.exit(f"training on {task} with seed {seed} failed; see above")


def judge_of(task: str, given: argparse.Namespace) -> Score:
    """Return what scores samples beside held-out data."""
    if task == "digits":
        from digits import score

        return lambda x, label: score(x, label.tolist())
    from pictures import Judge

    kept = Path(given.out) / "classifier.safetensors"
    return Judge(data(task, given.folder, "train"), data(task, given.folder, "test"), kept)


def rows_of(task: str, given: argparse.Namespace, judge: Score) -> list[Any]:
    """Return the figures of each side and seed, and draw a sheet of samples of each."""
    rows = []
    for side in SIDES:
        for seed in given.seeds:
            path = place(given, task, side, seed)
            with safe_open(path, "pt") as file:
                x, label = file.get_tensor("samples"), file.get_tensor("labels")
                row = {"task": task, "side": side, "seed": seed, **json.loads(file.metadata()["row"])}
            build("modality", "image").sheet(
                x[:60].clamp(-1, 1),
                [str(i) for i in label[:60].tolist()],
                path.with_suffix(".png"),
                diffkit.DataSpec(x.shape[1], tuple(x.shape[2:])),
            )
            rows.append({**row, **judge(x, label)})
    return rows


def table(rows: list[Any]) -> str:
    """Return the figures of both sides: means, and the range over seeds."""
    sides = [[row for row in rows if row["side"] == side] for side in SIDES]
    lines = [f"{'':22}" + "".join(f"{side:>10}{'':22}" for side in SIDES) + "real, held out"]

    def line(name: str, digits: int, value: Callable[[Any], float], held: str = "") -> None:
        text = f"{name:22}"
        for found in sides:
            values = [value(row) for row in found]
            spread = f"({min(values):.{digits}f} to {max(values):.{digits}f})"
            text += f"{statistics.mean(values):10.{digits}f} {spread:<21}"
        lines.append(text + (f"{rows[0][held]:10.{digits}f}" if held else ""))

    line("error", 4, lambda row: statistics.mean(row["errors"]))
    for i, sigma in enumerate(LEVELS):
        line(f"  at σ = {sigma:.3g}", 4, lambda row, i=i: row["errors"][i])
    line("Fréchet distance", 2, lambda row: row["frechet"], "frechet_held_out")
    line("classified as asked", 3, lambda row: row["agreement"], "accuracy_held_out")
    for name in ("parameters", "steps", "evaluations", "seconds", "wall", "sampling"):
        line(name, 0, lambda row, name=name: row[name])
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", choices=list(SECONDS), help="one or both")
    parser.add_argument("--folder", default="", help="for pictures: a folder with train and test")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="one pair each")
    parser.add_argument("--seconds", type=float, default=0.0, help="of processor time; 0 takes the task's own")
    parser.add_argument("--n", type=int, default=1000, help="how many samples of each")
    parser.add_argument("--out", default="runs/benchmark-training", help="where to keep what was found")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if find_spec("diffusers") is None:
        print("error: this compares with diffusers, which is not installed; pip install diffusers", file=sys.stderr)
        return 2
    if "pictures" in given.tasks and not Path(given.folder, "test").is_dir():
        parser.error("pictures needs --folder FOLDER, which has pictures in train and test, one sub-folder a class")
    Path(given.out).mkdir(parents=True, exist_ok=True)
    asked, found = given.seconds, []
    for task in given.tasks:
        given.seconds = asked or SECONDS[task]
        if given.side:
            one(task, given.side, given.seeds[0], given)
            continue
        for seed in given.seeds:
            pair(task, seed, given)
        rows = rows_of(task, given, judge_of(task, given))
        print(f"\n{task}: {given.seconds:g} s of processor time, seeds {given.seeds}, {given.n} samples each\n")
        print(table(rows), flush=True)
        found += rows
    if given.json and not given.side:
        print(json.dumps({"rows": found, "torch": torch.__version__}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
