"""Ideal stain -> camera image: point spread, haze, uneven illumination, plate gains, background, noise, 8 bits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

FULL_SCALE = 205.0
"""Grey levels of a unit of stain at unit gain. One number for all images: nothing is scaled per image."""

RAISED_BLUR = 1.0
"""Blur of rounded cells, which stand above the plane of focus, reference pixels."""


@dataclass(frozen=True)
class PlateOptics:
    """Staining and imaging of one plate; triples are (red actin, green tubulin, blue DNA)."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    background: tuple[float, float, float] = (9.0, 9.0, 7.0)
    """Grey levels."""
    psf_sigma: tuple[float, float, float] = (0.72, 0.55, 0.62)
    """Standard deviation of the point spread in focus, reference pixels (1/128 of the image side)."""
    defocus: float = 0.4
    """Typical blur of a field by the error of its focus: standard deviation of a half-normal draw, reference pixels."""
    haze: float = 0.16
    """Share of light from out of focus, spread over 7 reference pixels."""
    vignetting: float = 0.12
    """Loss of light from the brightest point to one image side away."""
    light_centre: tuple[float, float] = (0.5, 0.5)
    """Brightest point (x, y), fractions of the image side."""
    shot_noise: float = 0.35
    """Grey levels per photo-electron: the variance of a pixel at level v is shot_noise * v + read_noise ** 2."""
    read_noise: float = 1.1


def plate_optics(tier_version: str, plate: str) -> PlateOptics:
    """The optics of a plate, drawn from SHA-256 of (tier version, plate) alone."""
    digest = hashlib.sha256(f"optics/{tier_version}/{plate}".encode()).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    defaults = PlateOptics()
    blur = float(np.exp(rng.normal(0.0, 0.13)))

    def triple(values: np.ndarray) -> tuple[float, float, float]:
        return float(values[0]), float(values[1]), float(values[2])

    return PlateOptics(
        gain=triple(np.exp(rng.normal(0.0, (0.14, 0.14, 0.10)))),
        background=triple(np.asarray(defaults.background) * np.exp(rng.normal(0.0, 0.25, 3))),
        psf_sigma=triple(np.asarray(defaults.psf_sigma) * blur),
        defocus=float(defaults.defocus * np.exp(rng.normal(0.0, 0.3))),
        haze=float(rng.uniform(0.12, 0.26)),
        vignetting=float(rng.uniform(0.04, 0.26)),
        light_centre=(float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8))),
        shot_noise=float(rng.uniform(0.22, 0.5)),
        read_noise=float(rng.uniform(0.8, 1.5)),
    )


def photograph(stain: np.ndarray, optics: PlateOptics, rng: np.random.Generator) -> np.ndarray:
    """uint8 (H, H, 3) camera image of an ideal stain, float (2, H, H, 3) >= 0, red actin, green tubulin, blue DNA.

    The second plane of the stain stands RAISED_BLUR out of focus when the first is in focus.

    Shot noise is the Gaussian limit of Poisson noise, drawn before it is scaled: two stains photographed with the same
    generator state differ by their stain alone.
    """
    size = stain.shape[1]
    scale = size / 128
    normal = rng.standard_normal(stain.shape[1:], dtype=np.float32)
    error = optics.defocus * abs(rng.standard_normal())
    at = (np.arange(size, dtype=np.float32) + 0.5) / size
    away = (at[None, :] - optics.light_centre[0]) ** 2 + (at[:, None] - optics.light_centre[1]) ** 2
    light = 1.0 - optics.vignetting * away
    image = np.empty(stain.shape[1:], np.float32)
    for channel in range(3):
        sharp = np.zeros(stain.shape[1:3], np.float32)
        for plane, away_from_focus in enumerate((error, abs(RAISED_BLUR - error))):
            sigma = np.hypot(optics.psf_sigma[channel], away_from_focus)
            sharp += gaussian_filter(stain[plane, ..., channel], sigma * scale, mode="nearest", truncate=3.0)
        # The haze is smooth: computed on a fourth of the rows and columns.
        coarse = sharp.reshape(size // 4, 4, size // 4, 4).mean((1, 3))
        spread = gaussian_filter(coarse, 7.0 * scale / 4, mode="nearest", truncate=2.5)
        hazy = np.repeat(np.repeat(spread, 4, 0), 4, 1)
        image[..., channel] = (1.0 - optics.haze) * sharp + optics.haze * hazy
    image *= light[..., None] * (FULL_SCALE * np.asarray(optics.gain, np.float32))
    image += np.asarray(optics.background, np.float32)
    image += np.sqrt(optics.shot_noise * image + optics.read_noise**2) * normal
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
