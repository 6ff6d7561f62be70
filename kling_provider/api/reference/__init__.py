"""The reference of Kling's API, written from the tables that requests are checked and priced by.

``fields`` reads the request models; ``endpoints``, ``models`` and ``prices`` say what there is to say about them;
``writing`` makes text or Markdown of it.
"""
