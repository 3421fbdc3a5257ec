"""The report's style sheet: Okabe and Ito's colours, which differ without colour vision."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark;
  --page: #fff; --card: #f5f7f9; --ink: #15181c; --muted: #59626c; --rule: #d8dde2;
  --within: #0072b2; --over: #d55e00; --best: #00805c; --start: #59626c;
  --model: #a8598a; --alarm: #b3261e;
  --f0: #0072b2; --f1: #d55e00; --f2: #00805c; --f3: #a8598a; --f4: #8a6d00; --f5: #3a3f45;
}
@media (prefers-color-scheme: dark) { :root {
  --page: #14171a; --card: #1c2025; --ink: #e8eaed; --muted: #a2abb5; --rule: #343b43;
  --within: #56b4e9; --over: #f0a030; --best: #2fc79b; --start: #a2abb5;
  --model: #cc79a7; --alarm: #ff8a80;
  --f0: #56b4e9; --f1: #f0a030; --f2: #2fc79b; --f3: #cc79a7; --f4: #f0e442; --f5: #e8eaed;
} }
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 4rem; max-width: 72rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 {
  font-size: 1.2rem; margin: 2.6rem 0 .8rem; padding-top: .8rem;
  border-top: 1px solid var(--rule);
}
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; }
.verdict { font-size: 1.15rem; }
.quiet, figcaption, footer { color: var(--muted); font-size: .875rem; }
.badges { display: flex; flex-wrap: wrap; gap: .5rem; margin: .6rem 0; }
.badge {
  border: 1.5px solid currentColor; border-radius: 1rem; padding: .05rem .75rem;
  font-size: .875rem; font-weight: 600;
}
.completed { color: var(--best); } .running { color: var(--within); }
.stopped, .interrupted { color: var(--over); } .failed, .alarm { color: var(--alarm); }
.alarm { font-weight: 600; }
dl { margin: .8rem 0; } dt { color: var(--muted); font-size: .875rem; } dd { margin: 0; }
.facts { display: flex; flex-wrap: wrap; gap: .6rem 2.2rem; }
.plain div { display: grid; grid-template-columns: 10rem minmax(0, 1fr); align-items: baseline; }
.grid {
  --least: 21rem; display: grid; gap: 1.4rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--least)), 1fr));
}
.grid.three { --least: 18rem; gap: 1.2rem; }
.grid.four { --least: 15rem; gap: 1rem 1.2rem; }
.grid.thumbs {
  gap: .7rem; grid-template-columns: repeat(auto-fill, minmax(min(45%, 9.5rem), 1fr));
}
figure { margin: 0; break-inside: avoid; }
figure.plot { max-width: 34rem; } .three figure { max-width: 26rem; }
figure b { color: var(--ink); font-size: 1rem; }
figcaption { margin-top: .35rem; }
.frame { display: block; width: 100%; height: auto; border-radius: 3px; background: #000; }
.frame rect { fill: #fff; stroke: #000; stroke-width: .6; }
.frame text {
  fill: #fff; stroke: #000; stroke-width: 2px; paint-order: stroke; font-size: 11px;
}
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9375rem; }
th, td {
  padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--rule);
}
thead th { color: var(--muted); font-weight: 600; font-size: .875rem; }
tbody th { font-weight: 400; color: var(--muted); }
td.n, th.n { text-align: right; white-space: nowrap; }
.result td { font-weight: 600; white-space: nowrap; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--within); }
pre {
  background: var(--card); border-radius: 4px; padding: .9rem; overflow-x: auto;
  font: .8125rem/1.45 ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace;
}
.chart { display: block; width: 100%; height: auto; overflow: visible; }
.chart text { fill: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums; }
.chart .label { fill: var(--ink); font-size: 12.5px; }
.chart .grid { fill: none; stroke: var(--rule); stroke-width: .7; }
.chart .axis { fill: none; stroke: var(--muted); }
.line { fill: none; stroke-width: 1.8; stroke: var(--muted); }
.mark { stroke: var(--page); stroke-width: .8; }
.line.within { stroke: var(--within); } .mark.within { fill: var(--within); }
.mark.over { fill: var(--page); stroke: var(--over); stroke-width: 1.7; }
.mark.failed { fill: none; stroke: var(--muted); stroke-width: 1.8; }
.mark.flagged { fill: none; stroke: var(--alarm); stroke-width: 1.8; }
.line.bar { stroke-width: 1; opacity: .5; }
.line.start { stroke: var(--start); stroke-dasharray: 6 4; stroke-width: 1.5; }
.mark.start { fill: var(--start); }
.line.best { stroke: var(--best); } .mark.best { fill: var(--best); }
.line.limit { stroke: var(--over); stroke-width: 1.4; stroke-dasharray: 2 3; }
.line.phase { stroke: var(--rule); stroke-width: 1.2; }
.band { fill: var(--start); opacity: .13; }
.line.model { stroke: var(--model); stroke-width: 1.4; } .mark.model { fill: var(--model); }
.line.cost { stroke: var(--over); } .mark.cost { fill: var(--over); }
.line.average { stroke-width: .9; opacity: .75; }
.area.within { fill: var(--within); opacity: .18; }
.hint { fill: none; pointer-events: all; }
.bar.back { fill: var(--rule); opacity: .5; } .bar.part { fill: var(--model); }
.bar.whole { fill: var(--model); opacity: .38; }
.why { max-width: 46rem; margin: .5rem 0 1.2rem; padding-left: 1.2rem; }
.why li { margin: .25rem 0; }
.field0 { --c: var(--f0); } .field1 { --c: var(--f1); } .field2 { --c: var(--f2); }
.field3 { --c: var(--f3); } .field4 { --c: var(--f4); } .field5 { --c: var(--f5); }
.line[class*=field] { stroke: var(--c); } .mark[class*=field] { fill: var(--c); }
.legend {
  display: flex; flex-wrap: wrap; gap: .2rem 1.3rem; margin: .2rem 0 .8rem; padding: 0;
  list-style: none; font-size: .875rem; color: var(--muted);
}
.swatch { width: 24px; height: 14px; vertical-align: -2px; margin-right: .3rem; }
.ramp {
  display: inline-block; width: 5rem; height: .6rem; margin: 0 .35rem; border-radius: 2px;
}
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--rule); }
@media (max-width: 30rem) {
  .plain div { grid-template-columns: 1fr; } .plain dd { margin-bottom: .35rem; }
  th, td { padding-right: .6rem; } .result td { white-space: normal; font-size: .85rem; }
  .grid:not(.four) .chart text { font-size: 14px; }
}
@media print {
  :root {
    color-scheme: light; font-size: 72%;
    --page: #fff; --card: #f5f7f9; --ink: #000; --muted: #444; --rule: #ccc;
    --within: #0072b2; --over: #d55e00; --best: #00805c; --start: #555;
    --model: #a8598a; --alarm: #b3261e;
    --f0: #0072b2; --f1: #d55e00; --f2: #00805c; --f3: #a8598a; --f4: #8a6d00; --f5: #222;
  }
  @page { margin: 15mm; }
  body { max-width: none; padding: 0; }
  h2, h3, .legend { break-after: avoid; }
  h2 { margin-top: 1.8rem; }
  .grid { grid-template-columns: 1fr 1fr; }
  .grid.three { grid-template-columns: 1fr 1fr 1fr; }
  .grid.four { grid-template-columns: 1fr 1fr 1fr 1fr; }
  .grid.thumbs { grid-template-columns: repeat(6, 1fr); }
  .frame, .ramp { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  tr, .result, .legend { break-inside: avoid; }
  pre { white-space: pre-wrap; }
}
"""
