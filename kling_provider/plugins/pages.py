"""The two pages of the tab, and what a browser may do on them."""

from __future__ import annotations

import secrets

from fastapi.responses import HTMLResponse, Response

#: Name of a page -> its script. Links to tabs are kept: never change a name.
PAGES = {"task.html": "task.js", "run.html": "run.js"}

_NONCE_BYTES = 18
#: Plain http only to the viewer's own machine, where the simulator lives.
_MEDIA = "https: http://127.0.0.1:* http://localhost:*"
#: Nothing is named by host or folder: a script that somebody gets onto this host runs on no page.
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
    f"img-src 'self' {_MEDIA}; media-src 'self' {_MEDIA}; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
#: What the script imports, a browser loads by the nonce of the script.
_PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Kling</title>
    <link rel="stylesheet" href="kling.css" nonce="{nonce}">
    <script type="module" src="{script}" nonce="{nonce}"></script>
  </head>
  <body>
    <main id="page" aria-live="polite"><p class="neutral">Loading…</p></main>
  </body>
</html>
"""


def answer_with(script: str) -> Response:
    """Answer with the page of a script.

    Each answer has a nonce of its own, so none may be kept.

    :param script: its file name.
    """
    nonce = secrets.token_urlsafe(_NONCE_BYTES)
    headers = {"Content-Security-Policy": _POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
    return HTMLResponse(_PAGE.format(nonce=nonce, script=script), headers=headers)
