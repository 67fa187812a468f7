"""Callbacks for image generation: evaluation metrics, sample figures, GAN training monitor."""
