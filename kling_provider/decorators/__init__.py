"""TaskFlow decorators for Kling."""
