"""``diffkit export RUN FOLDER``: write a run's model to a folder of its own."""

from collections.abc import Sequence

from diffkit.cli.usage import importing, run_word
from diffkit.errors import DiffkitError


def export(words: Sequence[str]) -> int:
    """Export the model and say where it is."""
    run, rest = run_word("export", words, "my_model")
    if len(rest) > 1 or any(word.startswith("-") for word in rest):
        raise DiffkitError(
            f"diffkit export takes a run and a folder, but not '{rest[-1]}'; diffkit export {run} FOLDER"
        )
    with importing():
        from diffkit.run.export import export as export_run

    folder = export_run(run, *rest)
    size = (folder / "model.safetensors").stat().st_size
    print(f"model    {folder}, {size / 2**20:.3g} MiB")
    print(f"next     diffkit sample {folder} sample.n=64")
    return 0
