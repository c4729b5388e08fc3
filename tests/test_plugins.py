"""Plugins load one by one: a broken one is named and set aside, and everything else goes on."""

import json
import subprocess

import pytest

from diffkit import DiffkitError, catalog
from diffkit.hookspecs import Component
from diffkit.plugins import installed, load_plugins

GOOD = """
@hookimpl
def diffkit_schedules():
    yield Component("good", "diffkit_spirals.model:Root", "a good one")
"""
BROKEN = {
    "fails at import": ("import nothing_of_that_name", "ModuleNotFoundError"),
    "is not Python": ("def", "SyntaxError"),
    "exits at import": ("raise SystemExit('go away')", "SystemExit: go away"),
    "yields a wrong type": ("@hookimpl\ndef diffkit_schedules():\n    yield 'cosine'", "'cosine', which is not a"),
    "returns nothing": ("@hookimpl\ndef diffkit_schedules():\n    pass", "'diffkit_schedules' returns None"),
    "raises in a hook": ("@hookimpl\ndef diffkit_networks():\n    raise OSError('no disk')", "OSError: no disk"),
    "declares an unknown hook": ("@hookimpl\ndef diffkit_schedule():\n    yield", "did you mean 'diffkit_schedules'"),
    "forgets to mark a hook": ("def diffkit_schedules():\n    yield", "'diffkit_schedules' is not marked"),
    "asks a hook for arguments": ("@hookimpl\ndef diffkit_schedules(what):\n    yield", "diffkit_schedules"),
    "registers a name twice": (
        "@hookimpl\ndef diffkit_schedules():\n    yield Component('a', 'm:A')\n    yield Component('a', 'm:B')",
        "registers schedule 'a' twice",
    ),
    "gives a name that cannot be typed": (
        "@hookimpl\ndef diffkit_schedules():\n    yield Component('a.b', 'm:A')",
        "schedule 'a.b', whose name",
    ),
    "gives a target that points nowhere": (
        "@hookimpl\ndef diffkit_schedules():\n    yield Component('a', 'm')",
        "whose target 'm'",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_plugin_that_is_broken_is_set_aside_and_named_and_the_rest_goes_on(make_plugin, install, source, reason):
    make_plugin("aaa-broken", source)
    folder = make_plugin("zzz-good", GOOD)
    with pytest.warns(UserWarning, match="plugin 'aaa-broken' is set aside"):
        install(folder)
        found = installed()
    assert list(found.quarantined) == ["aaa-broken"]
    assert reason in found.quarantined["aaa-broken"]
    assert {"good", "root"} <= set(catalog.names("schedule"))


def test_what_a_broken_plugin_registered_before_it_failed_is_not_left_behind(make_plugin, install):
    half = "@hookimpl\ndef diffkit_schedules():\n    yield Component('half', 'm:A')\n    raise OSError('no disk')"
    with pytest.warns(UserWarning, match="no disk"):
        install(make_plugin("half-broken", half))
        assert "half" not in catalog.names("schedule")


def test_a_name_that_is_missing_is_refused_with_the_plugin_that_was_set_aside(make_plugin, install):
    with pytest.warns(UserWarning, match="set aside"):
        install(make_plugin("my-broken", "raise RuntimeError('old')"))
        with pytest.raises(DiffkitError, match="set aside because it is broken: my-broken"):
            catalog.find("schedule", "mine")


@pytest.mark.parametrize("word", ["diffkit-spirals", "diffkit_spirals", "spirals", "other,diffkit-spirals"])
def test_a_plugin_can_be_turned_off_by_package_module_or_entry_point(monkeypatch, word):
    monkeypatch.setenv("DIFFKIT_DISABLE_PLUGINS", word)
    assert "diffkit-spirals" not in {plugin.package for plugin in load_plugins().loaded}
    monkeypatch.delenv("DIFFKIT_DISABLE_PLUGINS")
    assert "diffkit-spirals" in {plugin.package for plugin in load_plugins().loaded}


def test_a_broken_plugin_that_is_turned_off_is_not_even_imported(make_plugin, install, recwarn):
    install(make_plugin("my-broken", "raise RuntimeError('old')"))
    assert load_plugins(disabled=["my-broken"]).quarantined == {}
    assert not recwarn.list


def test_the_core_alone_is_a_plugin_like_the_others():
    (core,) = load_plugins(points=[]).loaded
    assert core.package == "diffkit"
    assert set(core.components) == {"command", "recipe"}, "the core registers nothing that a plugin could"


def test_one_package_may_have_several_entry_points(tmp_path, install, make_plugin):
    folder = make_plugin("two-parts", GOOD)
    (folder / "second.py").write_text(
        "from diffkit import Component, hookimpl\n@hookimpl\ndef diffkit_schedules():\n    yield Component('b', 'm:B')"
    )
    (folder / "two_parts-1.0.dist-info/entry_points.txt").write_text("[diffkit]\na = two_parts\nb = second\n")
    install(folder)
    assert {entry.package for name in ("good", "b") for entry in [catalog.find("schedule", name)]} == {"two-parts"}


class TestTwoPluginsWithOneName:
    @pytest.fixture
    def both(self, make_plugin):
        """Two packages that call a schedule ``twin``."""
        source = GOOD.replace('"good"', '"twin"')
        make_plugin("first-pack", source, version="1.0")
        return make_plugin("second-pack", source, version="2.0")

    def test_neither_wins_and_the_error_names_both_and_how_to_pick(self, both, install):
        install(both)
        with pytest.raises(DiffkitError) as error:
            catalog.find("schedule", "twin")
        said = "registered by first-pack and by second-pack; say which one: "
        assert said + "schedule=first-pack.twin or schedule=second-pack.twin" in str(error.value)

    @pytest.mark.parametrize("choice", ["second-pack.twin", "second_pack.twin"])
    def test_a_qualified_name_picks_one(self, both, install, choice):
        install(both)
        assert catalog.find("schedule", choice).version == "2.0"

    def test_a_name_that_only_one_brings_may_be_qualified_too(self):
        assert catalog.find("schedule", "diffkit-spirals.root").package == "diffkit-spirals"

    def test_contested_names_are_listed_in_full_and_may_be_typed_so_on_the_command_line(self, both, command):
        listed = command("plugins", "list", path=[both])
        assert "first-pack.twin" in listed.stdout and "second-pack.twin" in listed.stdout
        words = ("recipe=spirals", "train.steps=2", "train.log_every=1", "sample.n=1", "sample.label=left")
        refused = command(*words, "schedule=twin", path=[both])
        assert refused.returncode == 2
        assert "first-pack" in refused.stderr and "second-pack" in refused.stderr
        assert not (command.folder / "runs").exists()

        done = command(*words, "+schedule=second-pack.twin", path=[both])
        assert done.returncode == 0, done.stderr
        run = next((command.folder / "runs/spirals").iterdir())
        lock = json.loads((run / "plugins.lock").read_text())
        assert lock["components"]["schedule"]["package"] == "second-pack"
        assert command("sample", run, "sample.n=1", path=[both]).returncode == 0
        assert command("resume", run, "train.steps=3", path=[both]).returncode == 0

    def test_a_run_that_is_older_than_the_contest_keeps_its_own(self, make_plugin, command, trained):
        source = GOOD.replace('"good"', '"root"')
        done = command("sample", trained, "sample.n=1", "sampler.steps=1", path=[make_plugin("second-pack", source)])
        assert done.returncode == 0, done.stderr

    def test_a_plugin_cannot_take_a_command_of_the_core_in_silence(self, make_plugin, command):
        thief = "@hookimpl\ndef diffkit_commands():\n    yield Component('doctor', 'os:system')"
        folder = make_plugin("thief-pack", thief)
        refused = command("doctor", path=[folder])
        assert refused.returncode == 2
        assert "thief-pack" in refused.stderr and "diffkit diffkit.doctor" in refused.stderr
        assert command("diffkit.doctor", path=[folder]).stdout.startswith("ok ")

    def test_nor_a_recipe(self, make_plugin, command):
        thief = "@hookimpl\ndef diffkit_recipes():\n    yield Component('digits', 'thief_pack:digits.yaml')"
        choices = "schedule=root net=dense prediction=clean weighting=null times=null sampler=midpoint grid=null"
        words = ("recipe=digits", *choices.split(), "data=spirals", "optim=plain_adam")
        refused = command(*words, path=[make_plugin("thief-pack", thief)])
        assert refused.returncode == 2
        assert "recipe=diffkit.digits or recipe=thief-pack.digits" in refused.stderr


def test_what_is_set_aside_shows_in_every_listing(make_plugin, command):
    folder = make_plugin("my-broken", "raise RuntimeError('written for 0.0.1')")
    listed = command("plugins", "list", path=[folder])
    assert listed.returncode == 0
    assert "my-broken" in listed.stderr and "written for 0.0.1" in listed.stderr
    assert json.loads(command("plugins", "list", "--json", path=[folder]).stdout)["set_aside"] == {
        "my-broken": "RuntimeError: written for 0.0.1"
    }
    doctor = command("doctor", path=[folder])
    assert doctor.returncode == 1
    assert "PROBLEM  plugins: " in doctor.stdout


def test_an_option_that_is_called_name_is_told_the_author_wherever_it_shows(make_plugin, command):
    folder = make_plugin(
        "my-named",
        "class Named:\n    def __init__(self, name: str = 'x'): pass\n\n"
        "@hookimpl\ndef diffkit_schedules():\n    yield Component('mine', 'my_named:Named')\n",
    )
    said = "Named takes an option 'name', the word by which a config says which component it is"
    for words in (["plugins", "info", "mine"], ["recipe=spirals", "schedule=mine"]):
        refused = command(*words, path=[folder])
        assert refused.returncode == 2 and said in refused.stderr and refused.stderr.count("\n") == 1
    doctor = command("doctor", path=[folder])
    assert f"PROBLEM  cannot be used: schedule 'mine' of my-named (DiffkitError: {said}" in doctor.stdout
    completed = command("completion", "words", "schedule.", "schedule.", path=[folder])
    assert completed.returncode == 0 and "schedule.shift=" in completed.stdout.split(), "the others are unharmed"


def test_a_record_says_where_a_component_is_and_cannot_be_changed():
    record = Component("a", "m:A", "what it is")
    with pytest.raises(AttributeError):
        record.name = "b"


def test_hooks_import_nothing_heavy(python):
    """Every installed plugin registers its components without importing torch, Hydra or numpy."""
    source = (
        "import sys; from diffkit.plugins import installed; installed(); "
        "print([m for m in ('torch', 'hydra', 'numpy', 'omegaconf', 'PIL') if m in sys.modules])"
    )
    done: subprocess.CompletedProcess = python(source)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_garbage_is_not_looked_for_while_components_are_imported_and_is_while_they_work(command, make_plugin):
    hooks = """
@hookimpl
def diffkit_datasets():
    yield Component("watched", "gc_work:Watched")


@hookimpl
def diffkit_commands():
    yield Component("watch", "gc_work:watch")
"""
    work = """
import gc

from diffkit import DiffkitError

IMPORTED = gc.isenabled()


def watch(words=()):
    raise DiffkitError(f"{IMPORTED} while imported, {gc.isenabled()} at work")


class Watched:
    def __init__(self):
        watch()
"""
    folder = make_plugin("gc-pack", hooks)
    (folder / "gc_work.py").write_text(work)
    for words in (["watch"], ["recipe=spirals", "data=watched", "device=cpu"]):
        assert command(*words, path=[folder]).stderr.endswith(": False while imported, True at work\n")
