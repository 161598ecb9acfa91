// The drawing of a presentation: episodes in which the picture is on, in steps of 10 ms.

import { h, say } from './dom.js';

const ms = 10;

/** @typedef {[number, number]} Episode */

/** Sorts episodes and joins those that touch. @param {Episode[]} episodes @param {number} times @returns {Episode[]} */
export function joined(episodes, times) {
  /** @type {Episode[]} */
  const list = [];
  const sorted = episodes
    .map(([on, off]) => /** @type {Episode} */ ([Math.max(0, on), Math.min(off, times)]))
    .filter(([on, off]) => on < off);
  for (const e of sorted.sort((a, b) => a[0] - b[0])) {
    const last = list[list.length - 1];
    if (last && e[0] <= last[1]) last[1] = Math.max(last[1], e[1]);
    else list.push(e);
  }
  return list;
}

/** An editor of episodes. */
export class Timeline {
  /** @param {string} label @param {(episodes: Episode[]) => void} change called when a change is complete */
  constructor(label, change) {
    this.change = change;
    this.times = 1;
    /** @type {Episode[]} */
    this.episodes = [];
    this.bars = h('div', { class: 'episodes' });
    this.scale = h('div', { class: 'scale', 'aria-hidden': 'true' });
    this.track = h('div', { class: 'track' }, this.bars);
    this.add = h('button', { type: 'button', class: 'small', onclick: () => this.addEpisode() }, 'Add an episode');
    this.element = h('div', { class: 'timeline', role: 'group', 'aria-label': label }, this.track, this.scale);
    this.track.addEventListener('pointerdown', (event) => this.press(event));
    this.track.addEventListener('dblclick', (event) => {
      const at = this.timestep(event);
      this.finish(this.episodes.filter(([on, off]) => at < on || at >= off));
    });
  }

  /** @param {number} times @param {Episode[]} episodes */
  set(times, episodes) {
    this.times = times;
    this.episodes = episodes.map((e) => [e[0], e[1]]);
    this.draw();
  }

  /** @param {Episode[]} episodes */
  finish(episodes) {
    this.episodes = joined(episodes, this.times);
    this.draw();
    this.change(this.episodes.map((e) => [e[0], e[1]]));
  }

  addEpisode() {
    // In the first gap, 50 ms or as much as there is.
    let free = 0;
    for (const [on, off] of this.episodes) {
      if (on > free + 1) break;
      free = off + 1;
    }
    const next = this.episodes.find(([on]) => on > free);
    const end = Math.min(free + 5, next ? next[0] - 1 : this.times);
    if (end <= free) {
      say('There is no room for another episode.');
      return;
    }
    this.finish([...this.episodes, [free, end]]);
    say(`The picture is on from ${free * ms} to ${end * ms} ms.`);
  }

  /** The timestep below a pointer. @param {{clientX: number}} event @param {boolean} [edge] the nearest edge instead */
  timestep(event, edge = false) {
    const box = this.track.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * this.times;
    return Math.max(0, Math.min(edge ? this.times : this.times - 1, edge ? Math.round(at) : Math.floor(at)));
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    const at = this.timestep(event);
    const before = this.episodes.map((e) => /** @type {Episode} */ ([e[0], e[1]]));
    const handle = event.target instanceof HTMLElement ? event.target.closest('[data-edge]') : null;
    const index =
      handle instanceof HTMLElement
        ? Number(handle.dataset.episode)
        : before.findIndex(([on, off]) => at >= on && at < off);
    const edge = handle instanceof HTMLElement ? Number(handle.dataset.edge) : -1;
    if (handle instanceof HTMLElement) handle.focus();
    const origin = this.timestep(event, true);
    let moved = false;
    /** @param {PointerEvent} e */
    const move = (e) => {
      const now = this.timestep(e, true);
      /** @type {Episode[]} */
      const next = before.map((b) => [b[0], b[1]]);
      if (edge >= 0) {
        next[index][edge] = edge === 0 ? Math.min(now, next[index][1] - 1) : Math.max(now, next[index][0] + 1);
      } else if (index >= 0) {
        const [on, off] = before[index];
        const by = Math.max(-on, Math.min(this.times - off, now - origin));
        next[index] = [on + by, off + by];
      } else {
        next.push([Math.min(at, this.timestep(e)), Math.max(at, this.timestep(e)) + 1]);
      }
      moved ||= index < 0 || now !== origin;
      this.episodes = joined(next, this.times);
      this.draw();
    };
    const end = () => {
      this.track.removeEventListener('pointermove', move);
      this.track.removeEventListener('pointerup', end);
      this.track.removeEventListener('pointercancel', cancel);
      if (moved) this.finish(this.episodes);
      else if (index < 0) this.finish([...before, [at, at + 1]]);
    };
    const cancel = () => {
      moved = true;
      this.episodes = before;
      end();
    };
    this.track.setPointerCapture(event.pointerId);
    this.track.addEventListener('pointermove', move);
    this.track.addEventListener('pointerup', end);
    this.track.addEventListener('pointercancel', cancel);
  }

  /** @param {KeyboardEvent} event @param {number} index @param {number} edge */
  key(event, index, edge) {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 }[event.key];
    const e = this.episodes[index];
    if (event.key === 'Delete' || event.key === 'Backspace') {
      this.finish(this.episodes.filter((_, i) => i !== index));
      this.add.focus();
      say('The episode is gone.');
    } else if (step && e) {
      const lowest = edge === 0 ? (this.episodes[index - 1]?.[1] ?? -1) + 1 : e[0] + 1;
      const highest = edge === 0 ? e[1] - 1 : (this.episodes[index + 1]?.[0] ?? this.times + 1) - 1;
      e[edge] = Math.max(lowest, Math.min(highest, e[edge] + step));
      this.finish(this.episodes);
      const again = this.bars.querySelector(`[data-episode="${index}"][data-edge="${edge}"]`);
      if (again instanceof HTMLElement) again.focus();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  draw() {
    const share = (/** @type {number} */ t) => `${(100 * t) / this.times}%`;
    this.track.style.setProperty('--step', share(1));
    this.bars.replaceChildren(
      ...this.episodes.map(([on, off], index) => {
        const bar = h('div', {
          class: 'episode',
          title: `on from ${on * ms} to ${off * ms} ms; drag it or its edges, double-click to remove it`,
        });
        bar.style.left = share(on);
        bar.style.width = share(off - on);
        [on, off].forEach((value, edge) =>
          bar.append(
            h('div', {
              class: `edge ${edge ? 'off' : 'on'}`,
              role: 'slider',
              tabindex: 0,
              'data-edge': edge,
              'data-episode': index,
              'aria-label': edge ? `Episode ${index + 1}: off` : `Episode ${index + 1}: on`,
              'aria-orientation': 'horizontal',
              'aria-valuemin': 0,
              'aria-valuemax': this.times * ms,
              'aria-valuenow': value * ms,
              'aria-valuetext': `${value * ms} milliseconds`,
              onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event, index, edge),
            }),
          ),
        );
        return bar;
      }),
    );
    const every = this.times > 20 ? 10 : 5;
    const marks = [];
    for (let t = 0; t <= this.times; t += every) {
      const mark = h('span', {}, String(t * ms));
      mark.style.left = share(t);
      marks.push(mark);
    }
    this.scale.replaceChildren(...marks);
  }
}
