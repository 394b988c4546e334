"""Hooks for PyTorch, Hugging Face's Trainer and Lightning."""
