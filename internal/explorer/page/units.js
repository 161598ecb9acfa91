// Units that were pinned, and what they compute over time.

import * as api from './api.js';
import { LineChart } from './charts.js';
import { spans } from './classes.js';
import { curveColours } from './colours.js';
import { byId, colour, h, number } from './dom.js';
import * as figures from './figures.js';

/**
 * @typedef {import('./state.js').State} State
 * @typedef {import('./clock.js').Clock} Clock
 * @typedef {import('./state.js').Unit} Unit
 */

/** @param {Unit} u */
const title = (u) => `${u.layer} channel ${u.channel}, row ${u.row}, column ${u.column}`;

export class Units {
  /** @param {State} state @param {Clock} clock */
  constructor(state, clock) {
    this.state = state;
    this.clock = clock;
    this.dark = false;
    /** @type {Map<string, number[]>} */
    this.values = new Map();
    /** @type {import('./charts.js').LineFigure|null} */
    this.figure = null;
    this.host = h('div', {});
    this.chart = new LineChart(this.host, { height: 200, scrub: (t) => clock.go(t) });
    this.list = h('ul', { class: 'pins' });
    this.error = h('p', { class: 'error', role: 'alert' });
    this.layer = h('select', { id: 'pin-layer', onchange: () => this.limits() });
    const field = (/** @type {string} */ name) =>
      h('input', { type: 'number', min: '0', value: '0', id: `pin-${name}`, inputMode: 'numeric' });
    this.channel = field('channel');
    this.row = field('row');
    this.column = field('column');
    const label = (/** @type {string} */ text, /** @type {HTMLElement} */ input) => h('label', {}, text + ' ', input);
    this.form = h(
      'form',
      {
        class: 'pin-form',
        onsubmit: (/** @type {Event} */ e) => {
          e.preventDefault();
          state.pin({
            layer: this.layer.value,
            channel: Number(this.channel.value),
            row: Number(this.row.value),
            column: Number(this.column.value),
          });
        },
      },
      label('Layer', this.layer),
      label('Channel', this.channel),
      label('Row', this.row),
      label('Column', this.column),
      h('button', {}, 'Pin'),
    );
    this.save = figures.buttons('Time courses of pinned units', {
      name: () => 'units',
      svg: () => figures.lines(/** @type {any} */ (this.figure)),
      csv: () => figures.table(/** @type {any} */ (this.figure)),
    });
    byId('unit-figure').append(this.host, this.list, this.save, this.form, this.error);
    clock.listeners.add((t) => this.go(t));
    state.on('units', () => this.draw(this.dark));
  }

  limits() {
    const layer = this.state.now.conditions
      .flatMap((c) => this.state.model(c.model).layers)
      .find((l) => l.name === this.layer.value);
    if (!layer) return;
    const flat = layer.shape.length === 1;
    const [rows, columns, channels] = flat ? [1, 1, layer.shape[0]] : layer.shape;
    this.channel.max = String(channels - 1);
    this.row.max = String(rows - 1);
    this.column.max = String(columns - 1);
    this.row.disabled = this.column.disabled = flat;
  }

  /** @param {boolean} dark */
  async draw(dark) {
    this.dark = dark;
    const { state } = this;
    const names = [...new Set(state.now.conditions.flatMap((c) => state.model(c.model).layers.map((l) => l.name)))];
    if (names.join() !== [...this.layer.options].map((o) => o.value).join()) {
      this.layer.replaceChildren(...names.map((n) => h('option', { value: n }, n)));
      this.limits();
    }
    const { units } = state.now;
    const runs = state.complete();
    this.error.textContent = '';
    const colours = curveColours(dark);
    /** @type {import('./charts.js').Curve[]} */
    const curves = [];
    for (const [k, u] of units.entries()) {
      for (const [i, r] of runs.entries()) {
        const shape = r?.plan.layers.find((l) => l.name === u.layer)?.shape;
        const limits = shape?.length === 1 ? [1, 1, shape[0]] : shape;
        // The other model has no such unit.
        if (!r || !limits || u.row >= limits[0] || u.column >= limits[1] || u.channel >= limits[2]) continue;
        const key = `${r.id} ${JSON.stringify(u)}`;
        let values = this.values.get(key);
        if (!values) {
          try {
            values = await api.unit(r.id, u);
            if (this.values.size > 1000) this.values.clear();
            this.values.set(key, values);
          } catch (error) {
            if (error instanceof api.Refusal && error.status === 410) state.gone(r.id);
            else this.error.textContent = /** @type {Error} */ (error).message;
            continue;
          }
        }
        curves.push({
          label: (runs.length > 1 ? `${'AB'[i]}: ` : '') + title(u),
          values,
          stroke: colours[k % colours.length],
          dash: i ? [6, 4] : undefined,
        });
      }
    }
    if (state.now.units !== units) return; // changed meanwhile
    const first = runs.find((r) => r);
    this.host.hidden = this.save.hidden = curves.length === 0;
    this.figure = {
      title: 'Time courses of pinned units',
      unit: 'response',
      times: this.clock.times,
      curves,
      spans: first ? spans(first.plan.schedule, colour('--on')) : [],
    };
    this.chart.set(curves.length ? this.figure : null);
    this.list.replaceChildren(
      ...units.map((u, k) => {
        const swatch = h('i', { class: 'swatch' });
        swatch.style.backgroundColor = colours[k % colours.length];
        return h(
          'li',
          { 'data-unit': JSON.stringify(u) },
          swatch,
          h('span', {}, title(u)),
          h('output', {}),
          h(
            'button',
            { type: 'button', class: 'small', 'aria-label': `Unpin ${title(u)}`, onclick: () => state.pin(u) },
            'Unpin',
          ),
        );
      }),
    );
    this.go(this.clock.time);
  }

  /** @param {number} time */
  go(time) {
    this.chart.go(time);
    const runs = this.state.complete();
    for (const item of this.list.children) {
      const unit = /** @type {HTMLElement} */ (item).dataset.unit;
      const output = item.querySelector('output');
      if (output) {
        output.textContent = runs
          .map((r, i) => {
            const v = r && this.values.get(`${r.id} ${unit}`)?.[time];
            return typeof v === 'number' ? `${runs.length > 1 ? 'AB'[i] + ' ' : ''}${number(v)}` : '';
          })
          .filter(Boolean)
          .join('  ');
      }
    }
  }
}
