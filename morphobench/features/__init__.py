"""Feature extractors: uint8 images -> arrays, each with a name, a hash and a cache."""

from morphobench.features.extractor import EXTRACTORS, Extractor, Features, load_extractor

__all__ = ["EXTRACTORS", "Extractor", "Features", "load_extractor"]
