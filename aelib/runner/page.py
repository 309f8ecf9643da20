"""The report's page: one Jinja2 template, self-contained, light and dark."""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ heading }}</title>
<style>
:root {
  color-scheme: light dark;
  --paper: light-dark(#fbfaf7, #16181c); --card: light-dark(#ffffff, #1e2126);
  --ink: light-dark(#22252a, #e6e4df); --soft: light-dark(#686c73, #a2a5ab);
  --line: light-dark(#e4e1d9, #33373e); --accent: light-dark(#1d5fa8, #84b6f0);
  --good: light-dark(#23733f, #7ccb95); --bad: light-dark(#b3261e, #ff9389);
  --open: light-dark(#8a6100, #e0b75a);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1, h2 { font-family: Charter, "Bitstream Charter", Georgia, "Noto Serif", serif;
  line-height: 1.2; font-weight: 600; text-wrap: balance; }
h1 { font-size: 2.3rem; margin: 0 0 .6rem; }
h2 { font-size: 1.5rem; margin: 0; }
h3 { font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; color: var(--soft);
  font-weight: 600; margin: 1.6rem 0 .4rem; }
a { color: var(--accent); text-underline-offset: .15em; }
.summary { color: var(--soft); margin: 0 0 1.2rem; }
.summary b { color: var(--ink); font-weight: 600; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin-bottom: 1rem; }
nav a { padding: .15rem .65rem; border: 1px solid var(--line); border-radius: 99px;
  background: var(--card); text-decoration: none; font-size: .875rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 1.6rem 1.75rem 1.75rem; margin: 1.5rem 0; }
.question { font-family: Charter, Georgia, "Noto Serif", serif; font-style: italic;
  font-size: 1.1rem; margin: .4rem 0 .6rem; max-width: 46rem; }
.facts { color: var(--soft); font-size: .875rem; margin: 0; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr));
  gap: .9rem; margin: 1.2rem 0 0; align-items: start; }
figure { margin: 0; }
figure img { width: 100%; max-height: 24rem; object-fit: contain; background: #fff;
  border: 1px solid var(--line); border-radius: 6px; padding: .4rem; display: block; }
figcaption { font-size: .8rem; color: var(--soft); margin-top: .25rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: .8rem; }
th, td { padding: .4rem 1.1rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.wide { width: 100%; }
.nowrap { white-space: nowrap; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.mark { width: 1.6rem; font-weight: 700; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
.unit, .source { color: var(--soft); font-size: .8rem; }
.strip { position: relative; display: block; width: 7rem; height: 1.3rem; }
.strip i { position: absolute; top: 50%; transform: translate(-50%, -50%); }
.strip::before { content: ""; position: absolute; inset: 50% 0 auto;
  border-top: 1px solid var(--line); }
.strip .bound { width: 2px; height: 1rem; background: var(--soft); }
.strip .measured { width: .65rem; height: .65rem; border-radius: 50%; background: currentColor; }
.strip .baseline { width: .6rem; height: .6rem; border-radius: 50%;
  border: 2px solid var(--soft); background: var(--card); }
.legend { display: flex; flex-wrap: wrap; gap: 1.2rem; font-size: .8rem; color: var(--soft); }
.legend span { display: inline-flex; align-items: center; gap: .4rem; }
.legend .strip { display: inline-block; width: 1rem; }
.fault { border-left: 3px solid var(--bad); padding: .1rem 0 .1rem 1rem; margin-top: 1.2rem; }
.fault p { margin: .3rem 0; }
summary { cursor: pointer; color: var(--soft); font-size: .875rem; margin-top: .6rem; }
pre { overflow-x: auto; font-size: .8rem; line-height: 1.4; margin: .4rem 0; color: var(--soft); }
code { font-family: ui-monospace, "Cascadia Code", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .9em; }
footer { color: var(--soft); font-size: .8rem; margin-top: 2rem; }
@media print { article { break-inside: avoid; } nav { display: none; } }
</style>
</head>
<body>
{% macro table(claims) %}
  <div class="scroll"><table>
    <tr><th></th><th class="wide">claim</th>
      <th class="number">measured</th><th class="number">bound</th>
      <th class="number">baseline</th><th></th></tr>
    {% for claim in claims %}
    <tr><td class="mark {{ claim.state }}">{{ claim.mark }}</td>
      <td>{{ claim.statement }}
        <div class="source">{{ claim.notes|join(" · ") }}</div></td>
      <td class="number">{{ claim.measured }}</td>
      <td class="number">{{ claim.relation }} {{ claim.bound }}</td>
      <td class="number">{{ claim.baseline or "–" }}</td>
      <td>{% if claim.places %}<span class="strip {{ claim.state }}" aria-hidden="true">
        {%- for kind, place in claim.places.items() -%}
          <i class="{{ kind }}" style="left:{{ place }}%"></i>
        {%- endfor %}</span>{% endif %}</td></tr>
    {% endfor %}
  </table></div>
{% endmacro %}
<main>
<header>
  <h1>{{ heading }}</h1>
  <p class="summary"><b>{{ finished }} of {{ sections|length }} notebooks finished</b>
    {%- if missed %}, <b class="bad">{{ missed }}</b>:
      {% for item in sections if item.not_reached -%}
        <a href="#{{ item.name }}">{{ item.label }}</a>{{ ", " if not loop.last }}
      {%- endfor %}{% endif %}
    · {{ checked }} · {{ minutes }} · {{ profiles }} profile</p>
  {% for line in data %}<p class="summary">{{ line|code }}</p>{% endfor %}
  {% if sections|length > 1 %}
  <nav>{% for item in sections %}<a href="#{{ item.name }}">{{ item.title }}
    {%- if not item.ok %} <span class="bad">✗</span>{% endif %}</a>{% endfor %}</nav>
  {% endif %}
  <div class="legend">
    <span><span class="strip good"><i class="measured" style="left:50%"></i></span> measured</span>
    <span><span class="strip"><i class="bound" style="left:50%"></i></span> the bound</span>
    <span><span class="strip"><i class="baseline" style="left:50%"></i></span>
      what it is compared with, which must miss the bound</span>
  </div>
</header>
{% for item in sections %}
<article id="{{ item.name }}">
  <h2>{{ item.title }}</h2>
  {% if item.question %}<p class="question">{{ item.question }}</p>{% endif %}
  <p class="facts">{{ item.facts|join(" · ") }}
    {%- if item.link %} · <a href="{{ item.link }}">executed notebook</a>{% endif %}</p>
  {% if item.fault %}
  <div class="fault"><p><b class="bad">It did not finish</b>
    {%- if item.fault.cell %}: cell [{{ item.fault.cell }}], <code>{{ item.fault.source }}</code>
    {%- endif %}</p>
    <p>{{ item.fault.reason }}</p>
    {% if item.fault.last_lines %}<details><summary>The last lines</summary>
      <pre>{{ item.fault.last_lines }}</pre></details>{% endif %}</div>
  {% endif %}
  {% for lines in item.not_reached %}
  <div class="fault"><p><b class="bad">One result was not reached.</b> {{ lines[0] }}</p>
    {% for line in lines[1:] %}<p>{{ line|code }}</p>{% endfor %}</div>
  {% endfor %}
  {% if item.pictures %}
  <div class="pictures">{% for picture in item.pictures %}
    <figure><img src="{{ picture.source }}" alt="{{ picture.caption }}" loading="lazy">
      <figcaption>{{ picture.caption }}</figcaption></figure>{% endfor %}
  </div>
  {% endif %}
  {% if item.claims %}
  <h3>What it claims</h3>
  {{ table(item.claims) }}
  {% endif %}
  {% if item.formulas %}
  <details><summary>Formulas held against the library's: {{ item.formulas|length }}</summary>
  {{ table(item.formulas) }}</details>
  {% endif %}
  {% if item.records %}
  <h3>Here and in the paper</h3>
  <div class="scroll"><table>
    <tr><th>record</th><th class="number">here</th><th class="number">in the paper</th>
      <th>unit</th><th class="wide">source</th></tr>
    {% for record in item.records %}
    <tr><td><code>{{ record.name }}</code></td><td class="number">{{ record.here }}</td>
      <td class="number">{{ record.paper or "–" }}</td>
      <td class="unit nowrap">{{ record.unit }}</td><td class="source">{{ record.source }}</td></tr>
    {% endfor %}
  </table></div>
  {% endif %}
</article>
{% endfor %}
<footer>{{ versions }}</footer>
</main>
</body>
</html>
"""
