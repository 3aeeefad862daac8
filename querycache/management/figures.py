"""Figures as people read them, in the terminal and in the admin."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def human_duration(seconds: float) -> str:
    """Return a duration in its largest unit that leaves a figure before the point: "1.5 min"."""
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{round(seconds * 1000, 1) + 0.0:.1f} ms"  # the sum makes no -0.0


def percentage(share: float) -> str:
    """Return a share of 0.0 to 1.0 as percent, which is 100 only where nothing is missing."""
    # 99.96 % would read as "always".
    return f"{min(share, 0.999) if share < 1 else 1:.1%}"
