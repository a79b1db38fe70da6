"""Which configuration a training has: names, TOML files, single fields; every mistake names the field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_trident import TINY

from morphobench.errors import BadInput
from reference_models.training.settings import chosen
from reference_models.trident.config import PAPER, SIM

NAMED = {"sim": SIM, "paper": PAPER}


def test_a_name_is_that_configuration() -> None:
    assert chosen(NAMED, "paper") is not PAPER
    assert chosen(NAMED, "paper") == PAPER


def test_fields_are_set_one_by_one() -> None:
    made = chosen(NAMED, "sim", ["recipe.steps=500", "recipe.learning_rate=3e-4", "recipe.clip=none"])
    assert made == replace(SIM, recipe=replace(SIM.recipe, steps=500, learning_rate=3e-4, clip=None))
    made = chosen(NAMED, "sim", ["name=wide", "transformer.width=320", "condition.z_width=320"])
    assert (made.name, made.transformer.width) == ("wide", 320)


def test_a_file_says_what_differs_or_everything(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text('like = "sim"\nname = "deep"\n[transformer]\ndepth = 9\n')
    made = chosen(NAMED, str(path), ["recipe.steps=7"])
    wanted = replace(SIM, name="deep", transformer=replace(SIM.transformer, depth=9))
    assert made == replace(wanted, recipe=replace(SIM.recipe, steps=7))
    whole = tmp_path / "whole.toml"
    whole.write_text(
        'name = "tiny"\nimage_size = 32\n'
        '[autoencoder]\nkind = "convolutional"\nlatent_channels = 2\nwidths = [16, 16, 8]\n'
        "[condition]\nz_width = 32\ngenes = 12\nhidden = 16\n"
        "[transformer]\nlatent_channels = 2\nlatent_size = 4\npatch = 2\nwidth = 32\ndepth = 2\nheads = 4\n"
        f'[diffusion]\n[sampler]\nsolver = "{TINY.sampler.solver}"\nsteps = {TINY.sampler.steps}\n'
        "[recipe]\nsteps = 12\nbatch = 8\nlearning_rate = 3e-3\nwarmup = 4\nclip = 1.0\nema = 0.9\n"
    )
    assert chosen(NAMED, str(whole)) == TINY


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["recipe.step=5"], "--set recipe.step=5: no field of that name; nearest: recipe.steps"),
        (["stesp=5"], "--set stesp=5: no field of that name; nearest: recipe.steps"),
        (["recipe=5"], "--set recipe=5: no field of that name; nearest: "),
        (["recipe.steps"], "--set 'recipe.steps': give FIELD=VALUE"),
        (["recipe.steps=0"], "--set recipe.steps=0: recipe.steps: Input should be greater than 0; correct it"),
        (["recipe.batch=many"], "--set recipe.batch=many: recipe.batch: Input should be a valid integer"),
        (["recipe.seed=99999999999999999999"], "recipe.seed: Input should be less than 9223372036854775808"),
        (["recipe.ema=1"], "recipe.ema: Input should be less than 1"),
        (["recipe.learning_rate=inf"], "recipe.learning_rate: Input should be a finite number"),
        (["transformer.depth=9"], "transformer.depth makes it another model than 'sim'; give it a name, --set name="),
        (["name=x", "transformer.width=7"], "is no multiple of"),
    ],
)
def test_a_wrong_setting_is_one_line(settings: list[str], says: str) -> None:
    with pytest.raises(BadInput) as raised:
        chosen(NAMED, "sim", settings)
    assert says in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("like = ", "not TOML that can be read"),
        ('like = "huge"', "like = 'huge': choose sim, paper"),
        ('like = ["sim"]', "like = ['sim']: choose sim, paper"),
        ('like = "sim"\n[recipe]\nstep = 5', "recipe.step: no field of that name; nearest: recipe.steps"),
        ('name = "mine"', "image_size: "),
    ],
)
def test_a_wrong_file_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as raised:
        chosen(NAMED, str(path))
    assert str(raised.value).startswith(str(path))
    assert says in str(raised.value)
    with pytest.raises(BadInput, match="no such file; choose sim, paper, or correct the path"):
        chosen(NAMED, str(tmp_path / "absent.toml"))
