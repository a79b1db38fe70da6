"""A submission: written, packed, opened and checked. Ours and everyone else's go through here."""

from __future__ import annotations

import csv
import io
import re
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
from pydantic import ValidationError

from morphobench.datasets.tier import Tier
from morphobench.errors import BadInput
from morphobench.ingest.archive import Source, open_source
from morphobench.ingest.images import decode_png, encode_png
from morphobench.schema import Condition, Conditions, Manifest
from morphobench.storage import atomic_dir, atomic_path, atomic_write_text, sha256_bytes, sha256_text

MANIFEST = "submission.toml"
EXPRESSION = "expression.csv"
CONDITIONS = "conditions.csv"
G_PRE = "g_pre.csv"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
EXPRESSION_KEYS = ("track", "compound", "index")


def image_name(condition: Condition) -> str:
    """Where a condition's image lies: images/<track>/<compound>/<index>.png, the name in file-name characters."""
    compound = re.sub(r"[^A-Za-z0-9.-]+", "_", condition.compound)
    return f"images/{condition.track}/{compound}/{condition.index:04d}.png"


@dataclass(frozen=True)
class SubmissionImages:
    """Images of one track, in condition order (an `ImageSet`)."""

    source: Source
    image_names: tuple[str, ...]
    sha256: str
    size: int

    def __len__(self) -> int:
        return len(self.image_names)

    def digest(self) -> str:
        """Hash of every image's bytes, in condition order."""
        return self.sha256

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """uint8 (<= size, H, W, 3), in condition order."""
        for start in range(0, len(self), size):
            yield self.take(range(start, min(start + size, len(self))))

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (len(rows), H, W, 3)."""
        return np.stack([self._decode(self.image_names[row]) for row in rows])

    def _decode(self, name: str) -> np.ndarray:
        return decode_png(self.source.read(name), f"{self.source.path}: {name}", self.size)


@dataclass(frozen=True)
class Submission:
    """A checked submission: every condition has its image, and there is nothing else."""

    manifest: Manifest
    images: Mapping[str, SubmissionImages]
    expression: Mapping[str, np.ndarray] | None
    expression_sha256: str

    @property
    def images_sha256(self) -> str:
        """Hash of all images of all opened tracks."""
        return sha256_text(*(f"{track}:{images.sha256}" for track, images in sorted(self.images.items())))


def open_submission(path: Path, tier: Tier, tracks: Sequence[str] | None = None) -> Submission:
    """Open and check a submission folder or zip against a tier.

    tracks: the tracks to score; all of the tier's by default. Other tracks may be absent.
    Raises BadInput that names the first file or value that is wrong.
    """
    source = open_source(path)
    manifest = _read_manifest(source, tier)
    wanted = {track: tier.conditions(track) for track in (tracks or tier.spec.tracks)}
    _check_names(source, tier, wanted)
    images = {track: _check_images(source, conditions, tier.spec.image_size) for track, conditions in wanted.items()}
    expression, expression_sha256 = _read_expression(source, wanted)
    return Submission(manifest, images, expression, expression_sha256)


def write_submission(
    folder: Path,
    manifest: Manifest,
    images: Mapping[str, tuple[Conditions, np.ndarray]],
    expression: Mapping[str, np.ndarray] | None,
) -> None:
    """Write a submission folder, whole or not at all.

    images: track -> (conditions, uint8 (N, H, W, 3)); expression: track -> (N, 978) predicted log2 G_post.
    """
    with atomic_dir(folder) as place:
        (place / MANIFEST).write_text(manifest_toml(manifest), encoding="utf-8")
        for conditions, pixels in images.values():
            if len(pixels) != len(conditions):
                raise ValueError(f"{len(pixels)=} != {len(conditions)=}")
            names = [image_name(condition) for condition in conditions]
            for parent in {(place / name).parent for name in names}:
                parent.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda name, image: (place / name).write_bytes(encode_png(image)), names, pixels))
        if expression is not None:
            _write_expression(place / EXPRESSION, {t: (images[t][0], values) for t, values in expression.items()})


def new_submission(folder: Path, tier: Tier) -> None:
    """Start a submission: a `submission.toml` to fill in, and the conditions of every track as CSV.

    `conditions.csv` has one row per wanted image with its file name; `g_pre_row` points into `g_pre.csv`, which holds
    the 978 vehicle expression values of that condition. Raises BadInput where the folder already holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"{folder}: not empty; name a new folder")
    manifest = Manifest(
        name="my-model", group="my-group", version="v1", tier=tier.spec.name, tier_version=tier.spec.version,
        split_sha256=tier.split_sha256, method="one line: what the model is and what it was trained on",
    )  # fmt: skip
    atomic_write_text(folder / MANIFEST, manifest_toml(manifest))
    rows: list[dict[str, object]] = []
    profiles: dict[bytes, tuple[int, np.ndarray]] = {}
    for track in tier.spec.tracks:
        conditions = tier.conditions(track)
        for condition, profile in zip(conditions, conditions.g_pre, strict=True):
            row = profiles.setdefault(profile.tobytes(), (len(profiles), profile))[0]
            rows.append({**condition.model_dump(), "g_pre_row": row, "file": image_name(condition)})
    with atomic_path(folder / CONDITIONS) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    table = pd.DataFrame([profile for _, profile in profiles.values()], columns=list(conditions.genes))
    with atomic_path(folder / G_PRE) as temporary:
        table.to_csv(temporary, index_label="g_pre_row", float_format="%.4f")


def pack_submission(folder: Path, out: Path, tier: Tier) -> Path:
    """Check a submission folder and write it as one zip, the same bytes for the same files."""
    open_submission(folder, tier)
    source = open_source(folder)
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in source.names():
            if name in (CONDITIONS, G_PRE):
                continue
            # PNG bytes are compressed already.
            method = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), source.read(name), compress_type=method)
    return out


def manifest_toml(manifest: Manifest) -> str:
    """`submission.toml` text of a manifest; fields that are unset are left out."""
    lines = []
    for key, value in manifest.model_dump().items():
        if isinstance(value, bool):
            lines.append(f"{key} = {str(value).lower()}")
        elif isinstance(value, int):
            lines.append(f"{key} = {value}")
        elif value is not None:
            lines.append(f"{key} = {_toml_string(value)}")
    return "\n".join(lines) + "\n"


def _toml_string(value: str) -> str:
    escaped = "".join(
        f"\\u{ord(char):04x}" if ord(char) < 32 or ord(char) == 127 else {"\\": "\\\\", '"': '\\"'}.get(char, char)
        for char in value
    )
    return f'"{escaped}"'


def _read_manifest(source: Source, tier: Tier) -> Manifest:
    where = f"{source.path}: {MANIFEST}"
    if MANIFEST not in source.names():
        raise BadInput(f"{where}: not there; start from `morphobench submission new`")
    try:
        manifest = Manifest.model_validate(tomllib.loads(source.read(MANIFEST).decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{where}: not TOML ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if manifest.tier != tier.spec.name:
        raise BadInput(f"{where}: made for tier {manifest.tier!r}, not {tier.spec.name!r}; give --tier {manifest.tier}")
    if manifest.tier_version != tier.spec.version or manifest.split_sha256 != tier.split_sha256:
        raise BadInput(
            f"{where}: made for {manifest.tier} {manifest.tier_version}, split {manifest.split_sha256[:12]}; "
            f"here is {tier.spec.version}, split {tier.split_sha256[:12]}; generate for the new conditions"
        )
    return manifest


def _check_names(source: Source, tier: Tier, wanted: Mapping[str, Conditions]) -> None:
    names = set(source.names())
    expected = {image_name(condition) for conditions in wanted.values() for condition in conditions}
    missing = sorted(expected - names)
    if missing:
        count = f"{len(missing):,} of {len(expected):,} images are"
        raise BadInput(f"{source.path}: {missing[0]} is missing ({count}); every condition needs its image")
    allowed = {MANIFEST, EXPRESSION, CONDITIONS, G_PRE}
    others = tuple(f"images/{track}/" for track in tier.spec.tracks if track not in wanted)
    extra = sorted(name for name in names - expected - allowed if not (others and name.startswith(others)))
    if extra:
        raise BadInput(f"{source.path}: {extra[0]} answers no condition ({len(extra)} such files); remove it")


def _check_images(source: Source, conditions: Conditions, size: int) -> SubmissionImages:
    names = tuple(image_name(condition) for condition in conditions)

    def check(name: str) -> str:
        data = source.read(name)
        decode_png(data, f"{source.path}: {name}", size)
        return sha256_bytes(data)

    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(check, names))
    return SubmissionImages(source, names, sha256_text(*hashes), size)


def _read_expression(source: Source, wanted: Mapping[str, Conditions]) -> tuple[dict[str, np.ndarray] | None, str]:
    if EXPRESSION not in source.names():
        return None, ""
    where = f"{source.path}: {EXPRESSION}"
    data = source.read(EXPRESSION)
    genes = next(iter(wanted.values())).genes
    header = next(csv.reader(io.StringIO(data[: 1 << 16].decode("utf-8", errors="replace"))), [])
    expected = [*EXPRESSION_KEYS, *genes]
    if header != expected:
        strange = next((b for a, b in zip(expected, header, strict=False) if a != b), f"{len(header)} columns")
        columns = f"{', '.join(EXPRESSION_KEYS)} and the {len(genes)} genes of {G_PRE} in its order"
        raise BadInput(f"{where}: the header differs at {strange!r}; the columns are {columns}")
    types = {"track": pa.string(), "compound": pa.string(), "index": pa.int64(), **dict.fromkeys(genes, pa.float64())}
    try:
        table = pa_csv.read_csv(io.BytesIO(data), convert_options=pa_csv.ConvertOptions(column_types=types))
    except pa.ArrowInvalid as error:
        raise BadInput(f"{where}: {str(error).splitlines()[0]}; every value is a number") from error
    values = np.column_stack([table.column(gene).to_numpy(zero_copy_only=False) for gene in genes]).astype(np.float32)
    keys = list(zip(*(table.column(key).to_pylist() for key in EXPRESSION_KEYS), strict=True))
    rows = {key: row for row, key in enumerate(keys)}
    if len(rows) != len(keys):
        twice = next(key for row, key in enumerate(keys) if rows[key] != row)
        raise BadInput(f"{where}: {twice} is there twice; one row per condition")
    expression = {}
    for track, conditions in wanted.items():
        wanted_keys = [(condition.track, condition.compound, condition.index) for condition in conditions]
        absent = next((key for key in wanted_keys if key not in rows), None)
        if absent is not None:
            raise BadInput(f"{where}: no row for {absent}; one row per condition")
        expression[track] = values[[rows[key] for key in wanted_keys]]
        if not np.isfinite(expression[track]).all():
            row, gene = np.argwhere(~np.isfinite(expression[track]))[0]
            raise BadInput(f"{where}: {wanted_keys[row]}, gene {genes[gene]}: not a finite number")
    return expression, sha256_bytes(data)


def _write_expression(path: Path, tracks: Mapping[str, tuple[Conditions, np.ndarray]]) -> None:
    columns: dict[str, pa.Array] = {
        key: pa.array([getattr(condition, key) for conditions, _ in tracks.values() for condition in conditions])
        for key in EXPRESSION_KEYS
    }
    genes = next(iter(tracks.values()))[0].genes
    # Four decimals of log2 expression: a hundredth of the assay's own noise, and half the bytes.
    values = np.concatenate([values for _, values in tracks.values()]).astype(np.float64).round(4)
    columns |= {gene: pa.array(values[:, number]) for number, gene in enumerate(genes)}
    pa_csv.write_csv(pa.table(columns), path)
