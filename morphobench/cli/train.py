"""The command that trains a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from morphobench.trainers import Precision, TrainingRequest, load_trainer


def train(
    name: Annotated[str, typer.Argument(help="The model to train, e.g. trident or autoencoder.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: configuration, checkpoints, log, weights.")],
    tier: Annotated[str, typer.Option(help="Data set whose training images it learns from.")] = TrainingRequest.tier,
    config: Annotated[
        str | None,
        typer.Option(help="A named configuration (sim, paper) or a TOML file. Default: the tier's name, or the run's."),
    ] = TrainingRequest.config,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE: change one field, e.g. recipe.steps=500; repeat.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out at its last checkpoint.")
    ] = TrainingRequest.resume,
    autoencoder: Annotated[
        Path | None, typer.Option(help="Autoencoder of a latent model: a file, a run, a stable-diffusion VAE's folder.")
    ] = TrainingRequest.autoencoder,
    device: Annotated[
        str, typer.Option(help="torch device; cuda for all processes that `accelerate launch` starts.")
    ] = TrainingRequest.device,
    precision: Annotated[
        Precision, typer.Option(help="Of matrix products; weights and optimiser stay float32.")
    ] = TrainingRequest.precision,
    accumulate: Annotated[
        int, typer.Option(help="Take a batch in this many parts, for less memory and the same step.")
    ] = TrainingRequest.accumulate,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Gradient checkpointing: less memory, a third more time.")
    ] = TrainingRequest.recompute,
    compiled: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = TrainingRequest.compiled,
    stop_after: Annotated[
        int | None, typer.Option(help="Stop after this many of the recipe's steps; 0 writes the weights as they are.")
    ] = TrainingRequest.stop_after,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = TrainingRequest.save_every,
    keep: Annotated[int, typer.Option(help="Checkpoints that are kept.")] = TrainingRequest.keep,
    log_every: Annotated[int, typer.Option(help="Steps between lines of the log.")] = TrainingRequest.log_every,
    sample_every: Annotated[
        int, typer.Option(help="Steps between grids of samples, real ones beside; 0: none.")
    ] = TrainingRequest.sample_every,
    score_every: Annotated[
        int,
        typer.Option(
            help="Steps between scores on a training plate that is then held apart; chooses nothing. 0: none."
        ),
    ] = TrainingRequest.score_every,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write the log for TensorBoard (extra `train`).")
    ] = TrainingRequest.tensorboard,
) -> None:
    """Train a model, or go on with its run; leaves weights that `evaluate --checkpoint` takes."""
    request = TrainingRequest(
        model=name, out=out, resume=resume, tier=tier, config=config, settings=tuple(settings or ()),
        autoencoder=autoencoder, device=device, precision=precision, accumulate=accumulate, recompute=recompute,
        compiled=compiled, stop_after=stop_after, save_every=save_every, keep=keep, log_every=log_every,
        sample_every=sample_every, score_every=score_every, tensorboard=tensorboard,
    )  # fmt: skip
    weights = load_trainer(name).train(request)
    if os.environ.get("RANK", "0") == "0":  # of the processes of a launcher the first says it
        print(f"weights: {weights}")
