"""LoRA from scratch."""
