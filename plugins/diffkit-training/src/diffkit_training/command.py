"""``diffkit ema RUN --length 0.1``: an average of a run's weights that was not followed, from those that were."""

from collections.abc import Sequence

import diffkit
from diffkit import DiffkitError


def ema(words: Sequence[str]) -> int:
    """Make the power-function average of a relative length and keep it with the run."""
    match list(words):
        case [run, "--length", text]:
            pass
        case [run, word] if word.startswith("--length="):
            text = word.partition("=")[2]
        case _:
            raise DiffkitError("diffkit ema needs a run and a relative length: diffkit ema last --length 0.1")
    try:
        length = float(text)
    except ValueError as error:
        raise DiffkitError(f"--length {text} is not a number; give a relative length such as 0.1") from error
    made = diffkit.reconstruct(run, length=length)
    print(f"made     {made.path}, of step {made.step}, from {made.profiles} averages")
    print(f"error    {100 * made.distance:.2g} % of the profile, less with more snapshots (train.save_every)")
    print(f"next     diffkit sample {run} sample.ema={length:g} sample.n=64")
    return 0
