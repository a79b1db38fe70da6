"""Feature extractors: uint8 images -> arrays, each with a name, a hash and a cache."""

from morphobench.features.extractor import Extractor, Features
from morphobench.features.machine_code import keep_machine_code
from morphobench.features.registry import EXTRACTORS, load_extractor

keep_machine_code()

__all__ = ["EXTRACTORS", "Extractor", "Features", "load_extractor"]
