"""A recipe chooses and overrides, and leaves every other choice open."""

import pytest
import yaml

import diffkit
from diffkit import catalog
from diffkit.config.source import GROUPS
from diffkit.paths import CONF

RECIPES = [entry.name for entry in catalog.entries("recipe") if entry.package == "diffkit"]


def words(recipe, *more):
    return (
        (f"recipe={recipe}", "data.path=somewhere", *more)
        if recipe in ("images", "small_images", "sounds", "clips")
        else (
            f"recipe={recipe}",
            *more,
        )
    )


def test_the_recipes_of_the_issue_are_there():
    assert {"digits", "notes", "moving_digits", "images", "small_images", "sounds", "clips"} <= set(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes(recipe):
    config = diffkit.compose(*words(recipe))
    assert config.recipe == recipe


@pytest.mark.parametrize("recipe", RECIPES)
def test_any_other_component_can_be_chosen_in_a_recipe(recipe):
    """Of the kinds whose options a recipe sets, any other choice takes those options too, or has none to take."""
    values = yaml.safe_load((CONF / "recipe" / f"{recipe}.yaml").read_text(encoding="utf-8"))
    for kind in sorted(GROUPS & set(values)):
        for name in catalog.names(kind):
            assert diffkit.compose(*words(recipe, f"{kind}={name}"))[kind].name == name
