"""Names to components; a component's options are its constructor's parameters."""

import hashlib
import inspect
import sys
from pathlib import Path

import pytest

from diffkit import DataSpec, DiffkitError, build, catalog
from diffkit.kinds import KINDS

SPEC = DataSpec(channels=2, shape=(8,), labels=("left", "right"))


def test_looking_names_up_imports_no_component(python):
    done = python(
        "import sys; from diffkit import catalog; catalog.names('net'); catalog.find('net', 'dense'); "
        "print('diffkit_spirals.model' in sys.modules, 'torch' in sys.modules)"
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_every_kind_can_be_listed():
    for kind in KINDS:
        assert catalog.names(kind) == sorted(catalog.names(kind))


class TestOptions:
    def test_are_the_constructors_parameters_with_annotations_and_defaults(self):
        class Made:
            def __init__(self, width: int, *, rate: float = 0.5, words: list[str] | None = None):
                pass

        found = {option.name: (option.annotation, option.default) for option in catalog.options(Made)}
        assert found == {
            "width": (int, catalog.REQUIRED),
            "rate": (float, 0.5),
            "words": (list[str] | None, None),
        }

    def test_leave_out_the_spec_that_the_core_supplies(self):
        assert [o.name for o in catalog.options(catalog.find("net", "dense").load())] == ["width"]

    def test_leave_out_arguments_that_have_no_name_of_their_own(self):
        class Made:
            def __init__(self, a: int = 1, *args, **others):
                pass

        assert [o.name for o in catalog.options(Made)] == ["a"]

    def test_of_a_class_without_a_constructor_are_none(self):
        class Plain:
            pass

        assert catalog.options(Plain) == []

    def test_are_read_where_annotations_are_strings_too(self):
        source = "from __future__ import annotations\nclass Made:\n    def __init__(self, width: int = 3): pass"
        made = {"__name__": __name__}
        exec(source, made)
        assert catalog.options(made["Made"])[0].annotation is int

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].group and kind != "recipe"])
    def test_of_everything_installed_can_be_read_and_have_defaults_a_config_can_hold(self, kind):
        """A component names types and defaults that a person can type; the rest, like data.path, is required."""
        for entry in catalog.entries(kind):
            for option in catalog.options(entry.load()):
                where = f"{kind}={entry.name} {option.name}"
                assert option.annotation is not inspect.Parameter.empty, f"{where} has no annotation"
                if option.default is not catalog.REQUIRED:
                    plain = (bool, int, float, str, tuple, list, type(None))
                    assert isinstance(option.default, plain), f"{where} defaults to {option.default!r}"

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].group and kind != "recipe"])
    def test_of_everything_installed_are_documented(self, kind):
        for entry in catalog.entries(kind):
            if entry.package != "diffkit-spirals":
                component = entry.load()
                text = " ".join(inspect.getdoc(parent) or "" for parent in component.__mro__)
                assert entry.component.summary, f"{kind}={entry.name} has no summary"
                for option in catalog.options(component):
                    assert f"{option.name}:" in text, f"{kind}={entry.name} says nothing about {option.name}"


class TestBuild:
    def test_by_name_gives_the_component_with_its_defaults(self):
        assert build("optim", "plain_adam").lr == 2e-3

    @pytest.mark.parametrize("how", [({"name": "plain_adam", "lr": 0.5}, {}), ("plain_adam", {"lr": 0.5})])
    def test_takes_options_from_a_mapping_or_as_keywords(self, how):
        choice, changes = how
        assert build("optim", choice, **changes).lr == 0.5

    def test_leaves_the_mapping_as_it_was(self):
        choice = {"name": "plain_adam", "lr": 0.5}
        build("optim", choice)
        assert choice == {"name": "plain_adam", "lr": 0.5}

    def test_hands_the_spec_to_a_component_that_asks_and_to_no_other(self):
        assert build("net", "dense", spec=SPEC).spec is SPEC
        assert build("schedule", "root", spec=SPEC)

    @pytest.mark.parametrize(
        ("kind", "choice", "said"),
        [
            ("net", "dens", r"net 'dens' is not installed \(did you mean 'dense'\?\); installed: .*dense.*; more: pip"),
            ("net", {"name": "dense", "widht": 3}, r"no option 'widht' \(did you mean 'width'\?\); its options: width"),
            ("net", {"width": 3}, "net has no name; choose one: net=NAME with NAME one of .*dense"),
            ("net", {"name": "dense", "width": 0}, "refuses its options: width=0 must be at least 1"),
            ("net", {"name": "dense", "width": "wide"}, "net 'dense' refuses its options: "),
            ("schedule", "root.", "is not installed"),
            ("schedule", "", "is not installed"),
        ],
    )
    def test_refuses_a_mistake_with_a_sentence_that_mends_it(self, kind, choice, said):
        with pytest.raises(DiffkitError, match=said):
            build(kind, choice, spec=SPEC)

    def test_asks_for_an_option_that_has_no_default(self, make_plugin, install):
        source = (
            "class Needy:\n    def __init__(self, path: str): pass\n\n"
            "@hookimpl\ndef diffkit_schedules():\n    yield Component('needy', 'needy_pack:Needy')"
        )
        install(make_plugin("needy-pack", source))
        with pytest.raises(DiffkitError, match=r"schedule 'needy' needs schedule.path; give it: schedule.path=VALUE"):
            build("schedule", "needy")
        assert build("schedule", "needy", path="x")

    @pytest.mark.parametrize("target", ["gone_pack.nowhere:Thing", "gone_pack:Thing"])
    def test_a_target_that_is_not_there_is_refused_with_the_package_to_mend(self, make_plugin, install, target):
        source = f"@hookimpl\ndef diffkit_schedules():\n    yield Component('gone', '{target}')"
        install(make_plugin("gone-pack", source))
        with pytest.raises(DiffkitError, match="pip install --force-reinstall gone-pack"):
            build("schedule", "gone")

    def test_a_mistake_in_a_plugins_own_code_keeps_its_traceback(self, make_plugin, install):
        """Only what a user can mend is said in one sentence; a bug is for the plugin's author."""
        source = (
            "class Buggy:\n    def __init__(self): self.nothing.there\n\n"
            "@hookimpl\ndef diffkit_schedules():\n    yield Component('buggy', 'buggy_pack:Buggy')"
        )
        install(make_plugin("buggy-pack", source))
        with pytest.raises(AttributeError):
            build("schedule", "buggy")


def test_the_hash_of_a_component_is_that_of_the_file_it_is_defined_in():
    entry = catalog.find("net", "dense")
    file = Path(sys.modules[entry.load().__module__].__file__)
    assert entry.source_hash() == hashlib.sha256(file.read_bytes()).hexdigest()
