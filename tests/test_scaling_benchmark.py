"""The benchmark of scaling: its formulas are those of the networks, and of FSDP2, as they are."""

import importlib.util
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "benchmarks" / "scaling.py"


def test_formulas_of_what_a_rank_holds_and_sends_are_those_of_a_small_transformer():
    spec = importlib.util.spec_from_file_location("scaling_benchmark", SOURCE)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.NETS["small"] = (128, 4, 2)
    checked = benchmark.check("small", 4)
    one, four = benchmark.rows("small", [1, 4], 2)[:2]
    assert four["sent_gib"] == checked["by_formula_gib"] and one["sent_gib"] == 0
    assert four["states_gib"] == one["states_gib"] / 4
