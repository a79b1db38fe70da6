"""What an autoencoder's latents do not say of an image: drawn by a flow in pixel space, not regressed."""
