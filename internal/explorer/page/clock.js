// The clock of the page: the timestep that everything shows, a scrubber, and a way to play.

import { byId, h } from './dom.js';

const ms = 10;

/** @typedef {{label: string, schedule: number[]}} Strip */

export class Clock {
  constructor() {
    this.time = 0;
    this.times = 1;
    /** @type {Set<(time: number) => void>} */
    this.listeners = new Set();
    /** Called when it begins or ends to play. @type {Set<() => void>} */
    this.changes = new Set();
    /** @type {Strip[]} */
    this.strips = [];
    this.playing = 0;
    this.slowness = 10;
    this.pending = false;

    this.play = h('button', {
      type: 'button',
      class: 'play',
      'aria-label': 'Play',
      title: 'Play and pause (space)',
      onclick: () => this.toggle(),
    });
    this.milliseconds = h('strong');
    this.step = h('small');
    this.readout = h('output', { class: 'readout', 'aria-hidden': 'true' }, this.milliseconds, ' ms', this.step);
    this.head = h('div', { class: 'playhead' });
    this.bands = h('div', { class: 'bands' });
    this.track = h(
      'div',
      {
        class: 'scrub',
        role: 'slider',
        tabindex: 0,
        'aria-label': 'Time',
        'aria-valuemin': 0,
        id: 'scrub',
        onkeydown: (/** @type {KeyboardEvent} */ e) => {
          if (this.key(e)) e.preventDefault();
        },
      },
      this.bands,
      this.head,
    );
    this.speed = h(
      'select',
      {
        'aria-label': 'Speed',
        title: 'Speed',
        onchange: () => {
          this.slowness = Number(this.speed.value);
        },
      },
      ...[
        [1, 'real time'],
        [5, '5 × slower'],
        [10, '10 × slower'],
        [30, '30 × slower'],
        [100, '100 × slower'],
      ].map(([v, text]) => h('option', { value: String(v), selected: v === 10 }, String(text))),
    );
    const jump = h(
      'nav',
      { 'aria-label': 'Figures' },
      ...[
        ['layers', 'Layers'],
        ['similarity', 'Similarity'],
        ['classes', 'Classes'],
        ['units', 'Units'],
        ['take', 'Take away'],
      ].map(([id, text]) => h('a', { href: `#${id}`, 'data-to': id }, text)),
    );
    byId('clock').append(
      this.play,
      this.track,
      this.readout,
      this.speed,
      h('div', { class: 'jump' }, jump, h('p', { id: 'likely' })),
    );
    this.track.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      this.track.focus();
      this.pause();
      this.track.setPointerCapture(event.pointerId);
      const move = (/** @type {PointerEvent} */ e) => this.point(e);
      this.track.addEventListener('pointermove', move);
      this.track.addEventListener('lostpointercapture', () => this.track.removeEventListener('pointermove', move), {
        once: true,
      });
      this.point(event);
    });
    this.draw();
  }

  /** @param {PointerEvent} event */
  point(event) {
    const box = this.track.getBoundingClientRect();
    this.go(Math.floor(((event.clientX - box.left) / box.width) * this.times));
  }

  /** Shows a timestep. Listeners are called before the next picture of the screen. @param {number} time */
  go(time) {
    time = Math.max(0, Math.min(this.times - 1, time));
    if (time === this.time) return;
    this.time = time;
    this.draw();
    this.notify();
  }

  notify() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      for (const f of this.listeners) f(this.time);
    });
  }

  /** @param {number} times @param {Strip[]} strips */
  set(times, strips) {
    this.times = Math.max(1, times);
    this.strips = strips;
    this.time = Math.min(this.time, this.times - 1);
    const share = (/** @type {number} */ t) => `${(100 * t) / this.times}%`;
    this.track.style.setProperty('--step', share(1));
    this.bands.replaceChildren(
      ...strips.map(({ label, schedule }) => {
        const band = h('div', { class: 'band', 'data-label': label });
        schedule.forEach((frame, t) => {
          if (frame < 0 || (t > 0 && schedule[t - 1] >= 0)) return;
          let end = t;
          while (end < schedule.length && schedule[end] >= 0) end++;
          const on = h('i');
          on.style.left = share(t);
          on.style.width = share(end - t);
          band.append(on);
        });
        const rest = h('b');
        rest.style.left = share(schedule.length);
        if (schedule.length < this.times) band.append(rest);
        return band;
      }),
    );
    this.draw();
    this.notify();
  }

  draw() {
    this.head.style.width = `${100 / this.times}%`;
    this.head.style.transform = `translateX(${100 * this.time}%)`; // of its own width
    this.milliseconds.textContent = String(this.time * ms);
    this.step.textContent = `timestep ${this.time}`;
    const shown = this.strips
      .map(
        ({ label, schedule }) =>
          `${this.strips.length > 1 ? label + ': ' : ''}${schedule[this.time] === undefined ? 'over' : schedule[this.time] >= 0 ? 'picture on' : 'blank'}`,
      )
      .join(', ');
    this.track.setAttribute('aria-valuemax', String((this.times - 1) * ms));
    this.track.setAttribute('aria-valuenow', String(this.time * ms));
    this.track.setAttribute('aria-valuetext', `${this.time * ms} milliseconds${shown && ', ' + shown}`);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.start();
  }

  start() {
    if (this.time >= this.times - 1) this.go(0);
    this.play.classList.add('on');
    this.play.setAttribute('aria-label', 'Pause');
    let last = performance.now();
    const tick = (/** @type {number} */ now) => {
      if (!this.playing) return;
      const step = Math.floor((now - last) / (ms * this.slowness));
      if (step > 0) {
        last += step * ms * this.slowness;
        if (this.time >= this.times - 1) {
          this.pause();
          return;
        }
        this.go(this.time + step);
      }
      this.playing = requestAnimationFrame(tick);
    };
    this.playing = requestAnimationFrame(tick);
    for (const f of this.changes) f();
  }

  pause() {
    cancelAnimationFrame(this.playing);
    this.playing = 0;
    this.play.classList.remove('on');
    this.play.setAttribute('aria-label', 'Play');
    for (const f of this.changes) f();
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key means something */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    switch (event.key) {
      case 'ArrowLeft':
      case 'ArrowDown':
        this.pause();
        this.go(this.time - 1);
        return true;
      case 'ArrowRight':
      case 'ArrowUp':
        this.pause();
        this.go(this.time + 1);
        return true;
      case 'PageDown':
        this.pause();
        this.go(this.time - 5);
        return true;
      case 'PageUp':
        this.pause();
        this.go(this.time + 5);
        return true;
      case 'Home':
        this.pause();
        this.go(0);
        return true;
      case 'End':
        this.pause();
        this.go(this.times - 1);
        return true;
      case ' ':
        this.toggle();
        return true;
    }
    return false;
  }
}
