import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def bench():
    """benchmarks/digits.py, as a module."""
    path = Path(__file__).parents[1] / "benchmarks" / "digits.py"
    spec = importlib.util.spec_from_file_location("benchmark_digits", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def score(bench, x, labels):
    return bench.score(torch.from_numpy(np.asarray(x)).float().view(-1, 1, 8, 8), labels)


def test_held_out_digits_score_what_stands_beside_the_samples(bench):
    figures = score(bench, *bench.real("held_out"))
    assert figures["agreement"] == figures["accuracy_held_out"] >= 0.98
    assert figures["frechet"] == pytest.approx(figures["frechet_held_out"], rel=1e-4)
    assert figures["nearest"] == pytest.approx(figures["nearest_held_out"], rel=1e-4)
    assert figures["nearer_than_99_percent"] == pytest.approx(0.01, abs=0.005)


def test_noise_is_far_from_digits(bench):
    noise = np.random.default_rng(0).uniform(-1, 1, (1000, 64))
    figures = score(bench, noise, [i % 10 for i in range(1000)])
    assert figures["agreement"] < 0.25
    assert figures["frechet"] > 50 * figures["frechet_held_out"]
    assert figures["nearest"] > 2 * figures["nearest_held_out"]


def test_copies_are_found_out_even_under_a_little_noise(bench):
    train, labels = bench.real("train")
    figures = score(bench, train + 0.1 * np.random.default_rng(0).normal(size=train.shape), labels)
    assert figures["nearer_than_99_percent"] > 0.99
    assert figures["nearest"] < 0.5 * figures["nearest_held_out"]


def test_samples_of_little_variety_agree_but_are_far(bench):
    train, labels = bench.real("train")
    means = np.stack([train[labels == label].mean(0) for label in range(10)])
    figures = score(bench, means[np.arange(1000) % 10], [i % 10 for i in range(1000)])
    assert figures["agreement"] == 1
    assert figures["frechet"] > 5 * figures["frechet_held_out"]


def test_agreement_is_with_the_label_that_was_asked_for(bench):
    held, labels = bench.real("held_out")
    assert score(bench, held, (labels + 1) % 10)["agreement"] < 0.02


def test_the_frechet_distance_of_two_gaussians_has_its_closed_form(bench):
    x = np.random.default_rng(0).normal(size=(500, 6))
    variance = np.diag(np.cov(x, rowvar=False)).mean()
    assert bench.frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert bench.frechet(x + 2, x) == pytest.approx(6 * 2**2 / variance)  # the same covariance: |μ - ν|²
    assert bench.frechet(3 * (x - x.mean(0)), x - x.mean(0)) == pytest.approx(6 * (3 - 1) ** 2)  # tr (3 - 1)² Σ
