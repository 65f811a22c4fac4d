"""What run.py found, for people: lines of text while it measures, and tables in Markdown of a whole results.json."""

COLUMNS = {
    "samples/s": ("samples_per_s", ",.0f"),
    "GB/s": ("gb_per_s", ".2f"),
    "min-max": ("gb_per_s_range", ".2f"),
    "share": ("share", ".2f"),
    "CPU": ("cpu_share", ".2f"),
    "CPU s/GB": ("cpu_s_per_gb", ".3f"),
    "peak MB": ("peak_rss_mb", ",.0f"),
}


def cells(row):
    """A row's figures as text; what it has none of is a dash."""
    for key, form in COLUMNS.values():
        value = row.get(key)
        if isinstance(value, list):
            yield "-".join(f"{one:{form}}" for one in value)
        else:
            yield f"{value:{form}}" if value else "-"


def bound(goal):
    """A goal in words."""
    figure = f"times the best of {goal['among'].replace(' ', ', ')}" if goal["figure"] == "peer" else goal["figure"]
    return f"{figure} {'at most' if goal['at_most'] else 'at least'} {number(goal['goal'])}"


def number(value):
    return "not measured" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def verdict(goal):
    return {None: "-", True: "met", False: "MISSED"}[goal["met"]]


def remarks(summary):
    """What a table of rows does not hold."""
    for name, reason in summary["absent"].items():
        yield f"{name} is absent: {reason}"
    for kind, times in summary["scaling"].items():
        who = "headrace" if kind == "ours" else "C"
        yield f"{who}: 2 threads are {times:.2f} times as fast as 1"
    first = next(row for row in summary["rows"] if row["kind"] == "ours")
    for name, share in list(first.get("shares", {}).items())[1:]:
        if not name.endswith(" 1 thread"):
            yield f"{first['name']}: {share:.2f} of {name}"


def text(summary):
    lines = ["", summary["title"], " " * 40 + "".join(f"{title:>13}" for title in COLUMNS)]
    for row in summary["rows"]:
        lines.append(f"  {row['name']:38}" + "".join(f"{cell:>13}" for cell in cells(row)))
    lines += [f"  {remark}" for remark in remarks(summary)]
    for goal in summary["goals"]:
        lines.append(f"  goal: {bound(goal)}; {number(goal['value'])}: {verdict(goal)}")
    return "\n".join(lines)


def table(titles, rows):
    return ["| " + " | ".join(cells) + " |" for cells in [titles, ["---"] * len(titles), *rows]]


def escaped(text):
    return text.replace("|", "\\|")


def markdown(report):
    """All rows of all workloads in one table, all goals in another, and the remarks."""
    rows, goals, notes = [], [], []
    for summary in report["workloads"]:
        title = summary["title"]
        for index, row in enumerate(summary["rows"]):
            rows.append(["" if index else escaped(title), escaped(row["name"]), *cells(row)])
        for goal in summary["goals"]:
            goals.append([escaped(title), escaped(bound(goal)), number(goal["value"]), verdict(goal)])
        notes += [f"- {title}: {remark}" for remark in remarks(summary)]
    head = "{cores} cores of {cpu}, Linux {kernel}.".format(**report["machine"])
    if "rounds" in report:
        head += f" Medians of {report['rounds']} rounds; runs of {report['seconds']:g} s or more."
    parts = [[head], table(["data", "reader", *COLUMNS], rows), table(["data", "goal", "found", ""], goals), notes]
    return "\n\n".join("\n".join(part) for part in parts if part)
