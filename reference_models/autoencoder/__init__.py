"""Image autoencoders: pixels <-> the latents that a latent model works in. Ours is trained per tier and ships."""
