"""Composition: words to a checked, resolved config, wherever it is called from."""

import json
import threading

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

import diffkit
from diffkit import DiffkitError
from diffkit.config.compose import change, restore
from diffkit.config.settings import AT_LEAST, Settings
from diffkit.kinds import KINDS
from diffkit.run.load import SAMPLING

SPIRALS = "recipe=spirals"


def values(config):
    return OmegaConf.to_container(config)


class TestCompose:
    def test_gives_a_plain_resolved_config_with_the_recipe_by_name(self):
        config = diffkit.compose(SPIRALS)
        assert isinstance(config, DictConfig)
        assert config.recipe == "spirals"
        assert config.net == {"name": "dense", "width": 64}
        assert config.train.steps == 200
        assert "hydra" not in config
        assert "${" not in OmegaConf.to_yaml(config)

    def test_gives_what_a_recipe_does_not_say_its_default(self):
        config, default = diffkit.compose(SPIRALS), Settings()
        assert (config.seed, config.device, config.out) == (default.seed, default.device, default.out)
        assert config.train.clip == default.train.clip

    def test_the_command_line_has_the_last_word(self):
        config = diffkit.compose(SPIRALS, "train.steps=7", "net.width=5", "sample.n=2")
        assert (config.train.steps, config.net.width, config.sample.n) == (7, 5, 2)

    @pytest.mark.parametrize("sign", ["", "+", "++"])
    def test_a_sign_before_a_group_makes_no_difference(self, sign):
        assert diffkit.compose(SPIRALS, f"{sign}schedule=root") == diffkit.compose(SPIRALS)

    @pytest.mark.parametrize("sign", ["", "++"])
    def test_nor_before_an_option(self, sign):
        assert diffkit.compose(SPIRALS, f"{sign}net.width=8").net.width == 8

    @pytest.mark.parametrize("word", ["~augment", "augment=null", "~guidance", "grid=null", "~tracker"])
    def test_an_optional_group_can_be_left_out(self, word):
        config = diffkit.compose(SPIRALS, word)
        assert config.get(word.strip("~").partition("=")[0]) is None

    def test_order_of_words_makes_no_difference_between_choice_and_option(self):
        assert diffkit.compose(SPIRALS, "net.width=8", "net=dense") == diffkit.compose(
            SPIRALS, "net=dense", "net.width=8"
        )

    def test_works_twice_in_one_process_and_remembers_nothing(self):
        diffkit.compose(SPIRALS, "net.width=8", "seed=3")
        config = diffkit.compose(SPIRALS)
        assert (config.net.width, config.seed) == (64, 0)

    def test_works_in_a_thread(self):
        found = []
        thread = threading.Thread(target=lambda: found.append(diffkit.compose(SPIRALS)))
        thread.start()
        thread.join()
        assert found == [diffkit.compose(SPIRALS)]

    def test_works_from_any_folder(self, tmp_path, monkeypatch):
        before = diffkit.compose(SPIRALS)
        monkeypatch.chdir(tmp_path)
        assert diffkit.compose(SPIRALS) == before

    def test_works_inside_another_hydra_application_and_leaves_it_as_it_was(self, tmp_path):
        from hydra import compose, initialize_config_dir
        from hydra.core.global_hydra import GlobalHydra

        (tmp_path / "theirs.yaml").write_text("depth: 3\n")
        with initialize_config_dir(str(tmp_path), version_base="1.3"):
            outer = GlobalHydra.instance().hydra
            assert diffkit.compose(SPIRALS).net.name == "dense"
            with pytest.raises(DiffkitError):
                diffkit.compose("schedule=nope")
            assert GlobalHydra.instance().hydra is outer
            assert compose("theirs").depth == 3
        assert not GlobalHydra.instance().is_initialized()

    def test_an_environment_variable_can_be_read_by_whoever_types_the_words(self, monkeypatch):
        monkeypatch.setenv("MY_WIDTH", "24")
        assert diffkit.compose(SPIRALS, "net.width=${oc.env:MY_WIDTH}").net.width == 24

    def test_one_option_can_be_said_by_another(self):
        assert diffkit.compose(SPIRALS, "net.width=${train.batch_size}").net.width == 64

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("schedule=rot", r"schedule 'rot' is not installed \(did you mean 'root'\?\); installed: .*root"),
            ("net.widht=3", r"net 'dense' has no option 'widht' \(did you mean 'width'\?\); its options: width"),
            ("+net.widht=3", r"net 'dense' has no option 'widht' \(did you mean 'width'\?\); its options: width"),
            ("++net.widht=3", r"net 'dense' has no option 'widht'"),
            ("net.width=wide", "net.width=wide does not fit: net.width is a whole number"),
            ("net.width=1.5", "net.width=1.5 does not fit: net.width is a whole number"),
            ("net.width=null", "net.width has to have a value; give it one: net.width=VALUE"),
            ("optim.lr=fast", "optim.lr=fast does not fit: optim.lr is a number"),
            ("train.stpes=3", r"there is no 'train.stpes' \(did you mean 'steps'\?\)"),
            ("+train.stpes=3", r"there is no 'train.stpes' \(did you mean 'steps'\?\)"),
            ("++sample.m=3", "there is no 'sample.m'"),
            ("train=5", "train is a group of keys; set one of them: train.KEY=VALUE"),
            ("+seed.x=1", "seed"),
            ("guidance.scale=2", "no guidance is chosen whose options could be set; choose one too: guidance=NAME"),
            ("+guidance.scale=2", "guidance"),
            ("~net.width", "'~net.width' takes away what has to have a value; set it instead: net.width=VALUE"),
            ("~train.steps", "'~train.steps' takes away what has to have a value; set it instead: train.steps=VALUE"),
            ("~train", "'~train' takes away what has to have a value; set it instead: train=VALUE"),
            ("~seed", "'~seed' takes away what has to have a value; set it instead: seed=VALUE"),
            ("precision=fp8", "precision=fp8 is unknown; give one of fp32, bf16"),
            ("train.ema=1", "train.ema=1 is out of range"),
            ("train.ema=nan", "train.ema=nan is out of range"),
            ("train.ema=[0.9,1]", "give a decay from 0 to below 1, or a list of several"),
            ("train.ema=[]", r"train.ema=\[\] is out of range"),
            ("train.ema_lengths=[0.3]", "give relative lengths above 0 and below 0.2886"),
            ("train.clip=nan", "train.clip=nan is out of range"),
            ("a b", "a b"),
            ("seed=[", r"'seed=\[' is not KEY=VALUE"),
            ("recipe=spiral", r"recipe 'spiral' is not installed \(did you mean 'spirals'\?\)"),
            ("recipe=spirals,digits", "gives several values; sweep over them with -m"),
            ("net=[dense,dense]", "gives a list, but a net is one choice: net=NAME"),
            ("net.width=${nothing.there}", "nothing"),
            ("net.width=${oc.env:SURELY_NOT_SET}", "SURELY_NOT_SET"),
        ],
    )
    def test_refuses_a_mistake_with_one_sentence_that_mends_it(self, word, said):
        with pytest.raises(DiffkitError, match=said) as error:
            diffkit.compose(SPIRALS, word)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 600

    @pytest.mark.parametrize(("key", "least"), AT_LEAST.items())
    def test_every_plain_number_has_a_least_value(self, key, least):
        assert diffkit.compose(SPIRALS, f"{key}={least:g}")
        with pytest.raises(DiffkitError, match=f"{key}=.* is out of range; give {least:g} or more"):
            diffkit.compose(SPIRALS, f"{key}={least - 1:g}")

    @pytest.mark.parametrize("kind", [k.name for k in KINDS.values() if k.group and k.required])
    def test_a_choice_that_no_run_can_do_without_cannot_be_emptied(self, kind):
        with pytest.raises(DiffkitError, match=f"choose one: {kind}=NAME"):
            diffkit.compose(SPIRALS, f"~{kind}")

    @pytest.mark.parametrize("word", ["net._target_=os.system", "+net={_target_: os.system}", "+_target_=os.system"])
    def test_code_cannot_be_named_by_its_path(self, word):
        with pytest.raises(DiffkitError, match=r"_target_.*chooses among what is installed"):
            diffkit.compose(SPIRALS, word)


class TestTypes:
    """Hydra itself refuses a wrong type, for every annotation that a component may have."""

    @pytest.fixture
    def typed(self, make_plugin, install):
        source = """
from typing import Literal
from collections.abc import Sequence

class Typed:
    def __init__(self, whole: int = 1, number: float = 1.0, word: str = "a", yes: bool = True, maybe: int | None = None,
                 either: int | str = 3, one: Literal["a", "b"] = "a", many: list[int] = (1, 2),
                 pair: tuple[float, float] = (0.5, 1.0), words: Sequence[str] = ("x",), untyped=5): pass

@hookimpl
def diffkit_schedules():
    yield Component("typed", "typed_pack:Typed")
"""
        install(make_plugin("typed-pack", source))

    @pytest.mark.parametrize(
        ("word", "value"),
        [
            ("whole=7", 7), ("number=7", 7.0), ("number=1e-3", 1e-3), ("word=x y", "x y"), ("yes=false", False),
            ("maybe=7", 7), ("maybe=null", None), ("either=x", "x"), ("one=b", "b"), ("many=[3]", [3]),
            ("many=[]", []), ("pair=[1,2]", [1.0, 2.0]), ("words=[a,b]", ["a", "b"]), ("untyped={a: 1}", {"a": 1}),
        ],
    )  # fmt: skip
    def test_what_fits_arrives_as_its_type(self, typed, word, value):
        option = word.partition("=")[0]
        found = values(diffkit.compose(SPIRALS, "schedule=typed", f"schedule.{word}"))["schedule"][option]
        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        "word",
        [
            "whole=x",
            "whole=1.5",
            "number=x",
            "yes=perhaps",
            "maybe=x",
            "many=3",
            "many=[x]",
            "words={a: 1}",
            "whole=[1]",
        ],
    )
    def test_what_does_not_is_refused(self, typed, word):
        option = word.partition("=")[0]
        with pytest.raises(DiffkitError, match=f"schedule.{option}.* does not fit"):
            diffkit.compose(SPIRALS, "schedule=typed", f"schedule.{word}")


class TestRestore:
    """The config of a run comes from whoever made the run: it is checked like any other, and nothing in it acts."""

    @pytest.fixture
    def saved(self):
        return yaml.safe_load(OmegaConf.to_yaml(diffkit.compose(SPIRALS)))

    def test_gives_the_config_that_was_saved(self, saved):
        assert values(restore(saved, "config.yaml")) == {k: v for k, v in saved.items() if v is not None}

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("out", "${oc.env:HOME}"),
            ("net.width", "${oc.env:HOME}"),
            ("data.path", "${oc.env:HOME}"),
            ("sample.label", ["a", "${oc.env:HOME}"]),
            ("sample.label", "x${oc.env:HOME,y}"),
            ("train.steps", "${train.batch_size}"),
            ("net.name", "${oc.env:HOME}"),
            ("recipe", "${oc.env:HOME}"),
        ],
    )
    def test_refuses_an_interpolation_anywhere(self, saved, path, value):
        first, _, last = path.partition(".")
        if last:
            saved[first][last] = value
        else:
            saved[first] = value
        with pytest.raises(DiffkitError, match=r"interpolation '.*\$\{.*', which a run's config may not"):
            restore(saved, "config.yaml")

    def test_refuses_an_interpolation_as_a_key(self, saved):
        saved["net"]["${oc.env:HOME}"] = 1
        with pytest.raises(DiffkitError):
            restore(saved, "config.yaml")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"net": {"name": "dense", "_target_": "os.system"}}, "_target_|no option"),
            ({"hydra": {"launcher": {"_target_": "os.system"}}}, "is not the config of a run"),
            ({"net": {"name": "dens"}}, "net 'dens' is not installed"),
            ({"net": {"name": "dense", "widht": 3}}, r"net 'dense' has no option 'widht' \(did you mean 'width'\?\)"),
            ({"net": {"name": "dense", "width": "wide"}}, r"net\.width=wide does not fit"),
            ({"net": "dense"}, "no name for its net"),
            ({"net": {"name": ["dense"]}}, "no name for its net"),
            ({"net": None}, "the run has no net"),
            ({"train": None}, "is not the config of a run"),
            ({"train": {"steps": "many"}}, "steps"),
            ({"train": {"steps": -1}}, "train.steps=-1 is out of range"),
            ({"sample": {"n": {}}}, "sample.n|n "),
            ({"seed": None}, "seed"),
            ({"surprise": 1}, "is not the config of a run"),
        ],
    )
    def test_refuses_what_a_run_cannot_be_made_of(self, saved, change, said):
        with pytest.raises(DiffkitError, match=said) as error:
            restore({**saved, **change}, "config.yaml")
        assert "\n" not in str(error.value)

    def test_refuses_an_empty_one(self):
        with pytest.raises(DiffkitError, match="is not the config of a run"):
            restore({}, "config.yaml")


class TestChange:
    """Words after ``diffkit sample RUN``."""

    @pytest.fixture
    def config(self):
        return restore(yaml.safe_load(OmegaConf.to_yaml(diffkit.compose(SPIRALS))), "config.yaml")

    def test_applies_choices_options_and_keys(self, config):
        changed = change(
            config, ["sampler=midpoint", "sampler.steps=3", "sample.label=left", "seed=9"], SAMPLING, "sample"
        )
        assert (changed.sampler.steps, changed.sample.label, changed.seed) == (3, "left", 9)
        assert config.sampler.steps == 20, "the config it was given is left as it was"

    @pytest.mark.parametrize("sign", ["", "+", "++"])
    def test_takes_signs_like_the_command_line(self, config, sign):
        assert change(config, [f"{sign}sampler=midpoint", f"{sign}seed=4"], SAMPLING, "sample").seed == 4

    def test_holds_values_where_the_words_held_interpolations(self, config, monkeypatch):
        monkeypatch.setenv("MY_SEED", "24")
        assert change(config, ["seed=${oc.env:MY_SEED}"], SAMPLING, "sample")._get_node("seed")._value() == 24

    def test_can_leave_an_optional_choice_out(self, config):
        assert change(config, ["~grid", "guidance=null"], SAMPLING, "sample").get("grid") is None

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("net=dense", "diffkit sample cannot change 'net'; it takes .*sampler"),
            ("train.steps=4", "diffkit sample cannot change 'train.steps'"),
            ("out=elsewhere", "cannot change 'out'"),
            ("sampler=midpont", r"sampler 'midpont' is not installed \(did you mean 'midpoint'\?\)"),
            ("sampler=midpoint,midpoint", "gives several values; diffkit sample takes one"),
            ("seed=1,2", "gives several values; diffkit sample takes one"),
            ("sampler.stpes=3", r"no option 'stpes' \(did you mean 'steps'\?\)"),
            ("+sampler.stpes=3", r"no option 'stpes'"),
            ("sampler.steps=x", "sampler.steps=x does not fit: sampler.steps is a whole number"),
            ("guidance.scale=2", "no guidance is chosen whose options could be set; choose one too: guidance=NAME"),
            ("sample.m=3", r"there is no 'sample.m'|sample.*'m'"),
            ("sample.n=0", "sample.n=0 is out of range"),
            ("~seed", "seed"),
            ("~sampler.steps", "sampler.steps"),
            ("~sample", "sample"),
            ("seed=", "seed"),
            ("sample=3", "sample"),
        ],
    )
    def test_refuses_a_mistake_with_one_sentence(self, config, word, said):
        with pytest.raises(DiffkitError, match=said) as error:
            change(config, [word], SAMPLING, "sample")
        assert "\n" not in str(error.value)


def test_a_users_own_folder_of_configs_brings_variants_and_recipes(tmp_path, command):
    mine = tmp_path / "mine"
    (mine / "net").mkdir(parents=True)
    (mine / "recipe").mkdir()
    (mine / "net/small.yaml").write_text("defaults: [dense]\nwidth: 8\n")
    (mine / "recipe/quick.yaml").write_text(
        "# @package _global_\ndefaults:\n  - spirals\n  - override /net: small\ntrain: {steps: 2}\n"
    )
    done = command("--config-dir", mine, "recipe=quick", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(done.stdout)
    assert config["net"] == {"name": "dense", "width": 8}
    assert config["train"]["steps"] == 2
    done = command("--config-dir", mine, "recipe=quick", "sample.n=1", "sample.label=left")
    assert done.returncode == 0, done.stderr
    run = next((command.folder / "runs").glob("*/*/plugins.lock"))
    assert json.loads(run.read_text())["components"]["net"]["name"] == "dense"
