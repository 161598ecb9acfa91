// A row for each layer, and what is chosen for all of them.

import * as api from './api.js';
import { byId, debounce, h, number } from './dom.js';
import { Full } from './full.js';
import { Row } from './row.js';

const ms = 10;

/**
 * @typedef {import('./maps.js').MapStrip} MapStrip
 * @typedef {import('./maps.js').Place} Place
 * @typedef {import('./state.js').State} State
 * @typedef {import('./clock.js').Clock} Clock
 * @typedef {import('./api.js').Run} Run
 */

export class Layers {
  /** @param {State} state @param {Clock} clock */
  constructor(state, clock) {
    this.state = state;
    this.clock = clock;
    this.dark = false;
    /** Count is −1 for as many as stand in a line, 0 for all. */
    this.how = { count: -1, order: 'strongest', scale: 'layer' };
    /** @type {Row[]} */
    this.rows = [];
    this.names = '';
    this.tip = byId('tip');
    this.large = h('canvas', { width: 168, height: 168 });
    this.said = h('p');
    this.tip.append(this.large, this.said);
    this.full = new Full(this);
    /** @type {Map<string, Promise<number[]>>} */
    this.exact = new Map();
    /** @type {string} */
    this.hovered = '';
    this.watcher = new IntersectionObserver(
      (entries) => {
        for (const e of entries) {
          const row = this.rows.find((r) => r.element === e.target);
          if (!row) continue;
          row.visible = e.isIntersecting;
          if (row.visible) for (const s of row.strips) s.draw(clock.time);
        }
      },
      { rootMargin: '200px' },
    );
    const select = (
      /** @type {string} */ label,
      /** @type {'count'|'order'|'scale'} */ name,
      /** @type {[string, string][]} */ choices,
    ) =>
      h(
        'label',
        {},
        label + ' ',
        h(
          'select',
          {
            'data-how': name,
            onchange: (/** @type {Event} */ e) => {
              const value = /** @type {HTMLSelectElement} */ (e.target).value;
              this.how = { ...this.how, [name]: name === 'count' ? Number(value) : value };
              this.fetch();
            },
          },
          ...choices.map(([value, text]) => h('option', { value, selected: String(this.how[name]) === value }, text)),
        ),
      );
    byId('map-controls').append(
      select('Channels', 'count', [
        ['-1', 'a line'],
        ['16', '16'],
        ['32', '32'],
        ['64', '64'],
        ['0', 'all'],
      ]),
      select('by', 'order', [
        ['strongest', 'response'],
        ['changing', 'change over time'],
        ['different', 'difference of A and B'],
        ['number', 'number'],
      ]),
      select('Colours', 'scale', [
        ['layer', 'one scale a layer'],
        ['channel', 'a scale for each channel'],
      ]),
    );
    this.fetchSoon = debounce(() => this.fetch(), 250);
    let width = 0;
    new ResizeObserver(() => {
      const now = byId('layer-rows').clientWidth;
      if (now === width) return;
      width = now;
      this.fetchSoon();
      for (const r of this.shown()) {
        for (const s of r.strips) {
          s.layout();
          s.draw(clock.time);
        }
        r.mark();
      }
    }).observe(byId('layer-rows'));
    clock.listeners.add((t) => {
      for (const r of this.rows) r.go(t);
      this.tell();
    });
    state.on('units', () => this.shown().forEach((r) => r.mark()));
  }

  /** The rows of the page, and what is on the whole screen. */
  shown() {
    return this.full.row ? [...this.rows, this.full.row] : this.rows;
  }

  /** Another row of the layer of a row. @param {Row} row @param {number} size pixels of a map */
  another(row, size) {
    return new Row(this, row.name, row.shape, row.areas, size);
  }

  /** The runs of the conditions, also those that are not complete. @returns {(Run|null)[]} */
  runs() {
    return this.state.now.conditions.map((_, i) => this.state.live[i]?.run ?? null);
  }

  /** @param {boolean} dark */
  draw(dark) {
    const turned = dark !== this.dark;
    this.dark = dark;
    /** @type {Map<string, {shape: number[], areas: string[]}>} */
    const wanted = new Map();
    for (const c of this.state.now.conditions) {
      for (const l of this.state.model(c.model).layers)
        if (!wanted.has(l.name)) wanted.set(l.name, { shape: l.shape, areas: l.areas ?? [] });
    }
    const ordered = [...wanted].sort(([a], [b]) => depth(a) - depth(b));
    const names = JSON.stringify(ordered);
    if (names !== this.names) {
      this.names = names;
      this.watcher.disconnect();
      for (const r of this.rows) r.loading?.abort();
      if (this.full.row) this.full.close();
      this.rows = ordered.map(([name, { shape, areas }]) => new Row(this, name, shape, areas));
      byId('layer-rows').replaceChildren(...this.rows.map((r) => r.element));
      for (const r of this.rows) this.watcher.observe(r.element);
    }
    const live = this.state.live;
    for (const r of this.shown()) {
      r.element.classList.toggle(
        'stale',
        this.state.now.conditions.some(
          (_, i) => live[i]?.run && !live[i].complete && live[i].stage !== '' && !live[i].run?.layers.has(r.name),
        ),
      );
      r.set(dark);
      if (turned && r.maps.length) r.show(r.maps, r.said);
    }
    this.fetch();
  }

  /** Asks for the maps of the layers that are computed, the rows in sight first, three at a time. */
  async fetch() {
    const runs = this.runs();
    const [a, b] = runs.map((r) => r?.id ?? null);
    const rows = this.shown();
    for (const r of rows) {
      const of = (/** @type {Run|null} */ run) => run?.plan.layers.some((l) => l.name === r.name);
      // What is being computed again stays in sight until the new maps are there.
      if (
        !runs.length ||
        !runs.every(
          (run, i) => run && this.state.live[i].own && (api.hasLayer(run, r.name) || (run.plan.times > 0 && !of(run))),
        )
      )
        continue;
      const how = { ...this.how };
      if (r.size) how.count = this.full.count;
      if (how.count < 0) how.count = r.strips[0]?.room(!!b) ?? 1;
      if (!b && how.order === 'different') how.order = 'strongest';
      const first = of(runs[0]) ? a : null;
      const second = runs[1] && of(runs[1]) ? b : null;
      const apart = runs.length > 1 && runs[0]?.plan.model !== runs[1]?.plan.model;
      if (apart && how.order === 'different') how.order = 'strongest';
      r.wanted = JSON.stringify({ a: first, b: second, apart, how });
    }
    if (!this.state.now.conditions[0]?.picture) for (const r of rows) r.wanted = '';
    if (rows.some((r) => r.strips.length && r.loaded !== r.wanted)) document.body.dataset.maps = 'coming';
    const queue = [...rows].sort((x, y) => Number(y.visible) - Number(x.visible));
    await Promise.all(
      [0, 1, 2].map(async () => {
        for (let r = queue.shift(); r; r = queue.shift()) await r.load();
      }),
    );
    document.body.dataset.maps = this.shown().every((r) => !r.strips.length || (r.loaded === r.wanted && r.wanted))
      ? 'there'
      : 'coming';
  }

  /** @param {Row} row @param {MapStrip} strip @param {Place|null} place @param {PointerEvent|null} event */
  hover(row, strip, place, event) {
    if (!place || !event) {
      this.tip.hidden = true;
      this.pointed = null;
      return;
    }
    this.pointed = { row, strip, place };
    this.tip.hidden = false;
    const left = Math.min(event.clientX + 14, innerWidth - this.tip.offsetWidth - 8);
    this.tip.style.transform = `translate(${left}px, ${event.clientY + (event.clientY > innerHeight - 270 ? -256 : 16)}px)`;
    this.tell();
    const id = `${row.name} ${place.channel} ${place.row} ${place.column}`;
    if (id === this.hovered) return;
    this.hovered = id;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.tell(true), 60);
  }

  /** Says the value below the pointer: as it is drawn, and exactly as soon as it has come. @param {boolean} [ask] */
  async tell(ask = false) {
    if (!this.pointed || this.tip.hidden) return;
    const { row, strip, place } = this.pointed;
    const index = row.strips.indexOf(strip);
    const t = this.clock.time;
    const unit = { layer: row.name, channel: place.channel, row: place.row, column: place.column };
    const [a, b] = this.state.complete();
    const runs = index === 0 ? [a ?? b] : index === 1 ? [b] : [a, b];
    const write = (/** @type {string} */ value) => {
      strip.enlarge(this.large, place);
      this.said.replaceChildren(
        h('strong', {}, value),
        h('br'),
        `${row.name} channel ${place.channel}`,
        h('br'),
        `row ${place.row}, column ${place.column}, ${t * ms} ms`,
      );
    };
    const keys = runs.map((r) => `${r?.id} ${JSON.stringify(unit)}`);
    if (ask) {
      runs.forEach((r, i) => {
        if (!r || this.exact.has(keys[i])) return;
        if (this.exact.size > 500) this.exact.clear();
        this.exact.set(
          keys[i],
          api.unit(r.id, unit).catch(() => []),
        );
      });
    } else if (!keys.every((k) => this.exact.has(k))) {
      write(`≈ ${number(strip.value(place))}`);
      return;
    }
    const values = await Promise.all(keys.map((k) => this.exact.get(k)));
    if (this.pointed?.place !== place && this.hovered !== `${row.name} ${place.channel} ${place.row} ${place.column}`)
      return;
    const [va, vb] = values.map((v) => v?.[t]);
    if (va === undefined) write('over');
    else if (index === 2) write(vb === undefined ? 'over' : String(Math.fround(va - vb)));
    else write(String(va));
  }
}

/** The place of a layer among others. @param {string} name */
function depth(name) {
  const n = /^conv(\d+)$/.exec(name);
  return n ? Number(n[1]) : 1000;
}
