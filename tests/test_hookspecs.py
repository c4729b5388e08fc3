"""Every hook is documented, versioned, and shown by an example that runs."""

import doctest
import inspect

import pytest

from diffkit import hookspecs
from diffkit.kinds import KINDS

HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("diffkit_")}


def test_kinds_and_hooks_correspond_one_to_one():
    assert sorted(kind.hook for kind in KINDS.values()) == sorted(HOOKS)


def test_a_kind_is_found_by_its_own_name():
    assert all(name == kind.name for name, kind in KINDS.items())


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
class TestEveryHook:
    def test_is_a_spec_of_this_project(self, hook):
        assert hasattr(hook, f"{hookspecs.PROJECT}_spec")

    def test_carries_the_version_of_the_contract_it_came_with(self, hook):
        assert 1 <= hook.contract <= hookspecs.CONTRACT

    def test_says_what_it_is_for_and_what_the_target_is(self, hook):
        text = inspect.getdoc(hook)
        assert text.startswith("Register "), text
        assert ": choices for " in text.splitlines()[0], "the first line says what one chooses with it"
        assert "The target is " in text, "the values are explained"

    def test_has_an_example_that_runs_and_yields_what_it_says(self, hook):
        test = doctest.DocTestFinder().find(hook, hook.__name__, globs=vars(hookspecs).copy())[0]
        assert test.examples, "no example"
        assert f"def {hook.__name__}()" in test.examples[0].source, "the example implements this very hook"
        said = []
        results = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
        assert results.attempted >= 2
        assert results.failed == 0, "".join(said)

    def test_shows_a_target_as_the_protocol_it_names(self, hook):
        """A docstring that points at a contract points at one that exists."""
        from importlib import import_module

        for word in inspect.getdoc(hook).split("`"):
            if word.startswith("~diffkit.contracts."):
                module, _, name = word[1:].rpartition(".")
                assert hasattr(import_module(module), name), word


def test_the_module_says_when_hooks_are_called_and_what_a_record_holds():
    text = inspect.getdoc(hookspecs)
    for said in ("entry-points.diffkit", "called once a process", "target is a string", "keyword parameters", "spec"):
        assert said in text


def test_hooks_are_generators_of_components_and_nothing_else_is_asked_of_them():
    assert all(not inspect.signature(hook).parameters for hook in HOOKS.values())
