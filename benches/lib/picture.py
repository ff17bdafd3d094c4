"""Draws the loads as bars, one group an image."""

from html import escape

WIDTH, LABEL, BAR, GAP, TOP = 860, 150, 15, 26, 62
COLOURS = {"floor": "#9aa0a6", "ovlctl": "#1a7f5a"}
PEER = "#c9b27c"


def svg(loads, caption):
    """`loads`: image -> {tool: seconds}, the floor among the tools."""
    rows, y = [], TOP
    longest = max(seconds for tools in loads.values() for seconds in tools.values())
    scale = (WIDTH - LABEL - 120) / longest
    for image, tools in loads.items():
        rows.append(f'<text x="12" y="{y + 11}" class="image">{escape(image)}</text>')
        y += 20
        for tool, seconds in tools.items():
            rows.append(bar(tool, seconds, tools["ovlctl"], y, scale))
            y += BAR + 3
        y += GAP - 10
    style = (
        "text{font:12px system-ui,sans-serif;fill:#24292f}.image{font-weight:600}.title{font-size:16px;font-weight:600}"
        ".note{fill:#6e7781}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">',
            f"<style>{style}</style>",
            '<text x="12" y="24" class="title">Loading an image: seconds, less is better</text>',
            f'<text x="12" y="44" class="note">{escape(caption)}</text>',
            *rows,
            "</svg>\n",
        ]
    )


def bar(tool, seconds, ours, y, scale):
    width = max(1.0, seconds * scale)
    colour = COLOURS.get(tool, PEER)
    says = f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
    if tool != "ovlctl":
        says += f"  ({seconds / ours:.1f}×)"
    return (
        f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(tool)}</text>'
        f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>'
        f'<text x="{LABEL + width + 6:.1f}" y="{y + 12}" class="note">{says}</text>'
    )
