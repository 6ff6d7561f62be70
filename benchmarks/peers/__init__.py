"""Who waits: this package, and the others."""
