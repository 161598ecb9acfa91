// The cards on which one says what is shown to which model.

import * as api from './api.js';
import { byId, h, say } from './dom.js';
import { Timeline, joined } from './timeline.js';

const ms = 10;

/** @typedef {import('./state.js').State} State */

const blanks = [
  ['', 'as in training'],
  ['gray', 'gray'],
  ['black', 'black'],
  ['white', 'white'],
  ['colour', 'a colour …'],
];

export class Card {
  /** @param {State} state @param {number} index */
  constructor(state, index) {
    this.state = state;
    this.index = index;
    const name = 'AB'[index];
    const id = (/** @type {string} */ part) => `${part}-${name}`;
    /** @type {string} */
    this.pictureError = '';

    this.image = h('img', { alt: '', width: 224, height: 224, hidden: true, class: 'seen' });
    this.hint = h('span', { class: 'hint' }, 'Drop, paste or choose a picture');
    this.file = h('input', {
      type: 'file',
      accept: 'image/*,.tif,.tiff,.bmp,.ppm,.pgm',
      id: id('file'),
      class: 'unseen',
      onchange: () => this.choose(),
    });
    this.caption = h('p', { class: 'caption' });
    this.gallery = h(
      'div',
      { class: 'gallery', role: 'group', 'aria-label': 'Built-in pictures' },
      ...state.about.pictures.map((p) =>
        h(
          'button',
          {
            type: 'button',
            title: p.about,
            'aria-label': `${p.title}: ${p.about}`,
            'data-picture': p.title,
            onclick: () => this.take(() => api.builtIn(p)),
          },
          h('img', { src: `explorer/pictures/${p.file}`, alt: '', width: 44, height: 44 }),
        ),
      ),
    );
    this.model = h(
      'select',
      { id: id('model'), onchange: () => this.setModel() },
      ...state.about.models.map((m) => h('option', { value: m.name }, m.name + (m.untrained ? ' (untrained)' : ''))),
    );
    this.preset = h('select', { id: id('preset'), onchange: () => this.setPreset() });
    this.length = h('input', {
      type: 'number',
      id: id('length'),
      min: String(ms),
      step: String(ms),
      inputMode: 'numeric',
      onchange: () => this.setLength(),
    });
    this.blank = h(
      'select',
      { id: id('blank'), onchange: () => this.setBlank() },
      ...blanks.map(([value, text]) => h('option', { value }, text)),
    );
    this.blankColour = h('input', {
      type: 'color',
      id: id('blank-colour'),
      'aria-label': 'Colour of the blank',
      hidden: true,
      value: '#808080',
      onchange: () => this.setBlank(),
    });
    this.timeline = new Timeline(`When the picture is on, ${name}`, (episodes) => this.present({ episodes }));
    this.status = h('div', { class: 'status', role: 'status' });
    this.bar = h('progress', { 'aria-label': `Progress of ${name}`, max: 1, hidden: true });
    this.title = h('h3', {}, h('span', { class: `chip chip-${name}` }, name));
    this.remove = h(
      'button',
      {
        type: 'button',
        class: 'small',
        hidden: index === 0,
        onclick: () => state.set({ ...state.now, conditions: state.now.conditions.slice(0, 1) }),
      },
      'Remove',
    );

    const zone = h('div', { class: 'zone' }, this.image, this.hint);
    const row = (/** @type {string} */ label, /** @type {string} */ target, /** @type {Node[]} */ ...fields) =>
      h('div', { class: 'field' }, h('label', { for: target }, label), h('div', {}, ...fields));
    this.element = h(
      'article',
      { class: 'card', 'aria-label': `Condition ${name}`, 'data-condition': name },
      h('header', {}, this.title, this.remove),
      h(
        'div',
        { class: 'picture' },
        zone,
        h(
          'div',
          {},
          this.caption,
          h('label', { class: 'button', for: id('file') }, 'Choose a picture …'),
          this.file,
          this.gallery,
        ),
      ),
      row('Model', id('model'), this.model),
      row('Presentation', id('preset'), this.preset),
      this.timeline.element,
      h(
        'div',
        { class: 'pair' },
        row('Length (ms)', id('length'), this.length),
        row('Blank', id('blank'), this.blank, this.blankColour),
      ),
      h('div', { class: 'actions' }, this.timeline.add),
      this.bar,
      this.status,
    );
    this.element.addEventListener('dragover', (e) => {
      e.preventDefault();
      this.element.classList.add('target');
    });
    this.element.addEventListener('dragleave', () => this.element.classList.remove('target'));
    this.element.addEventListener('drop', (e) => {
      e.preventDefault();
      e.stopPropagation();
      this.element.classList.remove('target');
      byId('drop').hidden = true;
      this.files(e.dataTransfer?.files);
    });
  }

  get condition() {
    return this.state.now.conditions[this.index];
  }

  choose() {
    this.files(this.file.files);
    this.file.value = '';
  }

  /** Takes the first of some files. @param {FileList|File[]|null|undefined} files */
  files(files) {
    const file = files?.[0];
    if (!file) return;
    if (file.size > this.state.about.max_picture_bytes) {
      this.fail(
        `${file.name} has ${Math.round(file.size / 2 ** 20)} MiB; the server takes at most ${this.state.about.max_picture_bytes / 2 ** 20} MiB.`,
      );
      return;
    }
    this.take(() => api.preview(file));
    if (files && files.length > 1) say(`The first of ${files.length} files was taken.`);
  }

  /** @param {() => Promise<api.Picture>} get */
  async take(get) {
    const began = performance.now();
    try {
      const picture = await get();
      this.pictureError = '';
      this.state.change(this.index, { picture });
      await this.image.decode();
      performance.measure('preview', { start: began, end: performance.now() });
    } catch (error) {
      this.fail(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {string} message */
  fail(message) {
    this.pictureError = message;
    this.draw();
  }

  /** @param {Partial<api.Presentation>} changes */
  present(changes) {
    const presentation = { ...this.condition.presentation, ...changes };
    if (JSON.stringify(presentation) !== JSON.stringify(this.condition.presentation))
      this.state.change(this.index, { presentation });
  }

  setModel() {
    const before = this.state.model(this.condition.model).presets[0];
    const { presentation } = this.condition;
    const model = this.model.value;
    // Who saw the usual presentation of a model sees the usual one of the next.
    const usual =
      before.times === presentation.times && JSON.stringify(before.episodes) === JSON.stringify(presentation.episodes);
    this.state.change(this.index, {
      model,
      ...(usual ? { presentation: { ...this.state.usual(model), blank: presentation.blank } } : {}),
    });
  }

  setPreset() {
    const preset = this.state.model(this.condition.model).presets.find((p) => p.name === this.preset.value);
    if (preset) this.present({ times: preset.times, episodes: preset.episodes.map((e) => [e[0], e[1]]) });
  }

  setLength() {
    const most = this.state.model(this.condition.model).times;
    const asked = Number(this.length.value);
    const times = Math.max(1, Math.min(most, Math.round(asked / ms)));
    if (times * ms !== asked) say(`The length is ${times * ms} ms: whole steps of 10 ms, up to ${most * ms} ms.`);
    const before = this.condition.presentation;
    // What is on to the end stays so.
    const episodes = before.episodes.map(
      ([on, off]) =>
        /** @type {[number, number]} */ ([
          on,
          off === before.times && before.episodes.length === 1 && on === 0 ? times : off,
        ]),
    );
    this.present({ times, episodes: joined(episodes, times) });
    this.draw();
  }

  setBlank() {
    this.blankColour.hidden = this.blank.value !== 'colour';
    this.present({ blank: this.blank.value === 'colour' ? this.blankColour.value : this.blank.value });
  }

  draw() {
    const { condition: c, state } = this;
    if (!c) return;
    const model = state.model(c.model);
    const { picture, presentation: p } = c;
    this.image.hidden = !picture;
    this.hint.hidden = !!picture;
    if (picture && this.image.src !== picture.url) {
      this.image.src = picture.url;
      this.image.alt = `${picture.name}, 224 × 224, as the model sees it`;
    }
    this.caption.replaceChildren(
      ...(picture
        ? [
            h('strong', {}, picture.name),
            h('br'),
            picture.about,
            h('br'),
            h('small', {}, '224 × 224: what the model sees'),
          ]
        : ['Nothing is shown yet.']),
    );
    if (picture?.remarks.length) this.caption.append(...picture.remarks.map((r) => h('small', { class: 'remark' }, r)));
    for (const button of this.gallery.children)
      if (button instanceof HTMLElement)
        button.setAttribute('aria-pressed', String(button.dataset.picture === picture?.key));
    this.model.value = c.model;
    const match = model.presets.find(
      (s) => s.times === p.times && JSON.stringify(s.episodes) === JSON.stringify(p.episodes),
    );
    this.preset.replaceChildren(
      ...model.presets.map((s) => h('option', { value: s.name }, `${s.title} (${s.times * ms} ms)`)),
      ...(match ? [] : [h('option', { value: '' }, 'As drawn below')]),
    );
    this.preset.value = match?.name ?? '';
    this.length.max = String(model.times * ms);
    this.length.value = String(p.times * ms);
    const named = blanks.some(([value]) => value === p.blank);
    this.blank.value = named ? p.blank : 'colour';
    this.blankColour.hidden = named;
    if (!named) this.blankColour.value = p.blank;
    this.timeline.set(p.times, p.episodes);
    this.drawStatus();
  }

  drawStatus() {
    const live = this.state.live[this.index];
    const error = this.pictureError || live?.error;
    const busy = !!live?.abort;
    this.bar.hidden = !busy;
    this.element.classList.toggle('busy', busy);
    if (error) {
      const retry =
        live?.error &&
        !this.pictureError &&
        h('button', { type: 'button', class: 'small', onclick: () => this.state.again(this.index) }, 'Try again');
      this.status.replaceChildren(h('p', { class: 'error', role: 'alert' }, error), ...(retry ? [retry] : []));
      return;
    }
    if (!busy) {
      const seconds = live?.complete ? live.run?.seconds : undefined;
      this.status.replaceChildren(
        seconds === undefined ? '' : `Computed in ${seconds.toFixed(seconds < 10 ? 1 : 0)} s`,
      );
      return;
    }
    const share = live.stage === 'computing' ? api.share(live.run) : 0;
    const text =
      {
        sent: 'Sending the picture',
        waiting: 'The server is busy; it is asked again soon',
        queued: 'Waiting for its turn',
      }[live.stage] ?? `Computing, ${Math.round(100 * share)} %`;
    this.status.textContent = text + ' …';
    if (share > 0) this.bar.value = share;
    else this.bar.removeAttribute('value');
  }
}
