// A layer on the whole screen: its maps larger and more of them, on the clock of the page.

import { byId, h } from './dom.js';

const ms = 10;

/**
 * @typedef {import('./layers.js').Layers} Layers
 * @typedef {import('./row.js').Row} Row
 */

export class Full {
  /** @param {Layers} layers */
  constructor(layers) {
    this.layers = layers;
    const { clock } = layers;
    /** @type {Row|null} */
    this.row = null;
    /** Pixels of a map, and how many channels there are, 0 for all. */
    this.size = 112;
    this.count = 64;
    this.title = h('h2', { id: 'full-title' });
    this.about = h('p', { class: 'about' });
    this.play = h('button', { type: 'button', class: 'play', onclick: () => clock.toggle() });
    this.time = h('input', {
      type: 'range',
      min: '0',
      'aria-label': 'Time',
      oninput: () => {
        const time = Number(this.time.value); // which pausing sets again
        clock.pause();
        clock.go(time);
      },
    });
    this.readout = h('output', { class: 'readout', 'aria-hidden': 'true' });
    const select = (
      /** @type {string} */ label,
      /** @type {'size'|'count'} */ what,
      /** @type {[number, string][]} */ choices,
    ) =>
      h(
        'label',
        {},
        label + ' ',
        h(
          'select',
          {
            'data-full': what,
            onchange: (/** @type {Event} */ e) => {
              this[what] = Number(/** @type {HTMLSelectElement} */ (e.target).value);
              if (this.row) this.open(this.row);
            },
          },
          ...choices.map(([value, text]) =>
            h('option', { value: String(value), selected: this[what] === value }, text),
          ),
        ),
      );
    this.body = h('div', { class: 'full-body', tabindex: -1 });
    this.dialog = h(
      'dialog',
      { id: 'full', 'aria-labelledby': 'full-title', onclose: () => this.closed() },
      h(
        'header',
        {},
        h('div', { class: 'full-title' }, this.title, this.about),
        h(
          'div',
          { class: 'controls' },
          select('Maps', 'size', [
            [56, 'small'],
            [112, 'medium'],
            [224, 'large'],
          ]),
          select('Channels', 'count', [
            [16, '16'],
            [64, '64'],
            [0, 'all'],
          ]),
          h('button', { type: 'button', onclick: () => this.dialog.close() }, 'Close'),
        ),
        h('div', { class: 'full-clock' }, this.play, this.time, this.readout),
      ),
      this.body,
    );
    document.body.append(this.dialog);
    clock.listeners.add(() => this.go());
    clock.changes.add(() => this.go());
  }

  /** Shows a layer. @param {Row} of one of the layer's rows */
  open(of) {
    this.row?.loading?.abort();
    const { layers } = this;
    const row = (this.row = layers.another(of, this.size));
    row.visible = true;
    this.title.textContent = of.name;
    this.about.textContent = [of.shape.join(' × '), ...of.areas].join(', ');
    this.body.replaceChildren(row.element);
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.append(layers.tip); // which would be below
    row.set(layers.dark);
    this.go();
    layers.fetch();
  }

  /** Closes what shows a layer that is gone. */
  close() {
    this.dialog.close();
  }

  closed() {
    this.row?.loading?.abort();
    this.row = null;
    this.body.replaceChildren();
    this.layers.tip.hidden = true;
    document.body.append(this.layers.tip);
    this.layers.fetch();
  }

  go() {
    const { clock } = this.layers;
    if (!this.row) return;
    this.row.go(clock.time);
    this.time.max = String(clock.times - 1);
    this.time.value = String(clock.time);
    this.time.setAttribute('aria-valuetext', byId('scrub').getAttribute('aria-valuetext') ?? '');
    this.play.classList.toggle('on', clock.playing !== 0);
    this.play.setAttribute('aria-label', clock.playing ? 'Pause' : 'Play');
    this.readout.replaceChildren(h('strong', {}, String(clock.time * ms)), ' ms');
  }
}
