"""The words of a command line, before Hydra parses them."""

import pytest

from diffkit import DiffkitError
from diffkit.config.words import GROUPS, PLAIN, normalise, split_flags
from diffkit.kinds import KINDS


@pytest.mark.parametrize("sign", ["", "+", "++"])
@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_group_means_the_same_with_and_without_signs(group, sign):
    assert normalise([f"{sign}{group}=x"]) == [f"{group}=x"]


@pytest.mark.parametrize("word", ["train.steps=5", "++train.steps=5", "schedule.shift=1", "hydra/launcher=joblib"])
def test_every_other_word_reaches_hydra_untouched(word):
    assert normalise([word]) == [word]


def test_a_sweep_over_a_group_keeps_its_list():
    assert normalise(["+schedule=linear,cosine"]) == ["schedule=linear,cosine"]


@pytest.mark.parametrize("empty", ["~{}", "{}=null", "{}=", "{}=None", "~{}=x", "+{}=null"])
@pytest.mark.parametrize("kind", [k.name for k in KINDS.values() if k.group and k.required])
def test_a_group_that_a_run_needs_cannot_be_emptied(kind, empty):
    with pytest.raises(DiffkitError, match=f"without a {kind}; choose one: {kind}=NAME"):
        normalise([empty.format(kind)])


@pytest.mark.parametrize("kind", [k.name for k in KINDS.values() if k.group and not k.required])
def test_a_group_that_a_run_can_do_without_can_be_emptied(kind):
    for word in (f"~{kind}", f"{kind}=null", f"{kind}=", f"+{kind}=None"):
        assert normalise([word]) == [f"~{kind}"]


def test_a_sweep_has_a_name_in_every_place():
    with pytest.raises(DiffkitError, match="a run of its own: ~grid"):
        normalise(["grid=null,karras"])


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("schdule=x", "schedule"),
        ("+schdule=x", "schedule"),
        ("++smapler.steps=3", "sampler"),
        ("tarin.steps=1", "train"),
    ],
)
def test_a_misspelt_group_or_key_is_refused_with_the_one_that_was_meant(word, meant):
    with pytest.raises(DiffkitError, match=f"did you mean '{meant}'"):
        normalise([word])


def test_the_refusal_lists_every_group_and_key():
    with pytest.raises(DiffkitError) as refusal:
        normalise(["zzz=1"])
    for name in GROUPS | PLAIN:
        assert name in str(refusal.value)


def test_a_key_of_the_users_own_config_is_let_through():
    assert normalise(["mine.depth=3"], extra=["mine"]) == ["mine.depth=3"]


@pytest.mark.parametrize(
    "word", ["net._target_=os.system", "+net._target_=os.system", "++a._target_=x", "net={_target_: os.system}"]
)
def test_a_path_to_code_is_refused_anywhere(word):
    with pytest.raises(DiffkitError, match="chooses among what is installed"):
        normalise([word])


@pytest.mark.parametrize(
    ("words", "overrides", "flags"),
    [
        (["--cfg", "job", "net=mlp"], ["net=mlp"], ["--cfg", "job"]),
        (["net=mlp", "-m"], ["net=mlp"], ["-m"]),
        (["--config-dir", "mine", "--config-name=x"], [], ["--config-dir", "mine", "--config-name=x"]),
        (["-c", "job", "-p", "train"], [], ["-c", "job", "-p", "train"]),
        (["--cfg"], [], ["--cfg", ""]),
        ([], [], []),
    ],
)
def test_flags_and_the_values_after_them_are_told_from_overrides(words, overrides, flags):
    assert split_flags(words) == (overrides, flags)


def test_a_folder_for_the_run_is_out():
    with pytest.raises(DiffkitError, match=r"'hydra.run.dir=x' moves nothing.*out=FOLDER"):
        normalise(["hydra.run.dir=x"])


@pytest.mark.parametrize("flag", ["--confg-dir=mine", "--foo"])
def test_a_flag_there_is_not_is_refused_with_those_there_are(flag):
    with pytest.raises(DiffkitError, match=rf"no flag '{flag.partition('=')[0]}'.*--multirun.*KEY=VALUE"):
        split_flags(["net=mlp", flag])


@pytest.mark.parametrize("flags", [["-m", "--cfg", "hydra"], ["--multirun", "-c", "job"], ["--info=all", "-m"]])
def test_flags_that_exclude_each_other_are_refused(flags):
    with pytest.raises(DiffkitError, match="exclude each other; give one of them"):
        split_flags([*flags, "net=mlp,unet"])


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("data.path=/my pictures/é", "data.path='/my pictures/é'"),
        ("sample.label=cät ü", "sample.label='cät ü'"),
        ("+data.path=a b", "+data.path='a b'"),
        ("data.path='a b'", "data.path='a b'"),
        ("sample.label=[a b,c]", "sample.label=[a b,c]"),
        ("net.width=8", "net.width=8"),
    ],
)
def test_values_as_people_write_them_are_quoted_for_hydra(word, meant):
    assert normalise([word]) == [meant]
