"""``diffkit resume RUN WORD…``: go on training."""

from collections.abc import Sequence

from diffkit.cli.usage import importing, run_word


def resume(words: Sequence[str]) -> int:
    """Train a run further, from its newest valid checkpoint."""
    run, rest = run_word("resume", words, "train.steps=4000")
    with importing():
        from diffkit.run.train import resume as resume_run

    return resume_run(run, *rest).status
