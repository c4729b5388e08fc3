"""``diffkit sample RUN WORD…``: draw samples from a run into files."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from diffkit.cli.usage import importing, run_word


def sample(words: Sequence[str]) -> int:
    """Draw samples into the run's folder and say where they are; the same words go on where they were stopped."""
    run, rest = run_word("sample", words, "sample.n=64 sampler=heun sampler.steps=18 sample.label=3 seed=7")
    with importing():
        from diffkit.run import lock
        from diffkit.run.folder import LOCKED, RunFolder
        from diffkit.run.load import load_model, read_sampled
        from diffkit.run.sampling import write_samples
        from diffkit.run.stop import Stopped, stop_signals

    folder = RunFolder.find(run)
    model, skipped = load_model(folder, read_sampled(folder, rest, "sample"))
    for reason in (*skipped, *lock.changes(folder.read_json(LOCKED), model.config)):
        print(f"note     {reason}")
    stem = folder.samples / time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        with stop_signals() as stopped:
            sheet = write_samples(model, _free(stem), n=model.config.sample.n, stopped=stopped)
    except Stopped as stop:
        print(f"stopped  {stop}")
        print(f"next     diffkit sample {shlex.join([str(folder.path), *rest])}", flush=True)
        return 128 + stop.number
    print(f"samples  {sheet}")
    return 0


def _free(stem: Path) -> Path:
    candidates = (stem if i == 1 else stem.with_name(f"{stem.name}-{i}") for i in range(1, 10_000))
    return next(path for path in candidates if not path.exists())
