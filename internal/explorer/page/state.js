// What the page shows, its history, and the runs that it has.

import * as api from './api.js';
import { debounce, say } from './dom.js';
import { joined } from './timeline.js';

/**
 * @typedef {import('./api.js').Picture} Picture
 * @typedef {import('./api.js').Presentation} Presentation
 * @typedef {import('./api.js').Run} Run
 * @typedef {import('./api.js').Model} Model
 * @typedef {{layer: string, channel: number, row: number, column: number}} Unit
 * @typedef {{picture: Picture|null, model: string, presentation: Presentation}} Condition
 * @typedef {{conditions: Condition[], units: Unit[]}} Snapshot
 * @typedef {{key: string, run: Run|null, own: boolean, complete: boolean, error: string, stage: string, abort:
 *   AbortController|null}} Live
 */

/** @param {Condition} c */
const key = (c) => JSON.stringify([c.model, c.picture?.key, c.presentation]);

const keptRuns = 24;

export class State {
  /** @param {api.About} about */
  constructor(about) {
    this.about = about;
    /** @type {Snapshot} */
    this.now = { conditions: [], units: [] };
    /** @type {Snapshot[]} */
    this.past = [];
    /** @type {Snapshot[]} */
    this.future = [];
    /** @type {Live[]} */
    this.live = [];
    /** @type {Map<string, Run>} */
    this.runs = new Map();
    /** @type {Record<string, Set<() => void>>} */
    this.listeners = { change: new Set(), runs: new Set(), units: new Set() };
    /** When a run was forgotten. @type {Map<string, number>} */
    this.forgotten = new Map();
    this.startSoon = debounce(() => this.start(), 180);
  }

  /** @param {'change'|'runs'|'units'} event @param {() => void} f */
  on(event, f) {
    this.listeners[event].add(f);
  }

  /** @param {'change'|'runs'|'units'} event */
  emit(event) {
    for (const f of this.listeners[event]) f();
  }

  /** @param {string} name @returns {Model} */
  model(name) {
    return this.about.models.find((m) => m.name === name) ?? this.about.models[0];
  }

  /** The presentation that a model was trained with. @param {string} model @returns {Presentation} */
  usual(model) {
    const preset = this.model(model).presets[0];
    return { times: preset.times, episodes: preset.episodes.map((e) => [e[0], e[1]]), blank: '' };
  }

  /**
   * Replaces what is shown, and remembers what was.
   * @param {Snapshot} next
   * @param {boolean} [silent] leaves the history alone
   */
  set(next, silent = false) {
    if (!silent) {
      this.past.push(this.now);
      if (this.past.length > 200) this.past.shift();
      this.future = [];
    }
    this.now = next;
    this.settle();
    this.emit('change');
    this.emit('units');
    this.startSoon();
  }

  /** Gives every condition the run that it has already. */
  settle() {
    this.now.conditions.forEach((c, i) => {
      const k = key(c);
      if (this.live[i]?.key === k) return;
      this.live[i]?.abort?.abort();
      const run = this.runs.get(k) ?? null;
      this.live[i] = {
        key: k,
        run: run ?? this.live[i]?.run ?? null,
        own: run !== null,
        complete: run !== null,
        error: '',
        stage: '',
        abort: null,
      };
    });
    for (const gone of this.live.splice(this.now.conditions.length)) gone.abort?.abort();
    this.emit('runs');
  }

  /** @param {number} i @param {Partial<Condition>} changes */
  change(i, changes) {
    const conditions = this.now.conditions.map((c, k) => {
      if (k !== i) return c;
      const next = { ...c, ...changes };
      // The length that a model can show differs between models.
      const times = Math.min(next.presentation.times, this.model(next.model).times);
      return {
        ...next,
        presentation: {
          ...next.presentation,
          times,
          episodes: joined(
            next.presentation.episodes.map((e) => [e[0], e[1]]),
            times,
          ),
        },
      };
    });
    this.set({ ...this.now, conditions });
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    this.future.push(this.now);
    this.set(before, true);
    say('Undone.');
  }

  redo() {
    const after = this.future.pop();
    if (!after) return;
    this.past.push(this.now);
    this.set(after, true);
    say('Done again.');
  }

  /** Computes what has not been computed. */
  start() {
    this.now.conditions.forEach((c, i) => {
      const live = this.live[i];
      if (live && !live.complete && !live.abort && !live.error && c.picture) this.compute(i, c, live);
    });
  }

  /** @param {number} i @param {Condition} c @param {Live} live */
  async compute(i, c, live) {
    live.abort = new AbortController();
    live.stage = 'sent';
    this.emit('runs');
    try {
      for (let tries = 0; ; tries++) {
        try {
          const run = await api.respond(
            c.model,
            /** @type {Picture} */ (c.picture),
            c.presentation,
            (run, event) => {
              if (this.live[i] !== live) return;
              live.stage = event === 'run' ? 'queued' : 'computing';
              if (event !== 'run') {
                live.run = run;
                live.own = true;
              }
              this.emit('runs');
            },
            live.abort.signal,
          );
          this.runs.set(live.key, run);
          for (const old of this.runs.keys()) {
            if (this.runs.size <= keptRuns) break;
            this.runs.delete(old);
          }
          live.run = run;
          live.own = live.complete = true;
          if (this.live[i] === live)
            say(`${this.now.conditions.length > 1 ? 'AB'[i] + ': ' : ''}the responses of ${c.model} are there.`);
          break;
        } catch (error) {
          // A server that has much to do is asked again, a few times.
          if (!(error instanceof api.Refusal && error.status === 503 && tries < 5)) throw error;
          live.stage = 'waiting';
          this.emit('runs');
          await new Promise((resolve) => setTimeout(resolve, 1000 * 2 ** tries));
        }
      }
    } catch (error) {
      live.own = false;
      if (/** @type {Error} */ (error).name === 'AbortError') return;
      live.error = error instanceof Error ? error.message : String(error);
    } finally {
      live.abort = null;
      live.stage = '';
      this.emit('runs');
    }
  }

  /** Computes a condition again, after an error. @param {number} i */
  again(i) {
    const live = this.live[i];
    live.error = '';
    live.own = live.complete = false;
    this.runs.delete(live.key);
    this.start();
  }

  /** Forgets a run that the server has forgotten, and computes it again. @param {string} id */
  gone(id) {
    for (const [k, run] of this.runs) if (run.id === id) this.runs.delete(k);
    this.live.forEach((live, i) => {
      if (!live.complete || live.run?.id !== id) return;
      const before = this.forgotten.get(live.key);
      this.forgotten.set(live.key, performance.now());
      if (before !== undefined && performance.now() - before < 60_000) {
        // Computing it again would make the server forget another, and so on.
        live.complete = false;
        live.error =
          'The server has no memory for all that is looked at, here or on other pages. Choose shorter presentations, or compare less.';
        this.emit('runs');
      } else {
        this.again(i);
      }
    });
  }

  /** The complete runs of the conditions, null where there is none. @returns {(Run|null)[]} */
  complete() {
    return this.now.conditions.map((_, i) => (this.live[i]?.complete ? this.live[i].run : null));
  }

  /** @param {Unit} unit */
  pin(unit) {
    const same = (/** @type {Unit} */ u) =>
      u.layer === unit.layer && u.channel === unit.channel && u.row === unit.row && u.column === unit.column;
    const units = this.now.units.some(same)
      ? this.now.units.filter((u) => !same(u))
      : [...this.now.units, unit].slice(-8);
    this.set({ ...this.now, units });
  }
}
