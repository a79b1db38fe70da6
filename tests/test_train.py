"""`morphobench train`: from what is asked to a folder with weights, through every way that a run is stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_tier import tiny_tier
from tiny_training import TRAINERS, load_tiny, request
from tiny_trident import TINY_GENES
from typer.testing import CliRunner

from morphobench import trainers
from morphobench.cli import app
from morphobench.errors import BadInput, Unavailable
from morphobench.storage import sha256_file
from reference_models.training import snapshots, trainer
from reference_models.trident import load
from reference_models.trident import trainer as trident_trainer

HERE = Path(__file__).parent
FILES = ("run.json", "log.jsonl", "weights.safetensors")


@pytest.fixture(autouse=True)
def _tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "load_tier", load_tiny(tmp_path))
    monkeypatch.setenv("MORPHOBENCH_CACHE", str(tmp_path / "cache"))


def trained(model: str, folder: Path, **fields: Any) -> Path:
    return TRAINERS[model].train(request(model, folder, **fields))


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("autoencoder")
    former, trainer.load_tier = trainer.load_tier, load_tiny(folder)  # type: ignore[assignment]
    try:
        return trained("autoencoder", folder)
    finally:
        trainer.load_tier = former


def start(model: str, folder: Path, environment: dict[str, str] | None = None, **fields: Any) -> subprocess.Popen[str]:
    """A training in a process of its own."""
    words = [f"{name}={json.dumps(value, default=str)}" for name, value in fields.items()]
    command = [sys.executable, str(HERE / "tiny_training.py"), model, str(folder), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {})
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the run in the folder has saved."""
    for _ in range(1200):
        if list((folder / "checkpoints").glob("step-*")):
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise TimeoutError(folder)


def test_both_models_train_one_after_the_other(tmp_path: Path, autoencoder: Path) -> None:
    path = trained("trident", tmp_path, autoencoder=autoencoder.parent)
    assert path == tmp_path / "trident" / "weights.safetensors"
    folder = path.parent
    assert sha256_file(folder / "autoencoder.safetensors") == sha256_file(autoencoder)
    model = load(tiny_tier(tmp_path), "cpu", folder)
    assert model.generate(tiny_tier(tmp_path).conditions("id").take([0]), 0).shape == (1, 32, 32, 3)
    about = json.loads((folder / "run.json").read_text())
    assert {"python", "torch", "accelerate"} <= set(about["versions"])
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [0, 2, 4, 6, 8, 10, 12]
    assert [path.name for path in sorted((folder / "checkpoints").iterdir())] == ["step-00000008", "step-00000012"]


def test_a_flow_of_detail_trains_as_the_others_do_and_lies_beside_trident(tmp_path: Path, autoencoder: Path) -> None:
    tier, widths = tiny_tier(tmp_path), ("recipe.ema_widths=[0.05, 0.2]", "recipe.snapshots=2")
    asked = {"autoencoder": autoencoder, "settings": ("recipe.steps=8", *widths), "sample_every": 4}
    straight = trained("detail", tmp_path / "straight", **asked)
    trained("detail", tmp_path, stop_after=4, **asked)
    made = trained("detail", tmp_path, resume=True, **asked)
    assert made.read_bytes() == straight.read_bytes()
    assert {path.name for path in (made.parent / "samples").iterdir()} == {"step-00000004.png", "step-00000008.png"}
    assert len(list((made.parent / "averages").iterdir())) == 4
    with pytest.raises(BadInput, match="--compile: the step of the flow of detail is not compiled; leave it out"):
        trained("detail", tmp_path / "other", compiled=True, **asked)

    detailed = ("name=detailed", "sampler.detail_steps=2", *widths)
    folder = trained("trident", tmp_path, autoencoder=autoencoder, settings=detailed).parent
    with pytest.raises(Unavailable, match=r"draws with a detail, and none ships for tier 'tiny'; put yours beside it"):
        load(tier, "cpu", folder)
    (folder / "detail.safetensors").write_bytes(made.read_bytes())
    averaged = snapshots.put_together(folder, 0.1, tmp_path / "averaged").parent
    for place in (folder, averaged):
        assert load(tier, "cpu", place).generate(tier.conditions("id").take([0]), 0).shape == (1, 32, 32, 3)


def test_accumulation_recomputation_and_compilation_are_the_same_step(
    tmp_path: Path, autoencoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_file(trained("trident", tmp_path / "plain", autoencoder=autoencoder))
    compiler = torch.compile  # without its code generator, which takes a minute and more on one core
    monkeypatch.setattr(torch, "compile", lambda function: compiler(function, backend="aot_eager"))
    for fields in ({"accumulate": 4}, {"recompute": True}, {"compiled": True, "recompute": True}):
        folder = tmp_path / "-".join(fields)
        other = load_file(trained("trident", folder, autoencoder=autoencoder, **fields))
        for name, value in plain.items():
            torch.testing.assert_close(other[name].float(), value.float(), atol=2e-3, rtol=2e-3)


def test_bfloat16_is_another_rounding_of_the_same_losses(tmp_path: Path, autoencoder: Path) -> None:
    logs = []
    for precision in ("float32", "bfloat16"):
        trained("trident", tmp_path / precision, autoencoder=autoencoder, precision=precision, stop_after=2)
        logs.append(log_of(tmp_path / precision / "trident")[0])
    for name in ("reconstruction", "kl", "diffusion"):
        assert logs[1][name] == pytest.approx(logs[0][name], rel=0.05)
        assert logs[1][name] != logs[0][name]


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()][1:]


def test_the_parts_of_an_autoencoder_s_batch_are_one_step(tmp_path: Path) -> None:
    trained("autoencoder", tmp_path / "plain")
    trained("autoencoder", tmp_path / "parts", accumulate=2)
    for one, other in zip(*(log_of(tmp_path / name / "autoencoder") for name in ("plain", "parts")), strict=True):
        assert set(one) == set(other)
        assert {k: v for k, v in other.items() if "second" not in k} == pytest.approx(
            {k: v for k, v in one.items() if "second" not in k}, rel=2e-3
        )


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def test_two_processes_train_as_one_does(tmp_path: Path, autoencoder: Path) -> None:
    """Two real processes (gloo) on the same global batches: losses, gradient norms and weights as of one process."""
    trained("trident", tmp_path / "one", autoencoder=autoencoder)
    port = free_port()
    both = [
        start(
            "trident", tmp_path / "two", autoencoder=autoencoder,
            environment={
                "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true",
            },
        )
        for rank in range(2)
    ]  # fmt: skip
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert "loss" not in ends[1][1], "the second process is silent"
    one, two = (log_of(tmp_path / name / "trident") for name in ("one", "two"))
    for mine, theirs in zip(one, two, strict=True):
        mine.pop("steps_per_second"), theirs.pop("steps_per_second")
        assert theirs == pytest.approx(mine, rel=1e-3)
    weights = [load_file(tmp_path / name / "trident" / "weights.safetensors") for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name].float(), value.float(), atol=2e-3, rtol=2e-3)


LONG = {"settings": ["recipe.steps=60"], "save_every": 5, "log_every": 50}


def test_a_killed_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    """kill -9 at whatever step it had come to, then the same command with --resume."""
    straight = trained("autoencoder", tmp_path / "straight", **LONG)
    folder = tmp_path / "killed"
    process = start("autoencoder", folder, **LONG)
    until_checkpoint(folder / "autoencoder", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "autoencoder" / "weights.safetensors").exists()
    resumed = trained("autoencoder", folder, resume=True, save_every=5, log_every=50)
    assert resumed.read_bytes() == straight.read_bytes()


def test_sigterm_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start("autoencoder", tmp_path, settings=["recipe.steps=100000"], save_every=5)
    until_checkpoint(tmp_path / "autoencoder", process)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    last = said.strip().splitlines()[-1]
    step = int(last.partition("told to end at step ")[2].split()[0])
    assert last.endswith("a checkpoint is kept, the same command with --resume goes on")
    assert (tmp_path / "autoencoder" / "checkpoints" / f"step-{step:08d}").is_dir()


def test_sigterm_while_latents_are_encoded_leaves_no_half_file(
    tmp_path: Path, autoencoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = trident_trainer.cached_latents
    with monkeypatch.context() as once:

        def told(images: Any, encode: Any, digest: str, device: torch.device) -> Any:
            def end(batch: torch.Tensor) -> torch.Tensor:
                os.kill(os.getpid(), signal.SIGTERM)
                return encode(batch)

            return cached(images, end, digest, device)

        once.setattr(trident_trainer, "cached_latents", told)
        with pytest.raises(Unavailable, match="told to end before the first step; give the same command again"):
            trained("trident", tmp_path, autoencoder=autoencoder)
    left = [path for path in (tmp_path / "cache" / "latents").iterdir() if path.suffix != ".lock"]
    assert left == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    trained("trident", tmp_path, autoencoder=autoencoder, stop_after=0)


def test_a_run_is_begun_or_gone_on_with_and_never_mixed(tmp_path: Path) -> None:
    trained("autoencoder", tmp_path, stop_after=4)
    before = {name: (tmp_path / "autoencoder" / name).read_bytes() for name in FILES}
    for fields, says in {
        (): "holds a run; go on with it by --resume",
        (("resume", True), ("settings", ("recipe.batch=8",))): r"configuration\.recipe\.batch is 4 there and 8 here",
        (("resume", True), ("precision", "bfloat16")): "bfloat16 is False there and True here",
        (("resume", True), ("config", "tiny"), ("settings", ("recipe.seed=3",))): "recipe.seed is 0 there and 3 here",
    }.items():
        with pytest.raises(BadInput, match=says):
            trained("autoencoder", tmp_path, **dict(fields))
    with pytest.raises(BadInput, match="holds another run: model is autoencoder there and trident here"):
        TRAINERS["trident"].train(replace(request("trident", tmp_path, resume=True), out=tmp_path / "autoencoder"))
    assert {name: (tmp_path / "autoencoder" / name).read_bytes() for name in FILES} == before
    trained("autoencoder", tmp_path, resume=True)
    with pytest.raises(BadInput, match="holds no run to go on with"):
        trained("autoencoder", tmp_path / "empty", resume=True)


def test_a_run_of_before_a_field_was_there_goes_on(tmp_path: Path) -> None:
    """A release adds a field; runs that began before have its default."""
    folder = trained("autoencoder", tmp_path, stop_after=4).parent
    about = json.loads((folder / "run.json").read_text())
    values = json.loads(about["of"]["configuration"])
    assert values["recipe"].pop("gradient_weight") == 1.0
    about["of"]["configuration"] = json.dumps(values)
    (folder / "run.json").write_text(json.dumps(about))
    trained("autoencoder", tmp_path, resume=True)
    with pytest.raises(BadInput, match=r"recipe\.gradient_weight is 1\.0 there and 2\.0 here"):
        trained("autoencoder", tmp_path, resume=True, settings=("recipe.gradient_weight=2.0",))


@pytest.mark.parametrize(
    ("model", "fields", "says"),
    [
        ("autoencoder", {"device": "abacus"}, "device 'abacus': not on this machine"),
        ("autoencoder", {"tier": "nosuch"}, "tier 'nosuch'"),
        ("autoencoder", {"config": "huge"}, "--config 'huge': choose tiny, or give a TOML file"),
        ("autoencoder", {"accumulate": 3}, "recipe.batch 4: no multiple of 1 processes x --accumulate 3"),
        ("autoencoder", {"autoencoder": "x"}, "is of a latent model; leave it out"),
        ("autoencoder", {"recompute": True}, "no blocks to compute again"),
        ("autoencoder", {"compiled": True}, "--compile: the autoencoder's step is not compiled; leave it out"),
        ("autoencoder", {"settings": ["name=../x"]}, r"'\.\./x': nothing can be submitted as 'autoencoder-"),
        ("autoencoder", {"settings": ["name="]}, "name '': nothing can be submitted as 'autoencoder-'"),
        ("autoencoder", {"settings": [f"name={'x' * 60}"]}, "xxx': at most 64 letters"),
        (
            "autoencoder",
            {"settings": ["name=x", "autoencoder.downsampling=4"]},
            "a convolutional one has 8; correct",
        ),
        ("autoencoder", {"settings": ["name=x", "autoencoder.widths=[9,16,8]"]}, "must be multiples of 8, the groups"),
        ("trident", {"settings": ["name=x", "condition.genes=5"]}, "condition.genes 5: tier tiny has 978; set it to"),
        (
            "trident",
            {"settings": ["name=x", "transformer.heads=1", "transformer.width=33", "condition.z_width=33"]},
            "configuration 'x': sizes do not fit together",
        ),
        ("trident", {"settings": ["name=x", "transformer.stem_width=9"]}, "sizes do not fit together .*divisible"),
        ("trident", {"settings": ["name=x", "sampler.solver=ddpm"]}, "steps=20: ddpm takes all 1000 steps; --set"),
        ("trident", {"settings": ["name=x", "sampler.steps=1001"]}, r"steps=1001: dpmsolver\+\+ takes 1 to 1000 steps"),
        ("trident", {"autoencoder": "absent"}, "absent: no such file of weights"),
        ("trident", {}, "no weights of autoencoder ship for it"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_leaves_nothing(
    model: str, fields: dict[str, Any], says: str, tmp_path: Path
) -> None:
    from morphobench.errors import MorphoBenchError

    with pytest.raises(MorphoBenchError, match=says) as raised:
        trained(model, tmp_path, **fields)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / model / "run.json").exists()


def test_a_tier_without_training_images_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tier = tiny_tier(tmp_path)
    tests_alone = replace(tier, samples=tier.samples[tier.samples["split"] != "train"].reset_index(drop=True))
    monkeypatch.setattr(trainer, "load_tier", lambda name: tests_alone)
    with pytest.raises(BadInput, match="split 'train': tier tiny has id, "):
        trained("autoencoder", tmp_path)
    assert not (tmp_path / "autoencoder" / "run.json").exists()


PICKLE = b"\x80\x02}q\x00."


def test_an_autoencoder_of_something_else_is_one_line_and_the_folder_stays_free(
    tmp_path: Path, autoencoder: Path
) -> None:
    folder = tmp_path / "trident"
    wrong = {
        "pickle.safetensors": (PICKLE, "a pickle, which can run code"),
        "short.safetensors": (autoencoder.read_bytes()[:-100], "cut short, or not a safetensors file"),
        "text.safetensors": (b"no weights", "cut short, or not a safetensors file"),
    }
    for name, (data, says) in wrong.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadInput, match=says):
            trained("trident", tmp_path, autoencoder=tmp_path / name)
    trident = trained("trident", tmp_path / "other", autoencoder=autoencoder)
    with pytest.raises(BadInput, match="weights of model 'trident'; 'autoencoder' is wanted"):
        trained("trident", tmp_path, autoencoder=trident)
    wide = TINY_GENES.autoencoder.widths
    with pytest.raises(BadInput, match="an autoencoder of other sizes"):
        trained(
            "trident", tmp_path, autoencoder=autoencoder,
            settings=("name=wide", f"autoencoder.widths={[2 * width for width in wide]}"),
        )  # fmt: skip
    assert not (folder / "run.json").exists()
    assert not (folder / "autoencoder.safetensors").exists()
    trained("trident", tmp_path, autoencoder=autoencoder)


def test_the_command_finds_a_trainer_by_name() -> None:
    assert set(trainers.available_trainers()) >= {"autoencoder", "trident"}
    assert set(trainers.load_trainer("trident").configurations) == {"sim", "paper"}
    there = ", ".join(trainers.available_trainers())
    with pytest.raises(BadInput, match=f"'nosuch': no training of it is installed; there are {there}"):
        trainers.load_trainer("nosuch")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nosuch"], "no training of it is installed"),
        (["trident", "--set", "recipe.step=5"], "--set recipe.step=5: no field of that name; nearest: recipe.steps"),
        (["trident", "--config", "paper"], "draws 512 pixels, tier sim has 128; choose another --config or --tier"),
        (["trident", "--keep", "0"], "--keep 0: give a whole number from 1 on"),
    ],
)
def test_the_command_s_bad_input_is_one_line(words: list[str], says: str, tmp_path: Path) -> None:
    from morphobench.datasets import load_tier

    trainer.load_tier = load_tier  # the real one: these are refused before any image is read
    done = CliRunner().invoke(app, ["train", *words, "--out", str(tmp_path / "run")])
    assert isinstance(done.exception, BadInput)
    assert says in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_no_memory_holds_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        Unavailable, match="autoencoder: too little memory on cpu; in another folder take each batch in"
    ):
        trained("autoencoder", tmp_path, settings=("recipe.batch=1000000000000000",))


def test_a_precision_that_is_none_is_one_line(tmp_path: Path) -> None:
    """From Python, where no parser refuses it: it would be float32 without a word."""
    with pytest.raises(BadInput, match="--precision 'bf16': choose float32 or bfloat16"):
        trained("autoencoder", tmp_path, precision="bf16")


def test_any_width_of_the_average_is_read_off_afterwards(tmp_path: Path, autoencoder: Path) -> None:
    """Kept widths 0.05 and 0.2; put together at 0.05 it is the result, and at 0.1 what a run of that width keeps."""
    kept = {
        widths: trained(
            "trident", tmp_path / str(widths), autoencoder=autoencoder,
            settings=(f"recipe.ema_widths={list(widths)}", "recipe.snapshots=4"),
        )
        for widths in ((0.05, 0.2), (0.1,))
    }  # fmt: skip
    run = kept[0.05, 0.2].parent
    names = {path.name for path in (run / "averages").iterdir()}
    assert names == {f"step-{step:08d}__{width}.safetensors" for step in (3, 6, 9, 12) for width in (0.05, 0.2)}
    for width, true, within in ((0.05, kept[0.05, 0.2], 1e-3), (0.1, kept[(0.1,)], 0.2)):
        made = snapshots.put_together(run, width, tmp_path / f"made-{width}")
        start, wanted, found = (load_file(path) for path in (run / "averages" / min(names), true, made))
        moved = sum(float((wanted[name].float() - start[name].float()).square().sum()) for name in wanted)
        off = sum(float((wanted[name].float() - found[name].float()).square().sum()) for name in wanted)
        assert off < within**2 * moved, width
        assert load(tiny_tier(tmp_path), "cpu", made.parent).network.config.recipe.ema_widths == (0.05, 0.2)
    with pytest.raises(BadInput, match=r"width 0\.5: give one between 0 and 0\.28"):
        snapshots.put_together(run, 0.5, tmp_path / "other")
    for held in ("weights.safetensors", "run.json"):
        with pytest.raises(BadInput, match="holds weights, or is the run itself; choose another folder"):
            snapshots.put_together(run, 0.1, run)
        (run / held).unlink()
    with pytest.raises(BadInput, match=r"has no averages; train with --set 'recipe\.ema_widths="):
        snapshots.put_together(tmp_path, 0.1, tmp_path / "other")
