"""Checkpoints: whole or the former one, whatever is torn, full or killed."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from morphobench.errors import BadInput, Unavailable
from reference_models.training import checkpoint
from reference_models.training.tree import put_together, taken_apart

STATE: dict[str, Any] = {
    "step": 3,
    "weights": {"a": torch.arange(6.0).view(2, 3), "half": torch.ones(2, dtype=torch.float16), "one": torch.tensor(2)},
    "state": {0: {"moment": torch.zeros(3)}, 1: {}},
    "groups": [{"betas": (0.9, 0.95), "lr": 1e-3, "flag": None, "on": True}],
    "random": (3, (1, 2, 2**40), -0.1),
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, STATE, 3, keep=2)
    loaded = checkpoint.load_newest(tmp_path)
    assert same(STATE, loaded)
    assert checkpoint.load_newest(tmp_path / "nothing") is None


def test_tensors_that_share_memory_are_kept_apart() -> None:
    tied = torch.ones(2, 2)
    tensors, plain = taken_apart({"a": tied, "b": tied.T})
    assert tensors["/a"].data_ptr() != tensors["/b"].data_ptr()
    assert same(put_together(tensors, plain), {"a": tied, "b": tied.T.contiguous()})


def test_what_no_checkpoint_can_hold_is_named() -> None:
    with pytest.raises(TypeError, match="/a/0: object cannot be kept"):
        taken_apart({"a": [object()]})
    with pytest.raises(TypeError, match=r"key 1\.5"):
        taken_apart({1.5: 0})


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    for step in (500, 1000, 99_500, 100_000):
        checkpoint.save(tmp_path, STATE | {"step": step}, step, keep=2)
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["step-00100000", "step-00099500"]
    state = checkpoint.load_newest(tmp_path)
    assert state is not None
    assert state["step"] == 100_000


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    half = tmp_path / "checkpoints" / ".step-00000001.x7"
    half.mkdir(parents=True)
    (half / "state.safetensors").write_bytes(b"half")
    assert checkpoint.load_newest(tmp_path) is None
    checkpoint.save(tmp_path, STATE, 2, keep=1)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]


def test_any_torn_byte_is_noticed_and_the_former_one_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.save(tmp_path, STATE | {"step": 1}, 1, keep=2)
    newest = checkpoint.save(tmp_path, STATE | {"step": 2}, 2, keep=2)
    for name in ("state.safetensors", "state.json", "SHA256SUMS"):
        path = newest / name
        whole = path.read_bytes()
        places = range(0, len(whole), max(1, len(whole) // 40))
        for torn in [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in places] + [whole[:-1]]:
            path.write_bytes(torn)
            state = checkpoint.load_newest(tmp_path)
            assert state is not None
            assert state["step"] == 1
            said = capsys.readouterr().err
            assert "step-00000002: torn, its files are not those of its SHA256SUMS; going on from" in said
            assert len(said.splitlines()) == 1
        path.write_bytes(whole)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_torn_one_of_a_later_step_takes_no_place_of_a_good_one(keep: int, tmp_path: Path) -> None:
    """Step 1000 is torn, the run goes on from 500 and saves at 750: that one is kept, whatever number is kept."""
    checkpoint.save(tmp_path, STATE | {"step": 500}, 500, keep=2)
    torn = checkpoint.save(tmp_path, STATE | {"step": 1000}, 1000, keep=2)
    (torn / "state.safetensors").write_bytes(b"")
    checkpoint.save(tmp_path, STATE | {"step": 750}, 750, keep=keep)
    names = [path.name for path in checkpoint.checkpoints(tmp_path)]
    assert names == ["step-00000750", "step-00000500"][:keep]
    state = checkpoint.load_newest(tmp_path)
    assert state is not None
    assert state["step"] == 750


def test_one_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.save(tmp_path, STATE, 1, keep=2)
    (tmp_path / "checkpoints" / "step-00000002" / "SHA256SUMS").mkdir(parents=True)
    assert same(STATE, checkpoint.load_newest(tmp_path))
    assert "step-00000002: cannot be read (Is a directory); going on from" in capsys.readouterr().err


def test_all_torn_is_one_line(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, STATE, 1, keep=2)
    (path / "state.json").unlink()
    with pytest.raises(BadInput, match=r"step-00000001: torn, has no state\.json; no former one is whole: "):
        checkpoint.load_newest(tmp_path)


@pytest.mark.parametrize("at", ["save_file", "sha256_file"])
def test_a_full_disk_leaves_the_former_one(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, STATE, 1, keep=1)

    def full(*arguments: object) -> None:
        Path(str(arguments[-1])).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, at, full)
    with pytest.raises(Unavailable, match=r"step-00000002: the disk is full; free some space or choose another place"):
        checkpoint.save(tmp_path, STATE | {"step": 2}, 2, keep=1)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    state = checkpoint.load_newest(tmp_path)
    assert same(STATE, state)
