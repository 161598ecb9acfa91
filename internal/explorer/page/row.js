// The row of a layer: its mean response over time, and its feature maps at the time of the clock.

import * as api from './api.js';
import { LineChart } from './charts.js';
import { spans } from './classes.js';
import { curveColours, mapBar } from './colours.js';
import { colour, h, number } from './dom.js';
import * as figures from './figures.js';
import { MapStrip, side } from './maps.js';

const ms = 10;
const partLabels = ['A', 'B', 'A − B'];
const partNames = ['this', 'other', 'difference'];

/**
 * @typedef {import('./layers.js').Layers} Layers
 * @typedef {import('./api.js').Run} Run
 */

export class Row {
  /**
   * @param {Layers} layers
   * @param {string} name
   * @param {number[]} shape
   * @param {string[]} areas
   * @param {number} [size] pixels of a map on the whole screen
   */
  constructor(layers, name, shape, areas, size = 0) {
    this.layers = layers;
    this.name = name;
    this.shape = shape;
    this.areas = areas;
    this.size = size;
    this.wanted = '';
    this.loaded = '';
    this.visible = false;
    /** @type {AbortController|null} */
    this.loading = null;
    /** What is being fetched. @type {{wanted: string, done: Promise<void>}|null} */
    this.coming = null;
    /** @type {(api.Maps|null)[]} */
    this.maps = [];
    this.said = '';
    /** @type {import('./charts.js').LineFigure|null} */
    this.figure = null;
    this.driven = h('p', { class: 'driven' });
    this.value = h('p', { class: 'now' });
    const host = h('div', {});
    this.chart = new LineChart(host, { height: 96, small: true, scrub: (t) => layers.clock.go(t) });
    const on = {
      hover: (/** @type {MapStrip} */ strip, /** @type {any} */ place, /** @type {PointerEvent|null} */ event) =>
        layers.hover(this, strip, place, event),
      pin: (/** @type {MapStrip} */ _, /** @type {any} */ place) =>
        layers.state.pin({ layer: name, channel: place.channel, row: place.row, column: place.column }),
    };
    this.strips = shape.length === 3 ? partLabels.map((label) => new MapStrip(label, on, size || side)) : [];
    this.note = h('p', { class: 'note' });
    const enlarge =
      !size &&
      shape.length === 3 &&
      h(
        'button',
        {
          type: 'button',
          class: 'small',
          'aria-label': `Enlarge ${name}`,
          'aria-haspopup': 'dialog',
          onclick: () => layers.full.open(this),
        },
        'Enlarge',
      );
    this.side = h(
      'div',
      { class: 'strips' },
      ...this.strips.map((s) => s.element),
      h('div', { class: 'under' }, this.note, enlarge),
    );
    const curveSave = figures.buttons(`Mean response of ${name}`, {
      name: () => `${name}-mean`,
      svg: () => figures.lines(/** @type {any} */ (this.figure)),
      csv: () => this.csv(),
    });
    const mapSave =
      shape.length === 3 &&
      figures.buttons(`Feature maps of ${name}`, {
        name: () => `${name}-maps-${layers.clock.time * ms}ms`,
        svg: () => this.svg(),
      });
    this.element = h(
      'section',
      { class: 'layer', 'aria-label': `Layer ${name}`, ...(size ? {} : { 'data-layer': name }) },
      h(
        'div',
        { class: 'layer-head' },
        h('h3', {}, name),
        h('p', { class: 'shape' }, shape.join(' × '), ...areas.map((a) => h('span', { class: 'area' }, a))),
        this.driven,
        this.value,
        !size &&
          h(
            'details',
            { class: 'take' },
            h('summary', {}, 'Save'),
            h('p', {}, 'Curve ', curveSave),
            mapSave ? h('p', {}, 'Maps ', mapSave) : '',
          ),
      ),
      h('div', { class: 'layer-curve' }, host),
      this.side,
    );
  }

  csv() {
    const runs = this.layers.runs();
    const of = (/** @type {Run} */ r) => r.layers.get(this.name);
    const prefix = (/** @type {number} */ i) => (runs.length > 1 ? `${'AB'[i]} ` : '');
    return figures.csv([
      ['timestep', 'ms', ...runs.flatMap((_, i) => [`${prefix(i)}mean`, `${prefix(i)}standard deviation`])],
      ...Array.from({ length: this.layers.clock.times }, (_, t) => [
        t,
        t * ms,
        ...runs.flatMap((r) => (r ? [of(r)?.mean[t] ?? null, of(r)?.deviation[t] ?? null] : [null, null])),
      ]),
    ]);
  }

  svg() {
    const t = this.layers.clock.time;
    const shown = this.strips.filter((s) => s.part);
    return figures.pictures(
      `${this.name} at ${t * ms} ms`,
      shown.map((s) => ({
        label: shown.length > 1 ? (s.label.textContent ?? '') : '',
        address: s.picture(3),
        width: s.canvas.width,
        height: s.canvas.height,
      })),
      shown.flatMap((s, i) => {
        const { maps, part } = s;
        if (!maps || !part) return [];
        const label = this.layers.state.now.conditions.length > 1 ? `${s.label.textContent}: ` : '';
        const limit = Math.max(...part.steps) * (part.zero > 0 ? 127 : 255);
        const scale =
          this.layers.how.scale === 'channel'
            ? 'each channel on a scale of its own'
            : `colours from ${part.zero > 0 ? number(-limit) : 0} to ${number(limit)}`;
        return i > 0 && this.maps.length === 1
          ? [`${label}${scale}`]
          : [`${label}channels ${maps.channels.join(', ')}`, `${label}${scale}`];
      }),
    );
  }

  /** Draws the curve again. @param {boolean} dark */
  set(dark) {
    const runs = this.layers.runs();
    const strokes = [colour('--a'), colour('--b')];
    const curves = runs.flatMap((r, i) => {
      const s = r?.layers.get(this.name);
      return s
        ? [
            {
              label: runs.length > 1 ? `${'AB'[i]}, ${r?.plan.model}` : `${r?.plan.model}`,
              values: s.mean,
              stroke: strokes[i],
              width: 2,
            },
          ]
        : [];
    });
    const first = runs.find((r) => r);
    this.figure = {
      title: `Mean response of ${this.name}`,
      unit: 'mean over all units',
      times: this.layers.clock.times,
      curves,
      spans: first ? spans(first.plan.schedule, colour('--on')) : [],
    };
    const froms = runs.map((r) => r?.plan.layers.find((l) => l.name === this.name)?.driven_from);
    this.from = froms;
    this.figure.marks = [...new Set(froms.filter((f) => typeof f === 'number' && f > 0))].map((f) => ({
      time: Number(f),
      label: 'driven',
      stroke: colour('--quiet'),
    }));
    this.chart.set(this.figure);
    this.go(this.layers.clock.time);
  }

  /** @param {number} time */
  go(time) {
    this.chart.go(time);
    const runs = this.layers.runs();
    const names = runs.length > 1 ? ['A ', 'B '] : [''];
    const driven = runs.map((r, i) => r && typeof this.from?.[i] === 'number' && time >= Number(this.from[i]));
    const lit = driven.some(Boolean);
    this.element.classList.toggle('idle', !lit && runs.some(Boolean));
    const text = runs.map((r, i) => {
      const f = this.from?.[i];
      return r
        ? `${names[i]}${typeof f === 'number' ? (driven[i] ? `driven since ${f * ms} ms` : `driven from ${f * ms} ms`) : 'never driven'}`
        : '';
    });
    const line =
      [...new Set(text.map((s, i) => s.slice(names[i]?.length ?? 0)))].length === 1
        ? text[0].slice(names[0].length)
        : text.join(', ');
    if (this.driven.textContent !== line) this.driven.textContent = line;
    const values = runs
      .map((r, i) => {
        const v = r?.layers.get(this.name)?.mean[time];
        return v === undefined ? '' : `${names[i]}${number(v)}`;
      })
      .filter(Boolean)
      .join('\n');
    if (this.value.textContent !== values) this.value.textContent = values;
    if (this.visible) for (const s of this.strips) s.draw(time);
  }

  /** Fetches the maps that are wanted, unless they are there. */
  load() {
    if (!this.strips.length || this.loaded === this.wanted) return;
    if (this.coming?.wanted === this.wanted) return this.coming.done;
    const { wanted } = this;
    const coming = (this.coming = {
      wanted,
      done: this.bring(wanted).finally(() => {
        if (this.coming === coming) this.coming = null;
      }),
    });
    return coming.done;
  }

  /** @param {string} wanted */
  async bring(wanted) {
    this.loading?.abort();
    if (!wanted) {
      this.show([], '');
      return;
    }
    const { a, b, apart, how } = JSON.parse(wanted);
    const abort = (this.loading = new AbortController());
    try {
      const maps = await Promise.all(
        apart
          ? [a, b].map((id) => id && api.maps(id, null, this.name, how, abort.signal))
          : [api.maps(a, b, this.name, how, abort.signal)],
      );
      if (this.wanted === wanted)
        this.show(
          maps,
          apart && a && b
            ? 'Channels of two models do not correspond: each shows its own, and there is no difference.'
            : '',
        );
      this.loaded = wanted;
    } catch (error) {
      if (error instanceof api.Refusal && error.status === 410) {
        for (const r of this.layers.shown()) r.wanted = r.loaded; // nothing more of these runs
        for (const id of [a, b]) id && this.layers.state.gone(id);
      } else if (/** @type {Error} */ (error).name !== 'AbortError')
        this.note.textContent = /** @type {Error} */ (error).message;
    }
  }

  /**
   * Shows maps: of the conditions together, or of each by itself, null where it has none.
   * @param {(api.Maps|null)[]} maps @param {string} note
   */
  show(maps, note) {
    this.maps = maps;
    this.said = note;
    const shown = this.strips.map((_, i) => {
      const of = maps.length > 1 ? (maps[i] ?? null) : (maps[0] ?? null);
      return { maps: of, part: of?.parts.find((p) => p.part === (maps.length > 1 ? 'this' : partNames[i])) ?? null };
    });
    this.strips.forEach((s, i) => {
      const { maps: of, part } = shown[i];
      s.element.hidden = !part;
      s.element.classList.toggle('single', this.layers.state.now.conditions.length === 1);
      s.set(part && of, part, this.layers.dark);
      s.canvas.setAttribute(
        'aria-label',
        of ? `Feature maps of ${this.name}, ${partLabels[i]}: ${of.channels.length} of ${of.of} channels` : '',
      );
    });
    this.legends(shown);
    this.mark();
    if (this.visible) for (const s of this.strips) s.draw(this.layers.clock.time);
  }

  /**
   * Says how many channels there are, and what the colours stand for.
   * @param {{maps: api.Maps|null, part: api.MapPart|null}[]} shown
   */
  legends(shown) {
    const own = this.layers.how.scale === 'channel';
    const comparing = this.layers.state.now.conditions.length > 1;
    /** @type {(Node|string)[]} */
    const parts = [];
    shown.forEach(({ maps, part }, i) => {
      if (!maps || !part) return;
      const together = this.maps.length === 1;
      if (i === 0 || !together)
        parts.push(
          `${together ? '' : partLabels[i] + ': '}${maps.channels.length} of ${maps.of} channels${own ? ', each on a scale of its own' : ''}`,
        );
      if (i === 1 && together) return; // it has the scale of A
      const highest = Math.max(...part.steps) * (part.zero > 0 ? 127 : 255);
      parts.push(
        h(
          'span',
          { class: 'legend' },
          comparing && together ? (i === 2 ? 'A − B ' : 'A and B ') : '',
          part.zero > 0 ? (own ? '−' : number(-highest)) : '0',
          mapBar(part.zero, this.layers.dark, part.part === 'difference'),
          own ? '+' : number(highest),
        ),
      );
    });
    this.note.replaceChildren(...parts, this.said);
  }

  mark() {
    const colours = curveColours(this.layers.dark);
    const units = this.layers.state.now.units
      .map((u, i) => ({ ...u, stroke: colours[i % colours.length] }))
      .filter((u) => u.layer === this.name);
    for (const s of this.strips) s.mark(units);
  }
}
