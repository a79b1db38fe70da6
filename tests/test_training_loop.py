"""The loop that every model is trained by: random state, averages, logs, folders."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from morphobench import provenance
from morphobench.errors import BadInput, Unavailable
from reference_models.training import checkpoint
from reference_models.training.average import new_average, update_average
from reference_models.training.checkpoint import checkpoints
from reference_models.training.devices import Compute, chosen_device
from reference_models.training.loop import Means, train
from reference_models.training.recipe import Recipe, rate_at
from reference_models.training.run_folder import RunFolder

OF = {"model": "line", "configuration": json.dumps({"name": "a", "recipe": {"batch": 4}})}


class Line:
    """Two networks with an optimiser each, which draw from every source of randomness there is."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.device = torch.device("cpu")
        self.line = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1))
        self.other = nn.Linear(3, 1)
        self.average = new_average(self.line)
        self.modules: dict[str, nn.Module] = {"line": self.line, "other": self.other, "average": self.average}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "line": torch.optim.AdamW(self.line.parameters(), 0.1),
            "other": torch.optim.SGD(self.other.parameters(), 0.1, momentum=0.9),
        }
        self.seen: list[float] = []
        self.break_at = -1

    def update(self, step: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        batch = torch.randn(4, 3, generator=generator) + random.gauss() + float(np.random.normal())  # noqa: NPY002
        self.seen.append(float(batch.sum()))
        terms = {}
        for name, network in (("line", self.line), ("other", self.other)):
            loss = (network(batch) - 1).square().mean()
            self.optimizers[name].zero_grad()
            loss.backward()
            self.optimizers[name].step()
            terms[name] = loss.detach()
        update_average(self.average, self.line, 0.9)
        if step % 2:
            terms["odd"] = torch.tensor(1.0)
        if step == self.break_at:
            terms["odd"] = torch.tensor(float("nan"))
        return terms

    def finish(self) -> nn.Module:
        return self.average


def run(folder: Path, stop_after: int | None = None, of: dict[str, str] = OF, steps: int = 10) -> Line:
    line = Line()
    train(line, RunFolder(folder, of), 3, steps, stop_after, log_every=4, save_every=5)
    return line


def scramble() -> None:
    """What another program would have left behind in this process."""
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)


@pytest.mark.parametrize("stop", [0, 1, 7])
def test_every_source_of_randomness_goes_on_where_it_was(stop: int, tmp_path: Path) -> None:
    straight = run(tmp_path / "straight")
    scramble()
    first = run(tmp_path / "resumed", stop)
    scramble()
    second = run(tmp_path / "resumed")
    assert first.seen + second.seen == straight.seen
    for part, module in straight.modules.items():
        for name, value in module.state_dict().items():
            assert torch.equal(value, second.modules[part].state_dict()[name]), (part, name)


def test_a_run_that_was_killed_goes_on_at_its_last_checkpoint(tmp_path: Path) -> None:
    straight = run(tmp_path / "straight")
    killed = Line()
    update = killed.update

    def kill(step: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        if step == 8:
            raise KeyboardInterrupt
        return update(step, generator)

    killed.update = kill  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(killed, RunFolder(tmp_path / "killed", OF), 3, 10, log_every=4, save_every=5)
    assert not (tmp_path / "killed" / "weights.safetensors").exists()
    again = run(tmp_path / "killed")
    assert again.seen == straight.seen[5:]
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("straight", "killed")]
    assert weights[0] == weights[1]


def test_the_average_has_the_newest_buffers_and_lerped_parameters() -> None:
    module = nn.BatchNorm1d(2)
    average = new_average(module)
    with torch.no_grad():
        module.weight.fill_(3.0)
    module(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    update_average(average, module, 0.9)
    torch.testing.assert_close(average.weight, torch.tensor([1.2, 1.2]))
    torch.testing.assert_close(average.running_mean, torch.tensor([0.2, 0.4]))
    assert average.num_batches_tracked == 1
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_losses_are_means_over_the_steps_that_had_them(tmp_path: Path) -> None:
    means = Means()
    for terms in ({"a": 1.0}, {"a": 2.0, "b": 5.0}, {"a": 6.0}):
        means.add({name: torch.tensor(value) for name, value in terms.items()})
    assert means.read() == {"a": 3.0, "b": 5.0}
    assert Means().read() == {}
    log = train(Line(), RunFolder(tmp_path, OF), 3, 10, log_every=4, save_every=5)
    assert [line["step"] for line in log] == [0, 4, 5, 8, 10]
    assert [line["odd"] for line in log[1:] if "odd" in line] == [1.0, 1.0, 1.0]
    assert log[0]["processor"] == provenance.processor()


def test_losses_stay_on_their_device_until_they_are_logged() -> None:
    """A tensor of `meta` has no value: reading it would fail."""
    means = Means()
    for _ in range(3):
        means.add({"a": torch.zeros((), device="meta")})
    assert means.sums["a"].device.type == "meta"


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    line = Line()
    line.break_at = 8
    with pytest.raises(BadInput, match=r"odd is nan by step 10: the run diverged"):
        train(line, RunFolder(tmp_path, OF), 3, 10, log_every=50, save_every=5)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000005"]


def test_a_folder_of_another_run_is_refused_by_the_field_that_differs(tmp_path: Path) -> None:
    RunFolder(tmp_path, OF).claim(resume=False)
    RunFolder(tmp_path, OF).begin()
    RunFolder(tmp_path, OF).claim(resume=True)
    before = (tmp_path / "run.json").read_bytes()
    other = OF | {"configuration": json.dumps({"name": "a", "recipe": {"batch": 8}})}
    with pytest.raises(BadInput, match=r"holds another run: configuration\.recipe\.batch is 4 there and 8 here"):
        RunFolder(tmp_path, other).claim(resume=True)
    with pytest.raises(BadInput, match=r"holds another run: model is line there and circle here"):
        RunFolder(tmp_path, OF | {"model": "circle"}).claim(resume=True)
    with pytest.raises(BadInput, match=r"holds a run; go on with it by --resume, or choose another folder"):
        RunFolder(tmp_path, OF).claim(resume=False)
    assert (tmp_path / "run.json").read_bytes() == before
    with pytest.raises(BadInput, match=r"holds no run to go on with; leave --resume out"):
        RunFolder(tmp_path / "empty", OF).claim(resume=True)
    assert not (tmp_path / "empty").exists()


def test_two_trainings_cannot_be_in_one_folder(tmp_path: Path) -> None:
    with RunFolder(tmp_path, OF).held():
        refused = pytest.raises(BadInput, match="another training is running in it; choose another folder")
        with refused, RunFolder(tmp_path, OF).held():
            pass
    with RunFolder(tmp_path, OF).held():
        pass


def test_a_run_that_does_not_say_what_it_is_of_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 5)
    with pytest.raises(BadInput, match=r"a checkpoint without run\.json; choose another folder"):
        RunFolder(tmp_path, OF).claim(resume=False)
    (tmp_path / "run.json").write_text('{"of": {"configuration": "{x"}}')
    with pytest.raises(BadInput, match=r"run\.json: does not say what the run is of; choose another folder"):
        RunFolder(tmp_path, OF).claim(resume=True)


def test_a_checkpoint_of_other_networks_is_one_line(tmp_path: Path) -> None:
    run(tmp_path, 5)
    kept = RunFolder(tmp_path, OF).load()
    assert kept is not None
    less = {name: network for name, network in kept["modules"].items() if name != "other"}
    odd: tuple[object, ...] = (
        kept | {"modules": less},
        kept | {"modules": [1]},
        kept | {"optimizers": dict.fromkeys(kept["optimizers"])},
        kept | {"generator": None},
        kept | {"random": []},
        kept | {"step": "five"},
        {name: value for name, value in kept.items() if name != "step"},
        {name: value for name, value in kept.items() if name != "log"},
        [1],
    )
    for one in odd:
        checkpoint.save(tmp_path, one, 6, keep=1)  # type: ignore[arg-type]
        with pytest.raises(BadInput, match="a checkpoint of other networks"):
            run(tmp_path)


def test_a_checkpoint_is_read_on_a_machine_without_its_device(tmp_path: Path) -> None:
    """Tensors that were on an accelerator are written from and read to the CPU; states of its generators are left."""
    run(tmp_path, 5)
    state = RunFolder(tmp_path, OF).load()
    assert state is not None
    assert {value.device.type for value in state["modules"]["line"].values()} == {"cpu"}
    state["random"][0]["cuda"] = [torch.zeros(16, dtype=torch.uint8)]
    log = state.pop("log")
    RunFolder(tmp_path, OF).save(state, log, 5)
    assert run(tmp_path).seen == run(tmp_path / "straight").seen[5:]


def test_a_look_is_logged_and_moves_no_draw(tmp_path: Path) -> None:
    class Watcher:
        every = 3

        def look(self, step: int) -> Mapping[str, float]:
            scramble()
            return {"looked": float(step)}

    watched = Line()
    log = train(watched, RunFolder(tmp_path, OF), 3, 10, log_every=4, save_every=5, observers=[Watcher()])
    assert watched.seen == run(tmp_path / "alone").seen
    assert {line["step"]: line["looked"] for line in log if "looked" in line} == {3: 3.0, 6: 6.0, 9: 9.0}


def test_rates_and_devices() -> None:
    recipe = Recipe(steps=12, learning_rate=3e-3, warmup=4)
    assert [rate_at(recipe, step) / 3e-3 for step in (0, 1, 3, 11)] == pytest.approx([0.25, 0.5, 1, 1])
    falling = replace(recipe, steps=20, decay=0.5)
    assert [rate_at(falling, step) / 3e-3 for step in (0, 10, 15, 19)] == pytest.approx([0.25, 1, 0.5, 0.1])
    assert chosen_device("cpu") == torch.device("cpu")
    for name in ("abacus", "cuda:99", "meta"):
        with pytest.raises(BadInput, match=f"device '{name}': not on this machine"):
            chosen_device(name)


def test_a_process_whose_peer_has_ended_does_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gloo raises: the one that ended has said why, a traceback of the other would bury it."""

    def closed(*_: object, **__: object) -> None:
        raise RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:45758.\nCheck the logs.")

    for name in ("barrier", "all_reduce", "all_gather_object"):
        monkeypatch.setattr(torch.distributed, name, closed)
    one = Compute(rank=1, processes=2)
    for exchange in (one.wait, lambda: one.any(True), lambda: one.gather(1), lambda: one.average([torch.ones(1)])):
        with pytest.raises(Unavailable, match=r"another process of this training ended .*Connection closed by peer"):
            exchange()


def test_every_row_of_a_batch_is_one_part_of_one_process() -> None:
    rows = [
        row
        for rank in range(3)
        for part in Compute(accumulate=2, rank=rank, processes=3).parts(12)
        for row in range(12)[part]
    ]
    assert rows == list(range(12))
    with pytest.raises(BadInput, match=r"recipe\.batch 13: no multiple of 3 processes x --accumulate 2; --set recipe"):
        Compute(accumulate=2, processes=3).parts(13)
