# SPDX-License-Identifier: GPL-2.0-or-later
"""What .ci/instructions knows without running anything: callgrind's file, and the comparison of two runs."""

import re

LIMIT_PERCENT = 3.0


def parse(callgrind, cases):
    """Instructions per packet by case.

    `callgrind` is the text of a file of combined dumps, whose part N belongs to line N of `cases`, the
    list that culvert_bench wrote: a name and how many packets were counted.
    """
    totals = [int(total) for total in re.findall(r"^totals: (\d+)", callgrind, re.MULTILINE)]
    listed = [line.split() for line in cases.splitlines()]
    # Callgrind may add a part for what came after the last case, in which nothing was collected.
    if not listed or len(totals) not in (len(listed), len(listed) + 1) or any(totals[len(listed) :]):
        raise ValueError(f"{len(listed)} cases were run, and callgrind wrote {len(totals)} parts.")
    counts = {}
    for (name, packets), total in zip(listed, totals):
        if int(packets) == 0 or total == 0:
            raise ValueError(f"{name}: nothing was counted ({total} instructions, {packets} packets).")
        counts[name] = round(total / int(packets), 2)
    return counts


def compare(baseline, now):
    """(rows, failures, hints) of two runs, each instructions per packet by case.

    A row is (case, baseline, now, change in percent), with None for what is not known.
    """
    rows, failures, hints = [], [], []
    for name in list(now) + [name for name in baseline if name not in now]:
        before, after = baseline.get(name), now.get(name)
        if before is None:
            rows.append((name, None, after, None))
            failures.append(f"{name} is not in the baseline: if it is new, write the baseline anew.")
        elif after is None:
            rows.append((name, before, None, None))
            failures.append(f"{name} is in the baseline and was not run: if it is gone, write the baseline anew.")
        else:
            percent = (after - before) / before * 100
            rows.append((name, before, after, percent))
            # A bench of some ten instructions must not fail over the rounding of one hundredth.
            if percent > LIMIT_PERCENT:
                failures.append(f"{name} costs {after:.2f} instructions, {percent:+.1f} % of {before:.2f}.")
            elif percent < -LIMIT_PERCENT:
                hints.append(f"{name} costs {percent:+.1f} %: write the baseline anew to keep it so.")
    return rows, failures, hints


def differences(baseline, now):
    """Sentences about what the two runs were not made alike with."""
    return [
        f"The baseline was made with {kind} \"{baseline.get(kind, 'unknown')}\", this is \"{value}\"."
        for kind, value in now.items()
        if baseline.get(kind) != value
    ]


def table(rows):
    """The rows as text."""

    def figure(value, pattern):
        return "-" if value is None else format(value, pattern)

    width = max([len(row[0]) for row in rows] + [len("case")])
    lines = [f"{'case':<{width}} {'baseline':>10} {'now':>10} {'change':>8}"]
    for name, before, after, percent in rows:
        change = "-" if percent is None else f"{percent:+.1f} %"
        lines.append(f"{name:<{width}} {figure(before, '.2f'):>10} {figure(after, '.2f'):>10} {change:>8}")
    return "\n".join(lines)
