"""Guidances: each wraps a denoiser and returns a denoiser."""
