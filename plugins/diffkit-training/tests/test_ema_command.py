import shutil

import pytest
from diffkit_training.command import ema

import diffkit
from diffkit import DiffkitError

WORDS = ("recipe=digits", "net.width=8", "train.batch_size=4", "sample.n=2", "sampler.steps=2", "device=cpu")


def test_it_makes_an_average_and_says_how_to_use_it(tmp_path, capsys):
    for plugin in ("image", "nets", "objectives", "samplers", "schedules"):
        pytest.importorskip(f"diffkit_{plugin}")
    run = diffkit.train(
        *WORDS, f"out={tmp_path}", "train.steps=4", "train.save_every=2", "train.ema_lengths=[0.1,0.2]"
    ).path
    capsys.readouterr()
    assert ema([str(run), "--length", "0.15"]) == 0
    said = capsys.readouterr().out
    assert "of step 4, from 4 averages" in said
    assert f"diffkit sample {run} sample.ema=0.15" in said
    assert diffkit.load(run, "sample.ema=0.15").sample(1, steps=1).shape == (1, 1, 8, 8)
    shutil.rmtree(run / "averages")
    with pytest.raises(DiffkitError, match=r"train.ema_lengths=\[0.05,0.1\]"):
        ema([str(run), "--length=0.15"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a run and a relative length: diffkit ema last --length 0.1"),
        (["last", "--length", "long"], "--length long is not a number"),
        (["last", "--length=0.5"], "0.5 is not the relative length of an average; give one above 0 and below 0.2887"),
    ],
    ids=["nothing", "a word", "too long"],
)
def test_what_is_lacking_is_said(words, said):
    with pytest.raises(DiffkitError, match=said):
        ema(words)
