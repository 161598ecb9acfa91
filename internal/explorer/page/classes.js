// What the readout says over time, and what the decoder makes of it.

import { LineChart } from './charts.js';
import { curveColours } from './colours.js';
import { byId, colour, h, number, percent } from './dom.js';
import * as figures from './figures.js';

const ms = 10;
const drawn = 6;

/**
 * @typedef {import('./state.js').State} State
 * @typedef {import('./clock.js').Clock} Clock
 * @typedef {import('./api.js').Run} Run
 */

/** The spans in which a picture is on. @param {number[]} schedule @param {string} fill */
export function spans(schedule, fill) {
  /** @type {{from: number, to: number, fill: string}[]} */
  const list = [];
  schedule.forEach((frame, t) => {
    if (frame < 0) return;
    const last = list[list.length - 1];
    if (last && last.to === t) last.to = t + 1;
    else list.push({ from: t, to: t + 1, fill });
  });
  return list;
}

const decoders = /** @type {Record<string, string>} */ ({
  last: 'takes the readout at the last timestep',
  max_conf: 'takes the readout at the timestep of the greatest confidence',
  thresh:
    'takes the readout at the first timestep whose confidence reaches the threshold, or else that of the greatest',
});

class Panel {
  /** @param {State} state @param {Clock} clock @param {number} index */
  constructor(state, clock, index) {
    this.state = state;
    this.clock = clock;
    this.index = index;
    /** @type {Run|null} */
    this.run = null;
    /** @type {import('./charts.js').LineFigure|null} */
    this.figure = null;
    this.greatest = 1;
    this.name = 'AB'[index];
    this.title = h('h3', {});
    const host = h('div', {});
    this.chart = new LineChart(host, { height: 190, scrub: (t) => clock.go(t) });
    this.now = h('ol', { class: 'bars', 'aria-label': `Likeliest classes now, ${this.name}` });
    this.decision = h('p', { class: 'decision' });
    this.save = figures.buttons(`Classes over time of ${this.name}`, {
      name: () => `classes-${this.name}-${this.run?.plan.model}`,
      svg: () => figures.lines(/** @type {any} */ (this.figure)),
      csv: () => this.csv(),
    });
    this.element = h(
      'div',
      { class: 'panel' },
      h('div', { class: 'panel-head' }, this.title, this.save),
      h('div', { class: 'panel-body' }, host, this.now),
      this.decision,
    );
  }

  csv() {
    const { run } = this;
    if (!run?.classes) return '';
    const { curves } = run.classes;
    return figures.csv([
      ['timestep', 'ms', ...curves.map((c) => `${c.wordnet_id} ${c.name}`)],
      ...run.classes.top.map((_, t) => [t, t * ms, ...curves.map((c) => c.probabilities[t])]),
    ]);
  }

  /** @param {boolean} dark @param {boolean} comparing */
  set(dark, comparing) {
    const live = this.state.live[this.index];
    const run = live?.run ?? null;
    this.run = run;
    this.element.classList.toggle('stale', !!run && !live.complete);
    const name = run ? `${run.plan.model}` : '';
    this.title.replaceChildren(
      ...(comparing ? [h('span', { class: `chip chip-${this.name}` }, this.name), ' '] : []),
      name,
    );
    this.save.hidden = !run?.classes;
    if (!run?.classes) {
      this.chart.set(null);
      this.figure = null;
      this.now.replaceChildren();
      this.now.classList.remove('before');
      this.decision.textContent = live?.abort ? 'The readout comes last.' : '';
      return;
    }
    const colours = curveColours(dark);
    this.colours = new Map(run.classes.curves.slice(0, drawn).map((c, i) => [c.index, colours[i]]));
    this.greatest = Math.max(...run.classes.curves.flatMap((c) => c.probabilities));
    this.names = new Map(run.classes.curves.map((c) => [c.index, c]));
    const driven = run.plan.layers[run.plan.layers.length - 1]?.driven_from;
    const d = run.decision;
    this.figure = {
      title: `Class probabilities of ${run.plan.model}`,
      unit: 'probability',
      times: this.clock.times,
      low: 0,
      curves: run.classes.curves
        .slice(0, drawn)
        .map((c, i) => ({ label: c.name, values: c.probabilities, stroke: colours[i] })),
      spans: spans(run.plan.schedule, colour('--on')),
      marks: [
        ...(typeof driven === 'number' && driven > 0
          ? [{ time: driven, label: 'driven', stroke: colour('--quiet') }]
          : []),
        ...(d && d.timestep !== null ? [{ time: d.timestep, label: 'decoder', stroke: colour('--ink') }] : []),
      ],
    };
    this.chart.set(this.figure);
    this.describe(d, driven ?? null);
    this.go(this.clock.time);
  }

  /** @param {import('./api.js').Decision|null} d @param {number|null} driven */
  describe(d, driven) {
    if (!d || !this.run) {
      this.decision.textContent = 'What the decoder takes is known when all is computed.';
      return;
    }
    const untrained = this.run.plan.untrained;
    if (d.timestep === null) {
      this.decision.textContent = `The decoder (${d.decoder}) begins at ${this.state.model(this.run.plan.model).decoder.first_timestep * ms} ms; the presentation is too short for it.`;
      return;
    }
    const parts = [
      h('strong', {}, `At ${d.timestep * ms} ms: ${d.names[0]}`),
      ` (${percent(d.classes[0].probability)}). `,
      `The decoder, ${d.decoder}, ${decoders[d.decoder] ?? ''}`,
    ];
    if (d.threshold)
      parts.push(
        `: ${d.reached ? `confidence ${number(d.confidence ?? 0)} ≥ ${number(d.threshold)}` : `no confidence reaches ${number(d.threshold)}; the greatest is ${number(d.confidence ?? 0)}`}`,
      );
    else if (d.confidence) parts.push(`: ${number(d.confidence)}`);
    parts.push('.');
    if (!d.driven) parts.push(' The picture has not reached the readout by then.');
    else if (driven !== null) parts.push(` The picture reaches the readout at ${driven * ms} ms.`);
    if (untrained) parts.push(' The weights are untrained: the classes mean nothing.');
    this.decision.replaceChildren(...parts);
  }

  /** The likeliest class at a time, '' where the picture has not reached the readout. @param {number} time */
  likeliest(time) {
    const driven = this.run?.plan.layers[this.run.plan.layers.length - 1]?.driven_from;
    const top = this.run?.classes?.top[time]?.[0];
    if (!this.run?.classes || driven === null || driven === undefined) return '';
    if (time < driven) return `readout driven from ${driven * ms} ms`;
    return top ? `${this.names?.get(top.index)?.name ?? `class ${top.index}`} ${percent(top.probability)}` : '';
  }

  /** @param {number} time */
  go(time) {
    this.chart.go(time);
    const { run } = this;
    if (!run?.classes) return;
    const top = run.classes.top[Math.min(time, run.classes.top.length - 1)];
    const driven = run.plan.layers[run.plan.layers.length - 1]?.driven_from;
    const before = driven === null || driven === undefined || time < driven;
    this.now.classList.toggle('before', before);
    this.now.dataset.note = before ? 'not driven yet' : '';
    while (this.now.children.length < top.length)
      this.now.append(h('li', {}, h('span', { class: 'name' }), h('span', { class: 'share' }), h('i')));
    top.forEach((c, i) => {
      const [name, share, bar] = /** @type {HTMLElement[]} */ ([...this.now.children[i].children]);
      const known = this.names?.get(c.index);
      name.textContent = known?.name ?? `class ${c.index}`;
      name.title = known?.names ?? '';
      share.textContent = percent(c.probability);
      bar.style.transform = `scaleX(${c.probability / this.greatest})`;
      bar.style.backgroundColor = this.colours?.get(c.index) ?? 'var(--quiet)';
    });
  }
}

export class Classes {
  /** @param {State} state @param {Clock} clock */
  constructor(state, clock) {
    this.state = state;
    this.clock = clock;
    this.panels = [0, 1].map((i) => new Panel(state, clock, i));
    byId('class-panels').append(...this.panels.map((p) => p.element));
    clock.listeners.add((t) => {
      this.panels.forEach((p, i) => {
        if (i < state.now.conditions.length) p.go(t);
      });
      this.tell(t);
    });
  }

  /** Says beside the clock which class is the likeliest. @param {number} time */
  tell(time) {
    const { conditions } = this.state.now;
    const texts = this.panels.slice(0, conditions.length).map((p) => {
      const likeliest = p.likeliest(time);
      return likeliest && `${conditions.length > 1 ? p.name + ': ' : ''}${likeliest}`;
    });
    byId('likely').textContent = texts.filter(Boolean).join('   ');
  }

  /** @param {boolean} dark */
  draw(dark) {
    const comparing = this.state.now.conditions.length > 1;
    this.panels.forEach((p, i) => {
      p.element.hidden = i >= this.state.now.conditions.length;
      if (!p.element.hidden) p.set(dark, comparing);
    });
    this.tell(this.clock.time);
    byId('classes-about').textContent =
      'The likeliest ImageNet classes at each timestep, by the softmax of the readout.';
  }
}
