"""Croissant 1.0 (MLCommons) with its RAI vocabulary: a JSON-LD description of a folder of a tier's files."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet

from morphobench import storage
from morphobench.datasets.tables import read_own
from morphobench.datasets.tier import HERE, SPLITS, Tier

ABOUT = Path(__file__).with_name("about.toml")
CONFORMS_TO = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
CROISSANT_TERMS = (
    "citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes",
    "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
    "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
ENCODINGS = {
    ".csv": "text/csv", ".csv.gz": "text/csv", ".parquet": "application/x-parquet", ".json": "application/json",
    ".toml": "application/toml", ".h5ad": "application/x-hdf5", ".npz": "application/zip",
}  # fmt: skip
TABLES = (".csv", ".csv.gz", ".parquet")
BINARY, TEXT = "application/octet-stream", "text/plain"
SETS = {"images": ("images/**/*.png", "image/png"), "images.zarr": ("images.zarr/**", BINARY)}
"""Folders of many files, each described by one pattern: a description of 10,000 images would hide all else."""
MEANINGS = {
    "sample_id": "name of the image and of its profile",
    "split": "which of the splits the sample is in",
    "compound": "BBBC021's name of the compound, DMSO for the vehicle",
    "index": "0, 1, ... within split and compound",
    "dose_um": "dose, micromolar",
    "plate": "plate",
    "well": "well",
    "site": "field of the well",
    "smiles": "structure, empty where unknown",
    "moa": "mechanism of action, empty where none is annotated",
    "pert_type": "control for the vehicle, else trt",
    "file": "file of the image, from this folder",
    "sha256": "SHA-256 of the image: of the PNG file, or of the bytes of the array",
}


def copy_tier(tier: Tier, rows: pd.DataFrame, folder: Path) -> None:
    """Copy the files that are the tier, each checked by its hash, and their SHA256SUMS.

    Of the shipped data sets, those of other tiers stay behind. Raises BadInput for a changed file.
    """
    others = {path.stem for path in (HERE / "tiers").glob("*.toml")} - {tier.spec.name}
    sums = {
        name: digest
        for name, digest in storage.read_sums(tier.folder).items()
        if tier.spec.kind == "built" or others.isdisjoint(re.split(r"[/.]", name))
    }
    for name, digest in sums.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(storage.verify_file(tier.folder, name, digest), folder / name)
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), "utf-8")


def describe(tier: Tier, folder: Path, rows: pd.DataFrame) -> dict[str, Any]:
    """The Croissant description of a folder that holds `rows` of a tier.

    Every file is listed with its SHA-256, and folders of many images as file sets; every CSV or Parquet table is a
    record set with its fields, and the splits are one. Licence, citation, limits and uses are the tier's.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    folders = dict.fromkeys(name.split("/")[0] for name in names if "/" in name)
    single = [name for name in names if name.split("/")[0] not in SETS]
    about = tomllib.loads(ABOUT.read_text(encoding="utf-8"))[tier.spec.kind]
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": tier.spec.name,
        "description": f"{tier.spec.title}. {about['description']}",
        "version": f"{tier.spec.version}.0.0",
        "license": _licence(tier.spec.licence),
        "citeAs": about["cite_as"],
        "keywords": about["keywords"],
        "sameAs": about["same_as"],
        "creator": {"@type": "sc:Organization", "name": "The MorphoBench developers"},
        "isLiveDataset": False,
        "rai:dataCollection": about["collection"],
        "rai:dataPreprocessingProtocol": about["preprocessing"],
        "rai:dataLimitations": about["limitations"],
        "rai:dataBiases": about["biases"],
        "rai:dataUseCases": about["use_cases"],
        "rai:personalSensitiveInformation": "None: a cell line, no donor data.",
        "rai:dataReleaseMaintenancePlan": about["maintenance"],
        "distribution": [
            *(_file_object(folder, name) for name in single),
            *(_file_set(name) for name in SETS if name in folders),
        ],
        "recordSet": [_splits(rows), *_tables(folder, single)],
    }


def _context() -> dict[str, Any]:
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "equivalentProperty": "cr:equivalentProperty",
        **{term: f"cr:{term}" for term in CROISSANT_TERMS},
    }


def _licence(text: str) -> str:
    """The SPDX page of an identifier; a sentence stays what it is."""
    return text if " " in text else f"https://spdx.org/licenses/{text}"


def _file_object(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": ENCODINGS.get(_suffix(name), BINARY if path.suffix else TEXT),
        "sha256": storage.sha256_file(path),
    }


def _file_set(name: str) -> dict[str, Any]:
    pattern, encoding = SETS[name]
    return {"@type": "cr:FileSet", "@id": name, "name": name, "encodingFormat": encoding, "includes": pattern}


def _suffix(name: str) -> str:
    return ".csv.gz" if name.endswith(".csv.gz") else Path(name).suffix


def _splits(rows: pd.DataFrame) -> dict[str, Any]:
    kinds = {"train": "cr:TrainingSplit", "id": "cr:TestSplit", "ood": "cr:TestSplit"}
    counts = rows["split"].value_counts()
    names = sorted(counts.index, key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))
    fields = {"name": "sc:Text", "kind": "sc:Text", "samples": "sc:Integer"}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"splits/{name}", "name": name, "dataType": kind}
            for name, kind in fields.items()
        ],
        "data": [
            {"splits/name": name, "splits/kind": kinds.get(name, "cr:Split"), "splits/samples": int(counts[name])}
            for name in names
        ],
    }


def _tables(folder: Path, names: list[str]) -> list[dict[str, Any]]:
    """A record set per table, `samples` the first with a row per sample; of one table in two formats, the Parquet."""
    sets: dict[str, dict[str, Any]] = {}
    for name in names:
        stem = name.removesuffix(_suffix(name))
        if _suffix(name) not in TABLES or (_suffix(name) != ".parquet" and f"{stem}.parquet" in names):
            continue
        columns = _columns(folder / name)
        of_samples = {"sample_id", "split"} <= {column.removeprefix("Metadata_") for column in columns}
        key = "samples" if of_samples and "samples" not in sets else stem.replace("/", "-")
        sets[key] = _record_set(key, name, columns)
    return list(sets.values())


def _record_set(key: str, name: str, columns: dict[str, str]) -> dict[str, Any]:
    fields = []
    for column, kind in columns.items():
        bare = column.removeprefix("Metadata_").lower()
        field = {
            "@type": "cr:Field",
            "@id": f"{key}/{column}",
            "name": column,
            "dataType": kind,
            "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
        }
        if key == "samples" and bare in MEANINGS:
            field["description"] = MEANINGS[bare]
        if key == "samples" and bare == "split":
            field["references"] = {"field": {"@id": "splits/name"}}
        fields.append(field)
    return {"@type": "cr:RecordSet", "@id": key, "name": key, "field": fields}


def _columns(path: Path) -> dict[str, str]:
    """Column -> Croissant data type of a CSV or Parquet table."""
    parquet = path.suffix == ".parquet"
    frame = pyarrow.parquet.read_schema(path).empty_table().to_pandas() if parquet else read_own(path)
    kinds = {"i": "sc:Integer", "u": "sc:Integer", "f": "sc:Float", "b": "sc:Boolean"}
    return {str(column): kinds.get(frame[column].dtype.kind, "sc:Text") for column in frame}
