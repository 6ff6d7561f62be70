"""What a request gives: one module per kind of result, and a table of who plans what (``table``)."""
