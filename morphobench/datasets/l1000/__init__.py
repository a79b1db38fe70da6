"""L1000: matrices and their tables, whose profile is whose, G_pre and G_post. `read_profiles` is the way in."""

from morphobench.datasets.l1000.profiles import Profiles, read_profiles, wells

__all__ = ["Profiles", "read_profiles", "wells"]
