"""BBBC021 as its authors ship it: image and mechanism tables, one zip (or unpacked folder) of TIFF files per plate.

Pixels go from 16-bit fields to 8-bit crops in one pass over the files:

1. illumination: the mean field of a plate and channel, smoothed by a wide median filter and scaled to mean 1, divides
   every field (after Singh et al., J. Microsc. 2014, 256:231, who smooth the plate's average image);
2. contrast: per plate and channel, the 0.1 and 99.9 percentiles of its *vehicle* fields become 0 and 255, so that a
   drug that dims a stain still looks dim;
3. crop: the central 512 x 512 of each 1024 x 1280 field, one per field, so that two images never share a pixel.

`tables` reads the tables, `files` finds and decodes the TIFF files of a plate, `plate` corrects and encodes.

What cannot be seen: two stains whose files were swapped before they were named. Every name is then right and every
pixel plausible; only identical pixels under two stains are found. Look at a few images of each plate.

Source: Caie et al., Mol. Cancer Ther. 2010, 9:1913; Ljosa et al., Nat. Methods 2012, 9:637 (image set BBBC021v1).
"""

from morphobench.datasets.bbbc021.files import check_files, plate_identity, plates_on_disk
from morphobench.datasets.bbbc021.plate import Plate, encode, illumination_function, read_plate
from morphobench.datasets.bbbc021.tables import (
    ADDRESS,
    CHANNELS,
    FILE_COLUMNS,
    VEHICLE,
    image_table_path,
    mechanism_of,
    read_image_table,
    read_mechanisms,
)

__all__ = [
    "ADDRESS",
    "CHANNELS",
    "FILE_COLUMNS",
    "VEHICLE",
    "Plate",
    "check_files",
    "encode",
    "illumination_function",
    "image_table_path",
    "mechanism_of",
    "plate_identity",
    "plates_on_disk",
    "read_image_table",
    "read_mechanisms",
    "read_plate",
]
