"""The checks a modality and a data set of it pass."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from diffkit.contracts.data import Dataset, Modality
from diffkit.contracts.network import DataSpec
from diffkit.data.fetch import fetch
from diffkit.errors import DiffkitError

LOOKED_AT = 512
"""How many items are checked, spread over the data set from the first to the last."""
AT_ONCE, SHOWN = 64, 12


def check_modality(modality: Modality, dataset: Dataset, tolerance: float = 0.1) -> None:
    """Raise ``AssertionError``, with a sentence that says what is wrong, unless both keep their contracts.

    The items of the data set (at most 512, spread over it) are finite float32 tensors of the spec's shape in [-1, 1]
    with labels that the spec names, and the same whenever they are fetched. The modality accepts these items and
    refuses others; an item that is saved is a file named after the stem, and read back the same; the sheet is a PNG.

    Args:
        modality: the modality.
        dataset: a data set of it.
        tolerance: the largest root mean square difference between an item and what is read back from its first file.
    """
    _check_contracts(modality, dataset)
    _check_items(dataset)
    spec = dataset.spec
    x, _ = dataset[0]
    _check_check(modality, x, spec)
    with tempfile.TemporaryDirectory() as folder:
        _check_files(modality, x, spec, Path(folder, "files"), tolerance)
        _check_sheet(modality, dataset, Path(folder, "sheet"))


def _check_contracts(modality: Modality, dataset: Dataset) -> None:
    name, data = type(modality).__name__, type(dataset).__name__
    assert isinstance(modality, Modality), f"{name} is no Modality: it lacks one of {_members(Modality)}"
    assert isinstance(dataset, Dataset), f"{data} is no Dataset: it lacks one of {_members(Dataset)}"
    assert modality.name.isidentifier(), f"{name}.name is {modality.name!r}, which nobody can type as modality=NAME"
    assert modality.suffixes, f"{name}.suffixes is empty, so it reads no file"
    for suffix in modality.suffixes:
        plain = suffix[1:].isalnum() and suffix == f".{suffix[1:].lower()}"
        assert plain, f"{name}.suffixes has {suffix!r}, which is not of the form '.png'"
    assert dataset.modality == modality.name, f"{data} belongs to modality {dataset.modality!r}, not {modality.name!r}"
    rank = dataset.spec.rank
    assert rank == modality.rank, f"{data} has {rank} spatial axes, but {name}.rank is {modality.rank}"
    assert len(dataset) > 0, f"{data} is empty"
    labels = dataset.spec.labels
    assert len(set(labels)) == len(labels), f"{data} names two labels alike: {labels}"


def _members(protocol: type) -> str:
    return ", ".join(sorted({*protocol.__annotations__, *(m for m in vars(protocol) if not m.startswith("_"))}))


def _check_items(dataset: Dataset) -> None:
    name, spec = type(dataset).__name__, dataset.spec
    shape, labels = (spec.channels, *spec.shape), len(spec.labels)
    spread = torch.linspace(0, len(dataset) - 1, min(LOOKED_AT, len(dataset)), dtype=torch.float64).long().tolist()
    for start in range(0, len(spread), AT_ONCE):
        indices = spread[start : start + AT_ONCE]
        together, _ = fetch(dataset, indices)
        for index, again in zip(indices, together, strict=True):
            x, given = dataset[index]
            label = given.get("label", 0) if isinstance(given, Mapping) else given
            where = f"{name}[{index}]"
            assert isinstance(x, Tensor), f"{where} is a {type(x).__name__}, not a tensor"
            assert x.dtype == torch.float32, f"{where} is {x.dtype}, not float32"
            assert tuple(x.shape) == shape, f"{where} has the shape {tuple(x.shape)}, not {shape} as its spec says"
            assert bool(x.isfinite().all()), f"{where} has values that are not finite"
            assert x.abs().max() <= 1, f"{where} has values up to {x.abs().max():g}, beyond [-1, 1]"
            assert isinstance(label, int), f"the label of {where} is a {type(label).__name__}, not an int"
            assert 0 <= label < max(labels, 1), f"the label of {where} is {label}, but the spec names {labels}"
            assert torch.equal(x, again), f"{where} differs when it is fetched again, in a batch"


def _check_check(modality: Modality, x: Tensor, spec: DataSpec) -> None:
    name = type(modality).__name__
    try:
        modality.check(x, spec)
    except DiffkitError as error:
        raise AssertionError(f"{name}.check refuses an item of the data set: {error}") from error
    bad = {
        "another number of channels": torch.cat([x, x]),
        "a shorter last axis": x[..., :-1],
        "one axis too few": x[0],
        "a value that is not a number": torch.where(torch.arange(x.numel()).view_as(x) == 0, float("nan"), x),
        "an infinite value": torch.where(torch.arange(x.numel()).view_as(x) == 0, float("inf"), x),
        "values a hundred times too large": torch.full_like(x, 100.0),
    }
    for what, wrong in bad.items():
        try:
            modality.check(wrong, spec)
        except DiffkitError:
            continue
        except Exception as error:
            raise AssertionError(f"{name}.check raises {error!r} for {what}, not a DiffkitError") from error
        raise AssertionError(f"{name}.check accepts an item with {what}")


def _check_files(modality: Modality, x: Tensor, spec: DataSpec, folder: Path, tolerance: float) -> None:
    name = type(modality).__name__
    folder.mkdir()
    stem = folder / "no.5_00007"
    before = x.clone()
    files = list(modality.save(x, stem, spec))
    assert torch.equal(x, before), f"{name}.save changes the item it is given"
    written = set(folder.iterdir())
    assert files, f"{name}.save returns no file"
    assert set(files) == written, f"{name}.save returns {_names(files)}, but wrote {_names(written)}"
    for file in files:
        assert file.name.startswith(stem.name), f"{name}.save was given the stem {stem.name}, but wrote {file.name}"
    suffix = files[0].suffix.lower()
    assert suffix in modality.suffixes, f"{name}.save writes {suffix}, which {name}.suffixes does not have"
    again = modality.read(files[0], spec)
    assert again.dtype == torch.float32, f"{name}.read returns {again.dtype}, not float32"
    assert again.shape == x.shape, f"{name}.read returns the shape {tuple(again.shape)}, not {tuple(x.shape)}"
    assert again.abs().max() <= 1, f"{name}.read returns values up to {again.abs().max():g}, beyond [-1, 1]"
    error = (again - x).square().mean().sqrt().item()
    assert error <= tolerance, f"an item saved and read back differs by {error:.3g} (RMS), more than {tolerance:g}"
    (folder / f"empty{suffix}").touch()
    try:
        modality.read(folder / f"empty{suffix}", spec)
    except Exception:
        return
    raise AssertionError(f"{name}.read makes an item of an empty file instead of raising")


def _check_sheet(modality: Modality, dataset: Dataset, folder: Path) -> None:
    name = type(modality).__name__
    folder.mkdir()
    path = folder / "sheet.png"
    for n in {1, min(SHOWN, len(dataset))}:
        xs, _ = fetch(dataset, list(range(n)))
        modality.sheet(xs, [f"title {i}" for i in range(n)], path, dataset.spec, group=n)
        assert list(folder.iterdir()) == [path], f"{name}.sheet wrote {_names(folder.iterdir())}, not sheet.png"
        with Image.open(path) as page:
            assert page.format == "PNG", f"{name}.sheet wrote a {page.format}, not a PNG"
            page.load()


def _names(files: Iterable[Path]) -> str:
    return ", ".join(sorted(file.name for file in files)) or "nothing"
