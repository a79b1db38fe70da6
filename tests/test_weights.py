"""Files of weights: what they say of themselves, what is refused, how they ship and how they are released."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_tier import tiny_tier
from tiny_trident import AUTOENCODER, TINY_GENES

from morphobench.datasets import load_tier
from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput, Unavailable
from morphobench.models import load_model, model_sha256, weights_sha256
from morphobench.storage import read_sums, sha256_file, sha256_text, verify_sums
from reference_models import shipped
from reference_models.autoencoder.config import SIM as SIM_AUTOENCODER
from reference_models.autoencoder.config import TrainedAutoencoder
from reference_models.autoencoder.loading import BESIDE
from reference_models.autoencoder.network import ConvolutionalAutoencoder
from reference_models.core import weight_file
from reference_models.training.release import release
from reference_models.training.run_folder import RunFolder, command
from reference_models.trident import load
from reference_models.trident.config import SIM, TridentConfig
from reference_models.trident.network import TridentNetwork


@pytest.fixture
def tier(tmp_path: Path) -> Tier:
    return tiny_tier(tmp_path / "tier")


@pytest.fixture
def run(tmp_path: Path, tier: Tier) -> Path:
    """The folder of a TRIDENT run of one step of twelve, its autoencoder beside."""
    torch.manual_seed(0)
    folder = tmp_path / "run"
    autoencoder = RunFolder(tmp_path / "autoencoder", weight_file.describe("autoencoder", AUTOENCODER, tier))
    autoencoder.begin()
    made = autoencoder.write_weights(ConvolutionalAutoencoder(AUTOENCODER.autoencoder), 12, 12)
    metadata = weight_file.describe("trident", TINY_GENES, tier) | {"autoencoder_sha256": sha256_file(made)}
    trident = RunFolder(folder, metadata)
    trident.begin()
    network = TridentNetwork(TINY_GENES)
    network.pre_mean.uniform_()
    trident.write_weights(network, 1, 12)
    shutil.copyfile(made, folder / BESIDE)
    return folder


def rewritten(path: Path, **changes: str) -> None:
    """The same tensors with other metadata."""
    file = weight_file.read(path)
    save_file(file.tensors, path, file.metadata | changes)


def test_a_run_folder_and_its_file_are_the_same_checkpoint(run: Path, tier: Tier) -> None:
    path = run / "weights.safetensors"
    by_folder, by_file = load(tier, "cpu", run), load_model("trident", tier, "cpu", path)
    conditions = tier.conditions("id").take([0, 1])
    images = by_folder.generate(conditions, 0)
    assert images.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(images, by_file.generate(conditions, 0))
    assert by_folder.manifest["weights_sha256"] == sha256_file(path)
    assert weights_sha256("trident", tier, run) == weights_sha256("trident", tier, path) == sha256_file(path)
    assert by_folder.network.config == TINY_GENES, "the configuration is the file's own"
    assert by_folder.manifest["name"] == "trident-tiny"


def test_parameters_are_halves_and_statistics_keep_all_their_digits(run: Path) -> None:
    network = weight_file.filled(lambda: TridentNetwork(TINY_GENES), weight_file.read(run / "weights.safetensors"))
    assert all(torch.equal(value, value.half().float()) for value in network.parameters())
    assert not torch.equal(network.pre_mean, network.pre_mean.half().float())


ODD = {
    "another model": ({"model": "autoencoder"}, r"weights of model 'autoencoder'; 'trident' is wanted"),
    "another tier": ({"tier": "sim"}, r"trained on tier 'sim', this is 'tiny'"),
    "another version": ({"tier_version": "0"}, r"trained on version 0 of tier tiny, this is version 1"),
    "other genes": ({"genes_sha256": "0" * 64}, r"trained on other genes than tier tiny's, or another order"),
    "another format": ({"format": "x"}, r"does not say what it is of \(no morphobench-weights-1 metadata\)"),
    "no configuration": ({"configuration": "{}"}, r"configuration of another release: name: "),
    "another autoencoder": (
        {"autoencoder_sha256": "1" * 64},
        r"trained on the latents of an autoencoder with sha256 111111111111\.\.\., which is neither",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_a_checkpoint_of_something_else_is_one_line(name: str, run: Path, tier: Tier) -> None:
    changes, message = ODD[name]
    rewritten(run / "weights.safetensors", **changes)
    with pytest.raises(BadInput, match=rf"weights\.safetensors: {message}") as raised:
        load(tier, "cpu", run)
    assert "\n" not in str(raised.value)


def test_a_checkpoint_of_another_configuration_is_one_line(run: Path, tier: Tier) -> None:
    path = run / "weights.safetensors"
    written = json.loads(weight_file.read(path).metadata["configuration"])
    rewritten(path, configuration=json.dumps(written | {"guidance": 2}))
    with pytest.raises(BadInput, match=r"configuration of another release: guidance: Unexpected"):
        load(tier, "cpu", run)
    deeper = written | {"transformer": written["transformer"] | {"depth": 3}}
    rewritten(path, configuration=json.dumps(deeper))
    with pytest.raises(BadInput, match=r"its tensors are not those of its configuration .*blocks\.2") as raised:
        load(tier, "cpu", run)
    assert "\n" not in str(raised.value)
    large = written | {"image_size": 64, "transformer": written["transformer"] | {"latent_size": 8}}
    rewritten(path, configuration=json.dumps(large))
    with pytest.raises(BadInput, match=r"configuration 'tiny' draws 64 pixels, tier tiny has 32"):
        load(tier, "cpu", run)


SIZES = {
    "transformer.heads": (0, 5),
    "transformer.patch": (0, 3),
    "transformer.depth": (-1, 10**9),
    "condition.hidden": (-4, 10**12),
    "condition.morgan_bits": (-1, 1.5),
    "condition.morgan_radius": (-1, 10**9),
    "diffusion.timesteps": (0, 10**9, 10**15),
    "diffusion.beta_end": (9.0,),
    "sampler.steps": (0, 10**9),
    "autoencoder.widths": ([0, 0, 0],),
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in SIZES.items() for value in values])
def test_sizes_that_no_network_has_are_one_line(field: str, value: object, run: Path, tier: Tier) -> None:
    """Some ended in a traceback; others loaded, and failed in the middle of a generation."""
    path = run / "weights.safetensors"
    written = json.loads(weight_file.read(path).metadata["configuration"])
    part, _, name = field.partition(".")
    rewritten(path, configuration=json.dumps(written | {part: written[part] | {name: value}}))
    with pytest.raises(BadInput, match=r"weights\.safetensors: (configuration of|its tensors are not)") as raised:
        load(tier, "cpu", run)
    assert "\n" not in str(raised.value)


def test_a_stable_diffusion_vae_is_part_of_the_key(run: Path, tier: Tier) -> None:
    """The weights do not name it by its hash, as they do another autoencoder."""
    vae = run / "autoencoder"
    vae.mkdir()
    (vae / "config.json").write_text("{}")
    before = model_sha256("trident", tier, run)
    assert weights_sha256("trident", tier, run) != sha256_file(run / "weights.safetensors")
    (vae / "config.json").write_text("{ }")
    assert model_sha256("trident", tier, run) != before


def test_genes_in_another_order_are_other_genes(run: Path, tier: Tier) -> None:
    with pytest.raises(BadInput, match="other genes"):
        load(replace(tier, genes=(*tier.genes[1:], tier.genes[0])), "cpu", run)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _pickled(path: Path) -> None:
    torch.save({"a": torch.ones(1)}, path)


def _old_pickle(path: Path) -> None:
    torch.save({"a": torch.ones(1)}, path, _use_new_zipfile_serialization=False)


def _diverged(path: Path) -> None:
    file = weight_file.read(path)
    name = next(iter(file.tensors))
    save_file(file.tensors | {name: file.tensors[name] * float("nan")}, path, file.metadata)


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (_cut, "cut short, or not a safetensors file"),
    "empty": (lambda path: path.write_bytes(b""), "cut short, or not a safetensors file"),
    "text": (lambda path: path.write_text("weights"), "cut short, or not a safetensors file"),
    "pickle": (_pickled, "a pickle, which can run code"),
    "old pickle": (_old_pickle, "a pickle, which can run code"),
    "diverged": (_diverged, "is not finite"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_checkpoint_is_one_line(name: str, run: Path, tier: Tier) -> None:
    damage, message = DAMAGED[name]
    damage(run / "weights.safetensors")
    with pytest.raises(BadInput, match=rf"weights\.safetensors: .*{message}") as raised:
        load(tier, "cpu", run)
    assert "\n" not in str(raised.value)


def test_what_is_not_there_says_how_to_get_it(run: Path, tier: Tier, tmp_path: Path) -> None:
    (run / "weights.safetensors").unlink()
    with pytest.raises(
        BadInput, match=r"run: no weights\.safetensors in it; go on with the run by --resume, .*--stop-after 0"
    ):
        load(tier, "cpu", run)
    with pytest.raises(BadInput, match=r"absent\.bin: no such file of weights"):
        load(tier, "cpu", tmp_path / "absent.bin")
    no_weights = r"tier 'tiny': no weights of trident ship for it; give your own with --checkpoint, or choose tier sim$"
    for call in (lambda: load(tier), lambda: model_sha256("trident", tier)):
        with pytest.raises(Unavailable, match=no_weights):
            call()
    with pytest.raises(BadInput, match="device 'abacus'"):
        load(tier, "abacus")
    with pytest.raises(BadInput, match=r"model 'copycat': its load\(tier, device\) takes no weights"):
        load_model("copycat", tier, "cpu", run)


def test_shipped_weights_are_what_they_say_and_draw_cells() -> None:
    sim = load_tier("sim")
    verify_sums(shipped.FOLDER)
    assert {path.name for path in shipped.FOLDER.glob("*.safetensors")} == set(read_sums(shipped.FOLDER))
    for path in shipped.FOLDER.glob("*.safetensors"):
        file = weight_file.read(path)
        assert path.stem == f"{file.metadata['model']}__{file.metadata['tier']}"
        weight_file.check(file, file.metadata["model"], sim)
        training = json.loads(file.metadata["training"])
        assert training["step"] == training["steps"]
        assert path.with_suffix(".log.jsonl").is_file()
    autoencoder = weight_file.read(shipped.FOLDER / "autoencoder__sim.safetensors")
    assert weight_file.configuration(autoencoder, TrainedAutoencoder) == SIM_AUTOENCODER
    model = load(sim)
    assert model.network.config == SIM
    assert model.manifest["parameters"] == pytest.approx(7.5e6, rel=0.1)
    assert "name" not in model.manifest
    few = sim.conditions("id").take([0, 1])
    assert model.generate(few, 0).std() > 5, "cells on a dark ground, not a flat field"
    assert np.isfinite(model.predict_expression(few)).all()
    with pytest.raises(BadInput, match=r"trained on version 2 of tier sim, this is version 999"):
        load(replace(sim, spec=sim.spec.model_copy(update={"version": "999"})))


def test_a_shipped_file_that_was_changed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(shipped.FOLDER, folder)
    monkeypatch.setattr(shipped, "FOLDER", folder)
    rewritten(folder / "trident__sim.safetensors", note="mine")
    with pytest.raises(BadInput, match=r"trident__sim\.safetensors: sha256 .* where SHA256SUMS says"):
        load(load_tier("sim"))


def test_a_key_is_of_the_file_that_is_read_and_every_model_says_which() -> None:
    sim = load_tier("sim")
    names = {
        point.name for point in entry_points(group="morphobench.models") if point.module.startswith("reference_models")
    }
    said = {point.name for point in entry_points(group="morphobench.weights")}
    assert names <= said, "without it a model is keyed by the weights of all others"
    sums = read_sums(shipped.FOLDER)
    both = sha256_text(sums["trident__sim.safetensors"], sums["detail__sim.safetensors"])
    assert weights_sha256("trident", sim) == both
    assert weights_sha256("copycat", sim) == ""


def test_a_run_is_released_with_its_log_and_hash(run: Path, tmp_path: Path, tier: Tier) -> None:
    folder = tmp_path / "weights"
    lines = [{"step": step} for step in range(0, 1001, 2)]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder.mkdir()
    (folder / "SHA256SUMS").write_text("0" * 64 + "  other__tiny.safetensors\n")
    with pytest.raises(BadInput, match=r"run: stopped at step 1 of 12; go on with it by --resume, or .*--unfinished"):
        release(run, "trident__tiny", folder)
    with pytest.raises(BadInput, match=r"run: its autoencoder \(sha256 .*\) is not in .*; release that run first"):
        release(run, "trident__tiny", folder, unfinished=True)
    assert {path.name for path in folder.iterdir()} == {"SHA256SUMS"}
    release(tmp_path / "autoencoder", "autoencoder__tiny", folder)
    for name in ("mit__tiny", "trident__sim", "tridents__tiny"):
        with pytest.raises(BadInput, match=rf"release it as trident__tiny \(or a variant of it\), not {name}"):
            release(run, name, folder, unfinished=True)
    made = release(run, "trident-no-rna__tiny", folder, unfinished=True)
    assert made.read_bytes() == (run / "weights.safetensors").read_bytes()
    assert set(read_sums(folder)) == {f"{n}__tiny.safetensors" for n in ("autoencoder", "other", "trident-no-rna")}
    assert read_sums(folder)[made.name] == sha256_file(made)
    log = [json.loads(line) for line in made.with_suffix(".log.jsonl").read_text().splitlines()]
    assert len(log) <= 200 + 2, "and the first and the last"
    assert (log[0]["step"], log[-1]["step"]) == (0, 1000)
    assert log[0]["command"] == command()


def test_weights_that_do_not_say_how_far_they_were_trained_are_unfinished(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "autoencoder" / "weights.safetensors"
    file = weight_file.read(path)
    save_file(file.tensors, path, {name: text for name, text in file.metadata.items() if name != "training"})
    with pytest.raises(BadInput, match="autoencoder: stopped at step None of None; go on with it"):
        release(tmp_path / "autoencoder", "autoencoder", tmp_path / "weights")


def test_a_folder_without_sums_gets_the_file_alone(run: Path, tmp_path: Path) -> None:
    """As the weights of extractors lie, one name for every tier."""
    made = release(tmp_path / "autoencoder", "autoencoder", tmp_path / "weights")
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [made.name] == ["autoencoder.safetensors"]


def test_the_same_weights_are_the_same_bytes_in_every_process(run: Path, tmp_path: Path) -> None:
    """The library alone writes the metadata in the order of a hash map, seeded anew."""
    file = weight_file.read(run / "weights.safetensors")
    network = weight_file.filled(lambda: TridentNetwork(TINY_GENES), file)
    for number in range(8):
        weight_file.write(tmp_path / f"{number}.safetensors", network, file.metadata)
    hashes = {sha256_file(tmp_path / f"{number}.safetensors") for number in range(8)}
    assert hashes == {sha256_file(run / "weights.safetensors")}


def test_metadata_hold_model_configuration_tier_version_and_genes_apart(run: Path, tier: Tier) -> None:
    with safe_open(run / "weights.safetensors", framework="pt") as stream:
        metadata = stream.metadata()
    assert (metadata["model"], metadata["tier"], metadata["tier_version"]) == ("trident", "tiny", "1")
    assert json.loads(metadata["configuration"])["name"] == "tiny"
    assert metadata["genes_sha256"] == weight_file.genes_sha256(tier.genes)
    assert weight_file.configuration(weight_file.read(run / "weights.safetensors"), TridentConfig) == TINY_GENES
