"""What the rounds say together: a table, and a chart.

A ratio is the median of the rounds' ratios: the two were measured one shortly
after the other, so what slows the machine down for a while slows both.
"""
import statistics
from xml.sax.saxutils import escape


class Results:
    def __init__(self, records, scenarios):
        self.records = [r for r in records if "failed" not in r]
        self.failed = {(r["scenario"], r["server"]): r["failed"] for r in records if "failed" in r}
        ran = {r["scenario"] for r in records}
        self.scenarios = [s for s in scenarios if s.name in ran]
        self.servers = list(dict.fromkeys(r["server"] for r in records))
        self.kinds = {r["server"]: r["kind"] for r in records}

    def rounds(self, scenario, server, key=None):
        key = key or ("bytes" if scenario.kind == "idle" else "us")
        return {r["round"]: r[key] for r in self.records
                if r["scenario"] == scenario.name and r["server"] == server and key in r}

    def median(self, scenario, server, key=None):
        values = self.rounds(scenario, server, key).values()
        return statistics.median(values) if values else None

    def ratio(self, scenario, server, other):
        ours, theirs = self.rounds(scenario, server), self.rounds(scenario, other)
        both = [ours[n] / theirs[n] for n in ours if theirs.get(n)]
        return statistics.median(both) if both else None

    def of_kind(self, scenario, kind):
        found = [s for s in self.servers if self.kinds[s] == kind and self.rounds(scenario, s)]
        return sorted(found, key=lambda s: self.median(scenario, s))

    def best(self, scenario, names=None):
        peers = [s for s in self.of_kind(scenario, "peer") if names is None or s in names]
        return peers[0] if peers else None

    def bars(self, scenario, server):
        """(what is compared, found, at most) for each bar that can be judged."""
        for against, most in scenario.bars:
            engine = server.split()[-1]
            if against in ("µs", "B"):
                found, label = self.median(scenario, server), against
            else:
                if against == "floor":
                    label = f"bare {engine}"
                elif against.startswith("best of "):
                    label = self.best(scenario, against.split()[2:])
                elif against.startswith("own "):
                    label = f"{server}, {against[4:]}"
                else:
                    label = against
                found = self.ratio(scenario, server, label) if label else None
            if found is not None:
                yield label, found, most


def number(value):
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 20 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def line(results, scenario, server, best):
    got = results.rounds(scenario, server).values()
    middle = statistics.median(got)
    spread = (max(got) - min(got)) / middle * 50 if middle else 0

    def column(key, factor=1.0):
        value = results.median(scenario, server, key)
        return "-" if value is None else number(value * factor)
    if scenario.kind == "idle":
        middle_columns = (f"{column('connections'):>10} open {column('idle_cpu', 100):>7} % CPU"
                          f"{'':11}")
    else:
        values = results.records
        rates = [r["requests"] / r["seconds"] for r in values
                 if r["scenario"] == scenario.name and r["server"] == server]
        middle_columns = (f"{statistics.median(rates):>10.0f}{column('core', 100):>7}"
                          f"{column('load_us'):>9}{column('foreign', 100):>8}")
    said = [""]
    if best and server != best:
        ratio = results.ratio(scenario, server, best)
        said = [f"{ratio:.2f} of {best}" if ratio else ""]
    if results.kinds[server] == "own" and ", " not in server:
        for label, found, most in results.bars(scenario, server):
            absolute = label in ("µs", "B")
            what = f"{number(found)} {label}" if absolute else f"{found:.2f} of {label}"
            if said[0] == what:
                said[0] = ""
            said.append(f"{what}: {'within' if found <= most else 'MISSES'} {most:g}")
    bad = sum(r.get("errors", 0) for r in results.records
              if r["scenario"] == scenario.name and r["server"] == server)
    if bad:
        said.append(f"{bad} ERRORS")
    return (f"  {server:<24}{number(middle):>9}{spread:>5.0f}{middle_columns}   " +
            "; ".join(s for s in said if s)).rstrip()


def missed(results):
    """The bars in one place: how many there are, and which are not reached."""
    judged, over = 0, []
    for scenario in results.scenarios:
        for server in results.of_kind(scenario, "own"):
            for label, found, most in results.bars(scenario, server) if ", " not in server else ():
                judged += 1
                unit = f" {label}" if label in ("µs", "B") else f" of {label}"
                if found > most:
                    over.append(f"  {scenario.name}, {server}: {number(found)}{unit}, at most {most:g}")
    said = f"{judged - len(over)} of {judged} bars are reached" + (", not these:" if over else ".")
    return [said, *over] if judged else []


def table(results, heading):
    out = [*heading, "", "µs: CPU time of the server for a request, median of the rounds; ±: half of their",
           "range, %; core, others: % of the server's core that it and everybody else used;",
           "load: the generator's own µs for a request.  Ratios are of µs, round by round.", ""]
    for scenario in results.scenarios:
        idle = scenario.kind == "idle"
        columns = "" if idle else f"{'req/s':>10}{'core':>7}{'load':>9}{'others':>8}"
        out.append(f"{scenario.title:<26}{'B each' if idle else 'µs':>9}{'±':>5}{columns}")
        best = results.best(scenario)
        order = (results.of_kind(scenario, "floor") + results.of_kind(scenario, "own") +
                 results.of_kind(scenario, "peer"))
        out += [line(results, scenario, server, best) for server in order]
        out += [f"  {server:<24}    failed: {why}" for (name, server), why in results.failed.items()
                if name == scenario.name]
        out.append("")
    out += missed(results)
    return "\n".join(out)


# --- the chart --------------------------------------------------------------------

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .note, .value { fill: #59636e } .value { font-size: 12px }
.page { fill: #ffffff } .own { fill: #2f7ed8 } .floor { fill: #9aa4af } .peer { fill: #d9822b }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .note, .value { fill: #a5afba } .page { fill: #0d1117 }
  .own { fill: #58a6ff } .floor { fill: #6e7681 } .peer { fill: #e3a35c }
}
"""
ROW, NAMES, BARS, WIDTH = 20, 200, 420, 760


def chart(results, heading):
    """An SVG with a group of bars for each scenario, each group to its own scale."""
    parts = [f'<text class="{"note" if i else "title"}" x="16" y="{24 + 20 * i}">{escape(one)}</text>'
             for i, one in enumerate(heading)]
    y = 16 + 20 * len(heading)
    legend = (("own", "headgate"), ("floor", "no parsing at all"), ("peer", "others"))
    for i, (kind, text) in enumerate(legend):
        x = NAMES + i * 150
        parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="12" height="12" rx="2"/>'
                     f'<text class="note" x="{x + 18}" y="{y + 11}">{text}</text>')
    y += 34
    for scenario in results.scenarios:
        unit = "bytes for a connection" if scenario.kind == "idle" else "µs of CPU for a request"
        order = [s for kind in ("floor", "own", "peer") for s in results.of_kind(scenario, kind)]
        if not order:
            continue
        parts.append(f'<text class="title" x="16" y="{y + 12}">{escape(scenario.title)}'
                     f'<tspan class="note" font-weight="400" dx="10">{unit}, less is better</tspan></text>')
        y += ROW + 2
        most = max(results.median(scenario, s) for s in order) or 1
        for server in order:
            value = results.median(scenario, server)
            width = max(1.0, BARS * max(0, value) / most)
            parts.append(
                f'<text x="{NAMES - 8}" y="{y + 12}" text-anchor="end">{escape(server)}</text>'
                f'<rect class="{results.kinds[server]}" x="{NAMES}" y="{y + 1}" '
                f'width="{width:.1f}" height="{ROW - 6}" rx="2"/>'
                f'<text class="value" x="{NAMES + width + 6:.1f}" y="{y + 12}">{number(value)}</text>')
            y += ROW
        y += 14
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
            f'viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{escape(heading[0])}">\n'
            f'<style>{STYLE}</style>\n<rect class="page" width="{WIDTH}" height="{y}"/>\n' +
            "\n".join(parts) + "\n</svg>\n")
