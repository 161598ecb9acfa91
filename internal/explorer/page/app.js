// The page: wires what is shown, the clock, and the figures.

import * as api from './api.js';
import { Classes } from './classes.js';
import { Clock } from './clock.js';
import { Card } from './conditions.js';
import { byId, h, say } from './dom.js';
import { save } from './figures.js';
import { Layers } from './layers.js';
import { Similarity } from './similarity.js';
import { State } from './state.js';
import { Units } from './units.js';

/** What the page takes away. */
class TakeAway {
  /** @param {State} state */
  constructor(state) {
    this.state = state;
    this.key = '';
  }

  async draw() {
    const runs = this.state.complete();
    const key = runs.map((r) => r?.id).join();
    if (key === this.key) return;
    this.key = key;
    const parts = await Promise.all(
      runs.map(async (r, i) => {
        if (!r) return h('p', { class: 'quiet' }, 'Nothing has been computed yet.');
        try {
          const { command, program } = await api.recipe(r.id);
          const copy = (/** @type {string} */ text) =>
            h(
              'button',
              {
                type: 'button',
                class: 'small',
                onclick: async (/** @type {Event} */ e) => {
                  const button = /** @type {HTMLElement} */ (e.target);
                  try {
                    await navigator.clipboard.writeText(text);
                    button.textContent = 'Copied';
                  } catch {
                    button.textContent = 'Select and copy it by hand';
                  }
                  setTimeout(() => {
                    button.textContent = 'Copy';
                  }, 2000);
                },
              },
              'Copy',
            );
          return h(
            'div',
            { class: 'panel' },
            runs.length > 1 && h('h3', {}, h('span', { class: `chip chip-${'AB'[i]}` }, 'AB'[i]), ` ${r.plan.model}`),
            h(
              'p',
              {},
              h('a', { class: 'button', href: api.npzAddress(r.id), download: '' }, 'Features of all layers (.npz)'),
            ),
            h(
              'div',
              { class: 'code' },
              h(
                'div',
                { class: 'panel-head' },
                h(runs.length > 1 ? 'h4' : 'h3', { class: 'code-title' }, 'The command'),
                copy(command),
              ),
              h('pre', { tabindex: 0, 'aria-label': 'Command' }, command),
            ),
            h(
              'details',
              {},
              h('summary', {}, 'The Go program'),
              h(
                'div',
                { class: 'code' },
                h(
                  'div',
                  { class: 'panel-head' },
                  h(
                    'button',
                    {
                      type: 'button',
                      class: 'small',
                      onclick: () => save('main.go', new Blob([program], { type: 'text/plain' })),
                    },
                    'Save main.go',
                  ),
                  copy(program),
                ),
                h('pre', { tabindex: 0, 'aria-label': 'Go program' }, program),
              ),
            ),
          );
        } catch (error) {
          return h('p', { class: 'error' }, /** @type {Error} */ (error).message);
        }
      }),
    );
    if (key === this.key) byId('take-body').replaceChildren(...parts);
  }
}

/** Light or dark: as the system says, or as chosen. */
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
}

/** @param {string} theme */
function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

async function main() {
  try {
    setTheme(localStorage.getItem('theme') ?? '');
  } catch {
    /* a browser that keeps nothing */
  }
  let about;
  try {
    about = await api.about();
  } catch (error) {
    byId('notice').append(h('p', { class: 'notice warn' }, /** @type {Error} */ (error).message));
    return;
  }
  const state = new State(about);
  const clock = new Clock();
  const classes = new Classes(state, clock);
  const layers = new Layers(state, clock);
  const similarity = new Similarity(state, clock);
  const units = new Units(state, clock);
  const take = new TakeAway(state);
  const cards = [0, 1].map((i) => new Card(state, i));
  byId('cards').append(...cards.map((c) => c.element));

  let looked = false;
  const draw = () => {
    const dark = isDark();
    const runs = layers.runs();
    const strips = state.now.conditions
      .map((c, i) => ({ label: 'AB'[i], schedule: runs[i]?.plan.schedule ?? [] }))
      .filter((s) => s.schedule.length);
    const drawn = state.now.conditions.map((c) => c.presentation.times);
    clock.set(Math.max(1, ...(strips.length ? strips.map((s) => s.schedule.length) : drawn)), strips);
    const [first] = state.complete();
    if (first && !looked) {
      // The first look is at a time at which every layer responds.
      looked = true;
      if (clock.time === 0) clock.go(first.plan.layers[first.plan.layers.length - 1].driven_from ?? 0);
    }
    classes.draw(dark);
    layers.draw(dark);
    similarity.draw(dark);
    units.draw(dark);
    take.draw();
  };
  let frame = 0;
  const drawSoon = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
    cards.forEach((c, i) => {
      if (i < state.now.conditions.length) c.drawStatus();
    });
    document.body.dataset.maps = 'coming';
    document.body.dataset.runs = state.live.length && state.live.every((l) => l.complete) ? 'there' : 'coming';
  };
  const compare = byId('compare');
  state.on('runs', drawSoon);
  state.on('change', () => {
    const { conditions } = state.now;
    cards.forEach((c, i) => {
      c.element.hidden = i >= conditions.length;
      c.draw();
    });
    compare.hidden = conditions.length > 1;
    document.body.classList.toggle('comparing', conditions.length > 1);
    /** @type {HTMLButtonElement} */ (byId('undo')).disabled = !state.past.length;
    /** @type {HTMLButtonElement} */ (byId('redo')).disabled = !state.future.length;
    const untrained = [...new Set(conditions.map((c) => c.model).filter((m) => state.model(m).untrained))];
    byId('notice').replaceChildren(
      ...(untrained.length
        ? [
            h(
              'p',
              { class: 'notice' },
              h('strong', {}, 'Untrained weights. '),
              `${untrained.join(' and ')} ${untrained.length > 1 ? 'have' : 'has'} weights from a seed (${state.model(untrained[0]).weights}): the timing is that of the architecture, but no training produced what the layers respond to, and the classes mean nothing.`,
            ),
          ]
        : []),
    );
  });
  compare.addEventListener('click', async () => {
    const [a] = state.now.conditions;
    // Another of the built-in pictures, to the same model.
    const other = about.pictures.find((p) => p.title !== a.picture?.key);
    try {
      const picture = other ? await api.builtIn(other) : a.picture;
      state.set({ ...state.now, conditions: [a, { ...a, picture }] });
      cards[1].element.scrollIntoView({ block: 'nearest' });
      say('B is there, beside A. Change its picture, model or presentation.');
    } catch (error) {
      cards[0].fail(/** @type {Error} */ (error).message);
    }
  });
  byId('undo').addEventListener('click', () => state.undo());
  byId('redo').addEventListener('click', () => state.redo());
  byId('theme').addEventListener('click', () => {
    const theme = isDark() ? 'light' : 'dark';
    setTheme(theme);
    try {
      localStorage.setItem('theme', theme);
    } catch {
      /* a browser that keeps nothing */
    }
    turn();
  });
  byId('theme').textContent = isDark() ? 'Light' : 'Dark';
  const turn = () => {
    byId('theme').textContent = isDark() ? 'Light' : 'Dark';
    draw();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', turn);
  /** @type {HTMLDialogElement} */
  const keys = byId('keys');
  byId('help').addEventListener('click', () => keys.showModal());

  document.addEventListener('keydown', (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const typing = target.closest('input, select, textarea, [contenteditable]');
    if (
      (event.ctrlKey || event.metaKey) &&
      event.key.toLowerCase() === 'z' &&
      !(typing instanceof HTMLInputElement && typing.type !== 'range')
    ) {
      event.preventDefault();
      if (event.shiftKey) state.redo();
      else state.undo();
      return;
    }
    if (event.defaultPrevented || typing || keys.open || target.closest('[role=slider], pre, summary, .heat-box'))
      return;
    if (event.key === ' ' && target.closest('button, a')) return;
    if (['ArrowUp', 'ArrowDown', 'PageUp', 'PageDown'].includes(event.key)) return; // they scroll the page
    if (clock.key(event)) event.preventDefault();
  });
  document.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((f) => f.type.startsWith('image/'));
    if (!files.length) return;
    event.preventDefault();
    const inB = cards[1].element.contains(document.activeElement);
    cards[inB ? 1 : 0].files(files);
  });
  const drop = byId('drop');
  addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.hidden = !event.dataTransfer?.types.includes('Files');
  });
  addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) drop.hidden = true;
  });
  addEventListener('drop', (event) => {
    event.preventDefault();
    drop.hidden = true;
    cards[0].files(event.dataTransfer?.files);
  });

  const model = about.models[0].name;
  state.set({ conditions: [{ picture: null, model, presentation: state.usual(model) }], units: [] }, true);
  // Something to look at from the beginning.
  if (about.pictures.length) {
    try {
      const picture = await api.builtIn(about.pictures[0]);
      if (!state.now.conditions[0].picture)
        state.set({ ...state.now, conditions: state.now.conditions.map((c, i) => (i ? c : { ...c, picture })) }, true);
    } catch (error) {
      cards[0].fail(/** @type {Error} */ (error).message);
    }
  }
  document.body.dataset.ready = '';
}

main();
