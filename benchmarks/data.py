"""What the data stream costs: training on a folder of JPEGs beside the same steps on one batch that is there already.

    python benchmarks/data.py [--folder FOLDER] [--json]

Without a folder it makes 4,000 JPEGs of 32x32 pixels. The step is that of the default UNet. The steps of both kinds run
in turn, a few at a time, so that a machine that slows down slows both; each time as many as may have been fetched
meanwhile are not measured. The figure is the median of the pairs' ratios of rates, by the clock, and by the processor
time of the training process, which says what the stream takes from it however busy the machine is. "decoded each time"
is a data set without the cache, which opens a file whenever it is asked for an item.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffkit import DataSpec, Denoiser, FolderData, build
from diffkit.contracts.data import Dataset
from diffkit.data.fetch import Batch
from diffkit.data.stream import BatchStream
from diffkit.data.workers import AHEAD
from diffkit.training import Step, Trainer

SIZE, MADE, WORKERS = 32, 4000, 2


class Opened:
    """The files of a folder data set, opened for every item."""

    def __init__(self, folder: FolderData) -> None:
        self.files, self.labels = folder.files, folder.labels
        self.modality, self.spec = folder.modality, folder.spec
        self.read = build("modality", "image").read

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.read(self.files[index], self.spec), self.labels[index]


class Fixed(BatchStream):
    """The first batch, again and again."""

    def batch(self, step: int) -> Batch:
        if not hasattr(self, "first"):
            self.first = super().batch(0)
        return self.first


def make_jpegs(folder: Path) -> None:
    """Write smooth random pictures of ten classes."""
    random = np.random.RandomState(0)
    for i in range(MADE):
        path = folder / f"class {i % 10}" / f"{i:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        small = Image.fromarray(random.randint(0, 256, (8, 8, 3), np.uint8))
        small.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path, quality=90)


def trained(stream: BatchStream, spec: DataSpec) -> Iterator[Step]:
    """Return the steps of a training of the default network on a stream."""
    torch.manual_seed(0)
    denoiser = Denoiser(build("net", "unet", spec=spec), "edm", "edm", weighting="edm", spec=spec)
    return Trainer(denoiser, stream, build("optim", "adamw"), steps=10**9).run()


def seconds(steps: Iterator[Step], count: int) -> Tensor:
    """Return what a step takes, of ``count`` after those that were fetched ahead: by the clock, and of this process."""
    for _ in range(AHEAD * WORKERS):
        next(steps)
    began = time.perf_counter(), time.process_time()
    for _ in range(count):
        next(steps)
    return torch.tensor([time.perf_counter() - began[0], time.process_time() - began[1]]).double() / count


def measured(dataset: Dataset, batch: int, workers: int, pairs: int, count: int) -> dict[str, float]:
    """Return milliseconds a step with the stream and without, and the ratio of rates; all of processor time, too."""
    stream = BatchStream(dataset, batch, 0, workers=workers)
    ours, fixed = trained(stream, dataset.spec), trained(Fixed(dataset, batch, 0), dataset.spec)
    times = []
    for i in range(pairs):
        first, second = (ours, fixed) if i % 2 else (fixed, ours)
        found = {id(steps): seconds(steps, count) for steps in (first, second)}
        times.append(torch.stack((found[id(ours)], found[id(fixed)])))
    stream.close()
    both, rates = torch.stack(times), [pair[1] / pair[0] for pair in times]
    row = {}
    for i, kind in enumerate(("", "cpu_")):
        row[f"{kind}ms_with_stream"] = 1e3 * statistics.median(both[:, 0, i].tolist())
        row[f"{kind}ms_step_only"] = 1e3 * statistics.median(both[:, 1, i].tolist())
        row[f"{kind}rate"] = statistics.median(float(rate[i]) for rate in rates)
    return row


def fetched(dataset: Dataset, batch: int, workers: int, count: int = 300) -> float:
    """Return the milliseconds of processor time, of all processes, that a batch costs."""

    def spent() -> float:
        workers = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + workers.ru_utime + workers.ru_stime

    began = spent()
    stream = BatchStream(dataset, batch, 0, workers=workers)
    for step in range(count):
        stream.batch(step)
    stream.close()
    return 1e3 * (spent() - began) / count


def opened(folder: Path) -> tuple[FolderData, float]:
    """Return the folder's data and how long it took to open, in seconds."""
    began = time.perf_counter()
    return build("data", "image_folder", path=str(folder), size=SIZE), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--folder", type=Path, help="pictures, one folder a class")
    parser.add_argument("--batch", type=int, default=8, help="how many a batch")
    parser.add_argument("--pairs", type=int, default=8, help="how many pairs of runs to time")
    parser.add_argument("--steps", type=int, default=6, help="how many steps of each kind at a time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["DIFFKIT_CACHE"] = scratch
        folder = arguments.folder or Path(scratch, "pictures")
        if arguments.folder is None:
            folder.mkdir()
            make_jpegs(folder)
        data, first = opened(folder)
        data, again = opened(folder)
        plain = Opened(data)
        cases = {
            f"{name}, {workers} workers": (source, workers)
            for name, source in (("decoded once", data), ("decoded each time", plain))
            for workers in (0, WORKERS)
        }
        cost = {name: fetched(source, arguments.batch, workers) for name, (source, workers) in cases.items()}
        rows = {
            name: measured(source, arguments.batch, workers, arguments.pairs, arguments.steps)
            for name, (source, workers) in cases.items()
        }
        result = {
            "files": len(data),
            "open_first_s": first,
            "open_again_s": again,
            "cpu_ms_a_batch": cost,
            "training": rows,
            "batch": arguments.batch,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
    print(f"{len(data)} files: opened in {first:.2f} s, decoded; in {again:.2f} s from then on")
    print(
        f"a batch is {arguments.batch}; the rate of steps with the stream, over that of steps on a batch already there:"
    )
    for name, row in rows.items():
        times = f"{row['ms_with_stream']:.1f} and {row['ms_step_only']:.1f} ms a step"
        own = f"{100 * row['cpu_rate']:.1f} % by the training process's own time"
        print(f"{name:30} {100 * row['rate']:6.1f} % ({times}), {own}; {cost[name]:.2f} ms of processor time a batch")
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
