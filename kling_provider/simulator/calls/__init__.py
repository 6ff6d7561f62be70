"""What is answered at once: one module per family, and a table of who answers what (``table``)."""
