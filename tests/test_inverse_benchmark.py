"""The benchmark of inverse problems: its figures tell an exact method from one that is not."""

import importlib.util
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "benchmarks" / "inverse.py"


def test_it_finds_mmps_exact_on_a_tilted_gaussian_and_the_prior_far_off():
    spec = importlib.util.spec_from_file_location("inverse_benchmark", SOURCE)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    figures = benchmark.measure(benchmark.problems()["tilted Gaussian, a line"], n=200, seed=0)
    exact, mmps, ddnm, prior = (figures[name] for name in ("exact ode", "MMPS ode", "DDNM ode", "prior ode"))
    for key in ("mean", "cov", "w2", "misfit"):
        assert abs(mmps[key] - exact[key]) < 1e-3
    assert abs(ddnm["mean"] - exact["mean"]) > 1e-3
    assert prior["w2"] > 10 * exact["w2"]
