// How alike the responses to two conditions are, layer by layer, over time.

import * as api from './api.js';
import { LineChart } from './charts.js';
import { spans } from './classes.js';
import { correlationColour, curveColours, scaleBar } from './colours.js';
import { byId, colour, h, number } from './dom.js';
import * as figures from './figures.js';

const ms = 10;

/**
 * @typedef {import('./state.js').State} State
 * @typedef {import('./clock.js').Clock} Clock
 */

export class Similarity {
  /** @param {State} state @param {Clock} clock */
  constructor(state, clock) {
    this.state = state;
    this.clock = clock;
    this.dark = false;
    this.key = '';
    /** @type {'correlation'|'difference'} */
    this.kind = 'correlation';
    /** @type {{times: number, layers: api.Likeness[]}|null} */
    this.result = null;
    this.table = h('table', { class: 'heat' });
    this.host = h(
      'div',
      { class: 'heat-box', tabindex: 0, role: 'group', 'aria-label': 'Similarity by layer and time' },
      this.table,
    );
    this.curves = false;
    /** @type {import('./charts.js').LineFigure|null} */
    this.figure = null;
    this.choice = h(
      'select',
      { id: 'similarity-kind', onchange: () => this.choose() },
      h('option', { value: 'correlation' }, 'correlation'),
      h('option', { value: 'difference' }, 'relative difference'),
      h('option', { value: 'correlation curves' }, 'correlation as curves'),
      h('option', { value: 'difference curves' }, 'relative difference as curves'),
    );
    this.save = figures.buttons('Similarity', {
      name: () => `similarity-${this.kind}`,
      svg: () => this.svg(),
      csv: () => this.csv(),
    });
    this.legend = h('span', { class: 'legend' });
    this.plot = h('div', { hidden: true });
    this.names = h('ul', { class: 'curve-names', hidden: true });
    this.chart = new LineChart(this.plot, { height: 260, scrub: (t) => clock.go(t) });
    byId('similarity-figure').append(
      h('div', { class: 'controls' }, h('label', {}, 'Show ', this.choice), this.legend, this.save),
      this.host,
      this.plot,
      this.names,
    );
    clock.listeners.add((t) => this.go(t));
    this.table.addEventListener('click', (e) => {
      const t = /** @type {HTMLElement} */ (e.target).dataset?.time;
      if (t !== undefined) clock.go(Number(t));
    });
  }

  choose() {
    const [kind, curves] = this.choice.value.split(' ');
    this.kind = /** @type {any} */ (kind);
    this.curves = !!curves;
    this.fill();
  }

  /** A curve for each layer, those of deeper layers dashed when the colours begin again. */
  lines() {
    const r = /** @type {{times: number, layers: api.Likeness[]}} */ (this.result);
    const colours = curveColours(this.dark);
    const first = this.state.complete().find(Boolean);
    this.figure = {
      title: this.kind === 'correlation' ? 'Correlation of A and B' : 'Relative difference of A and B',
      unit: this.kind === 'correlation' ? 'correlation' : 'relative difference',
      times: this.clock.times,
      low: this.kind === 'correlation' ? Math.min(0, ...r.layers.flatMap((l) => l.correlation.map((v) => v ?? 0))) : 0,
      high: 1,
      curves: r.layers
        .filter((l) => l.of)
        .map((l, i) => ({
          label: l.layer,
          values: l[this.kind],
          stroke: colours[i % colours.length],
          dash: i < colours.length ? undefined : [6, 4],
        })),
      spans: first ? spans(first.plan.schedule, colour('--on')) : [],
    };
    this.chart.set(this.figure);
    this.names.replaceChildren(
      ...this.figure.curves.map((c) => {
        const line = h('i', { class: 'swatch' });
        line.style.background = c.dash
          ? `repeating-linear-gradient(to right, ${c.stroke} 0 4px, transparent 4px 7px)`
          : c.stroke;
        return h('li', {}, line, c.label);
      }),
    );
  }

  /** @param {number|null} v @param {boolean} dark */
  colour(v, dark) {
    if (this.kind === 'correlation' || v === null) return correlationColour(v, dark);
    return correlationColour(-Math.min(1, v), dark);
  }

  svg() {
    const r = /** @type {{times: number, layers: api.Likeness[]}} */ (this.result);
    if (this.curves && this.figure) return figures.lines(this.figure);
    return figures.heat({
      title: this.kind === 'correlation' ? 'Correlation of A and B' : 'Relative difference of A and B',
      times: r.times,
      rows: r.layers.map((l) => ({ label: l.layer, values: l[this.kind] })),
      colour: (v) => this.colour(v, false),
    });
  }

  csv() {
    const r = /** @type {{times: number, layers: api.Likeness[]}} */ (this.result);
    return figures.csv([
      ['layer', 'between', 'timestep', 'ms', 'correlation', 'relative difference'],
      ...r.layers.flatMap((l) => l.correlation.map((v, t) => [l.layer, l.of, t, t * ms, v, l.difference[t]])),
    ]);
  }

  /** @param {boolean} dark */
  async draw(dark) {
    const turned = dark !== this.dark;
    this.dark = dark;
    const section = byId('similarity');
    const runs = this.state.complete();
    section.hidden = this.state.now.conditions.length < 2;
    const [a, b] = runs;
    if (section.hidden || !a || !b) return;
    const key = `${a.id} ${b.id}`;
    if (key === this.key) {
      if (turned) this.fill();
      return;
    }
    try {
      const result = await api.similarity(a.id, b.id);
      this.key = key;
      this.result = result;
      this.fill();
    } catch (error) {
      if (error instanceof api.Refusal && error.status === 410) {
        this.state.gone(a.id);
        this.state.gone(b.id);
      } else {
        byId('similarity-about').textContent = /** @type {Error} */ (error).message;
      }
    }
  }

  fill() {
    const { result } = this;
    if (!result) return;
    const maps = result.layers.some((l) => l.of === 'maps');
    byId('similarity-about').textContent =
      (this.kind === 'correlation'
        ? 'Pearson’s correlation of the two responses at each timestep; pale before a picture has reached the layer.'
        : 'The RMS of A − B over that of both: 0 where they are equal, 1 where they are unrelated.') +
      (maps
        ? ' Channels of two models do not correspond, so the means over channels are compared, place by place.'
        : '');
    this.host.hidden = this.curves;
    this.plot.hidden = this.names.hidden = !this.curves;
    this.legend.hidden = this.curves;
    if (this.curves) {
      this.lines();
      this.go(this.clock.time);
      return;
    }
    this.legend.replaceChildren(
      ...(this.kind === 'correlation'
        ? ['−1', scaleBar((x) => correlationColour(2 * x - 1, this.dark)), '1']
        : ['0', scaleBar((x) => correlationColour(-x, this.dark)), '1']),
    );
    const head = h(
      'tr',
      {},
      h('th', { scope: 'col' }, 'ms'),
      ...Array.from({ length: result.times }, (_, t) =>
        h(
          'th',
          { scope: 'col', 'data-time': t },
          t % 5 ? h('span', { class: 'unseen' }, String(t * ms)) : String(t * ms),
        ),
      ),
    );
    this.table.replaceChildren(
      h('thead', {}, head),
      h(
        'tbody',
        {},
        ...result.layers.map((l) => {
          const froms = this.state
            .complete()
            .map((r) => r?.plan.layers.find((p) => p.name === l.layer)?.driven_from ?? null);
          return h(
            'tr',
            {},
            h('th', { scope: 'row' }, l.layer),
            ...(l.of
              ? Array.from({ length: result.times }, (_, t) => {
                  const v = l[this.kind][t];
                  const early = froms.every((from) => from === null || t < from);
                  const cell = h(
                    'td',
                    {
                      'data-time': t,
                      class: early && 'undriven',
                      title: `${l.layer} at ${t * ms} ms: ${v === null ? 'not defined' : number(v)}${early ? ', before any picture has reached it' : ''}`,
                    },
                    h('span', { class: 'unseen' }, v === null ? 'none' : v.toFixed(2)),
                  );
                  cell.style.backgroundColor = this.colour(v, this.dark);
                  return cell;
                })
              : [h('td', { colspan: result.times, class: 'none' }, 'the shapes differ')]),
          );
        }),
      ),
    );
    this.go(this.clock.time);
  }

  /** @param {number} time */
  go(time) {
    if (byId('similarity').hidden) return;
    this.chart.go(time);
    for (const old of this.table.querySelectorAll('.at')) old.classList.remove('at');
    for (const cell of this.table.querySelectorAll(`[data-time="${time}"]`)) cell.classList.add('at');
  }
}
