# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pages for the own errors of web servers and balancers, in the style of the maintenance page.

A site's own error pages are never replaced.
"""

from __future__ import annotations

import html

_AGAIN = "This site cannot answer at the moment. Please try again in a minute."

#: Status → title and text. ASCII without quotes, since some servers take a page as a quoted text of their configuration.
PAGES: dict[int, tuple[str, str]] = {
    400: ("Bad request", "The server does not understand this request. If your cookies are very large, delete them."),
    403: ("Forbidden", "You do not have access to this address."),
    404: ("Not found", "There is nothing at this address. Check it for typing errors."),
    405: ("Method not allowed", "This address accepts only GET and HEAD requests."),
    408: ("Request timeout", "The request took too long to arrive. Please try again."),
    411: ("Length required", "The request has no Content-Length header."),
    413: ("Too large", "What you sent is larger than this site accepts. Go back, and choose a smaller file."),
    414: ("Address too long", "The address of this page is longer than this server accepts."),
    416: ("Range not available", "The file is shorter than the requested range."),
    421: ("Unknown site", "This server has no site of this name."),
    429: ("Too many connections", "Too many connections come from your network. Please try again in a minute."),
    431: ("Headers too large", "The request has more headers than this server accepts. Delete your cookies."),
    500: ("Something went wrong", "The server could not finish this request. Please try again in a minute."),
    501: ("Not supported", "The server does not support this kind of request."),
    502: ("Back in a moment", _AGAIN),
    503: ("Back in a moment", _AGAIN),
    504: ("Back in a moment", "The site took too long to answer. Please try again in a minute."),
}

_STYLE = (
    "html{color-scheme:light dark}"
    "body{align-items:center;background:#f6f7f9;color:#1d2733;display:flex;font:1.1rem/1.6 system-ui,sans-serif;"
    "justify-content:center;margin:0;min-height:100vh}"
    "main{max-width:30rem;padding:2rem}h1{font-size:1.8rem;line-height:1.2;margin:0 0 1rem}p{margin:0 0 .8rem}"
    ".bar{background:#3b82f6;border-radius:2px;height:4px;margin-bottom:1.6rem;width:3rem}"
    ".status{font-size:.9rem;opacity:.6}"
    "@media(prefers-color-scheme:dark){body{background:#12171d;color:#e4e9ef} }"
)


def page(status: int) -> str:
    """Return the page for a status, in one line without double quotes, dollar or percent signs and backslashes.

    :arg status: A key of L(PAGES).
    """
    title, text = PAGES[status]
    return (
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'><meta name=robots content=noindex>"
        f"<title>{html.escape(title, quote=False)}</title><style>{_STYLE}</style></head>"
        f"<body><main><div class=bar></div><h1>{html.escape(title, quote=False)}</h1>"
        f"<p>{html.escape(text, quote=False)}</p><p class=status>{status}</p></main></body></html>"
    )
