# SPDX-License-Identifier: Apache-2.0
"""What comes out of the runs: medians, ratios, goals, and the machine, as Markdown."""

import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ["gcc", "libc6", "libhts-dev", "libboost-dev", "liblmdb-dev", "libhiredis-dev", "redis-server", "python3"]


class Results:
    """What the programs said: one dict of metrics per round, and the plain text that some print (the last round's)."""

    def __init__(self):
        self.rounds = []
        self.text = {}
        self.problems = {}

    def values(self, ref):
        """The rounds' values of "side.metric"; none where it was not measured."""
        return [found[ref]["median"] for found in self.rounds if ref in found]

    def median(self, ref):
        """The median of the rounds, or None."""
        values = self.values(ref)
        return statistics.median(values) if values else None

    def refs(self):
        """Every "side.metric" there is, in order."""
        return list(dict.fromkeys(ref for found in self.rounds for ref in found))

    def describe(self, ref):
        """The metric's unit and note."""
        return next((found[ref]["unit"], found[ref]["note"]) for found in self.rounds if ref in found)


def ratio(goal, ours, peers):
    """What a goal's limit is compared with."""
    if goal.how == "at most":
        return ours[0] / min(peers)
    if goal.how == "at most the sum":
        return ours[0] / sum(peers)
    if goal.how == "at least":
        return min(peers) / ours[0]
    return min(ours) if goal.how == "no less" else max(ours)


def judge(goal, results):
    """The goal's ratio, its range over the rounds and whether it is met; None if something was not measured."""
    ours = [results.median(ref) for ref in goal.ours]
    peers = [results.median(ref) for ref in goal.peers or []]
    if None in ours + peers:
        return None
    by_round = []
    for found in results.rounds:
        if all(ref in found for ref in goal.ours + (goal.peers or [])):
            by_round.append(ratio(goal, [found[ref]["median"] for ref in goal.ours],
                                  [found[ref]["median"] for ref in goal.peers or []]))
    value = min(by_round) if goal.how == "best no more" else ratio(goal, ours, peers)
    is_met = value >= goal.limit if goal.how in ("at least", "no less") else value <= goal.limit
    return value, min(by_round), max(by_round), is_met


def show(value, unit):
    """A value with its unit, three digits."""
    if unit == "ns":
        for factor, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
            if value >= factor:
                return f"{value / factor:.3g} {name}"
        return f"{value:.3g} ns"
    return f"{value:.3g}" if unit == "x" else f"{value:.4g} {unit}"


def show_limit(goal):
    """The limit in words."""
    words = {"at most": "≤ {:g}x", "at most the sum": "≤ {:g}x", "at least": "≥ {:g}x", "no less": "≥ {:g}", "no more": "≤ {:g}"}
    if goal.how == "best no more":
        return "≤ " + show(goal.limit, "ns")
    return words[goal.how].format(goal.limit)


def goal_lines(row, results):
    """The row's goals as lines of a Markdown table."""
    lines = []
    for goal in row.goals:
        judged = judge(goal, results)
        if judged is None:
            lines.append(f"| {row.title} | {goal.text} | {show_limit(goal)} | | | not measured |")
            continue
        value, low, high = (show(number, "ns" if goal.how == "best no more" else "x") for number in judged[:3])
        is_met = judged[3]
        lines.append(f"| {row.title} | {goal.text} | {show_limit(goal)} | {value} | {low} .. {high} | "
                     f"{'met' if is_met else '**missed**'} |")
    return lines


def value_lines(row, results):
    """Everything that was measured for a row, as lines of a Markdown table."""
    lines = []
    for ref in results.refs():
        side, metric = ref.rsplit(".", 1)
        unit, note = results.describe(ref)
        values = results.values(ref)
        lines.append(f"| {row.key} | {side} | {metric} | {show(statistics.median(values), unit)} | "
                     f"{show(min(values), unit)} .. {show(max(values), unit)} | {note} |")
    lines += [f"| {row.key} | {side} | | not measured | | {problem} |" for side, problem in results.problems.items()]
    return lines


def read_line(path, pattern):
    """The first group of the pattern in a file, or an empty string."""
    try:
        found = re.search(pattern, pathlib.Path(path).read_text(encoding="utf-8"), re.M)
    except OSError:
        return ""
    return found.group(1) if found else ""


def output_of(command):
    """What a command prints, or an empty string if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def stolen():
    """Ticks that the hypervisor took, and all ticks, of all processors."""
    ticks = [int(word) for word in read_line("/proc/stat", r"^cpu +(.*)$").split()]
    return (ticks[7], sum(ticks[:8])) if len(ticks) > 7 else (0, 1)


def build_options(build):
    """How the measured programs were compiled."""
    options = output_of(["meson", "introspect", "--buildoptions", str(build)])
    wanted = {"buildtype", "optimization", "b_sanitize", "crash_points"}
    try:
        found = {option["name"]: option["value"] for option in json.loads(options) if option["name"] in wanted}
    except json.JSONDecodeError:
        found = {}
    return ", ".join(f"{name} {found[name]}" for name in sorted(found)) or "unknown"


def machine_lines(build, n_rounds, start, load):
    """The machine and the circumstances, as a Markdown list."""
    steal_then, ticks_then = start
    steal_now, ticks_now = stolen()
    steal = 100 * (steal_now - steal_then) / max(1, ticks_now - ticks_then)
    memory = int(read_line("/proc/meminfo", r"^MemTotal: +(\d+)") or 0) / 1048576
    packages = output_of(["dpkg-query", "--show", "--showformat=${Package} ${Version}, "] + PACKAGES).rstrip(", ")
    commit = output_of(["git", "-C", str(HERE), "describe", "--always", "--dirty"]) or "unknown"
    huge = read_line("/sys/kernel/mm/transparent_hugepage/enabled", r"\[(\w+)\]")
    huge_shmem = read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", r"\[(\w+)\]")
    return [
        f"- {datetime.date.today()}, {n_rounds} rounds, commit {commit}",
        f"- {os.cpu_count()} processors ({read_line('/proc/cpuinfo', r'^model name.*: (.*)$')}), "
        f"{memory:.0f} GiB of memory, {read_line('/etc/os-release', r'^PRETTY_NAME=.(.*).$')}, "
        f"Linux {platform.release()}",
        f"- build: {build_options(build)}; huge pages: {huge or 'unknown'}, for shared memory: "
        f"{huge_shmem or 'unknown'}",
        f"- load before the run {load:.2f}; taken by the hypervisor during it {steal:.1f} %",
        f"- {packages}",
    ]


def report(measured, machine):
    """The whole results section."""
    lines = ["", *machine, "", "| operation | compared with | goal | ratio | range over the rounds | |",
             "|---|---|---|---:|---:|---|"]
    for row, results in measured:
        lines += goal_lines(row, results)
    lines += ["", "Everything that was measured: medians of the rounds, and their range.", "",
              "| row | side | metric | median | range | |", "|---|---|---|---:|---:|---|"]
    for row, results in measured:
        lines += value_lines(row, results)
    for row, results in measured:
        for side, text in results.text.items():
            lines += ["", f"{row.title} ({side}):", "", "```", text.strip("\n"), "```"]
    return "\n".join(lines) + "\n"
