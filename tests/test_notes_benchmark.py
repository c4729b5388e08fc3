import importlib.util
import math
from pathlib import Path

import pytest
import torch
from diffkit_audio import Notes, frequency

RATE = 8000.0


@pytest.fixture(scope="module")
def bench():
    """benchmarks/notes.py, as a module."""
    path = Path(__file__).parents[1] / "benchmarks" / "notes.py"
    spec = importlib.util.spec_from_file_location("benchmark_notes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notes():
    """Notes, their asked frequencies, and as many others of the same pitches."""
    first, second = Notes(n=240, seed=1), Notes(n=240, seed=2)
    asked = torch.tensor([frequency(first.spec.labels[label]) for _, label in first], dtype=torch.float64)
    return torch.stack([x for x, _ in first]), torch.stack([x for x, _ in second]), asked


def test_the_estimator_finds_the_pitch_of_every_real_note(bench, notes):
    off = bench.cents(notes[0][:, 0], notes[2], RATE).abs()
    assert off.max() < 30
    assert off.median() < 5


@pytest.mark.parametrize("hertz", [55.0, 130.8, 440.0, 1100.0])
def test_the_estimator_is_within_two_cents_on_tones(bench, hertz):
    tone = torch.sin(2 * math.pi * hertz * torch.arange(4096, dtype=torch.float64) / RATE)[None]
    assert bench.cents(tone, torch.tensor([hertz]), RATE).abs().item() < 2


def test_a_quarter_tone_an_octave_and_noise_are_out_of_tune(bench, notes):
    real, _, asked = notes
    assert bench.in_tune(real[:, 0], asked * 2 ** (60 / 1200), RATE) < 0.05
    assert bench.in_tune(real[:, 0], asked * 2, RATE) == 0
    noise = torch.randn(240, 4096, generator=torch.Generator().manual_seed(0))
    assert bench.in_tune(noise, asked, RATE) < 0.1
    assert bench.in_tune(torch.zeros(240, 4096), asked, RATE) < 0.1


def test_other_real_notes_score_as_held_out_ones_and_noisy_notes_do_not(bench, notes):
    real, train, asked = notes
    figures = bench.score(real, real, train, asked, RATE)
    assert figures["within_50_cents"] == figures["within_50_cents_real"] == 1
    assert figures["spectral_distance"] == figures["spectral_distance_real"]
    noisy = bench.score(real + 0.01 * torch.randn_like(real), real, train, asked, RATE)
    assert noisy["spectral_distance"] > 10 * abs(noisy["spectral_distance_real"])
    assert noisy["nearest_training_note_db"] > 2 * noisy["nearest_training_note_db_real"]


def test_copies_are_nearer_than_held_out_notes(bench, notes):
    real, train, asked = notes
    copies = bench.score(train, real, train, asked, RATE)
    assert copies["nearest_training_note_db"] < 0.01 * copies["nearest_training_note_db_real"]
