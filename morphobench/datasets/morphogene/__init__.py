"""MorphoGene, the tiers that are built from real files: the frozen splits, the build, the folder that comes of it."""
