// Elements, numbers and colours.

/**
 * Makes an element. Properties that begin with "on" are listeners; "class", "for" and those with a dash are attributes.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (
      name in element &&
      !['class', 'for', 'list', 'role', 'width', 'height'].includes(name) &&
      !name.includes('-')
    )
      /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children) if (child || child === '') element.append(/** @type {Node|string} */ (child));
  return element;
}

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return /** @type {T} */ (element);
}

/** @param {number} value @returns {string} with four digits that matter */
export function number(value) {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2).replace('-', '−').replace('e-', 'e−');
  return String(Number(value.toPrecision(4))).replace('-', '−');
}

/** @param {number} share */
export function percent(share) {
  const p = share * 100;
  return (p >= 9.95 ? p.toFixed(0) : p >= 0.095 ? p.toFixed(1) : p > 0 ? '< 0.1' : '0') + ' %';
}

/** @param {string} message for who listens to the page */
export function say(message) {
  byId('live').textContent = message;
}

/** The colour that a custom property has now, such as "--ink". @param {string} name */
export function colour(name) {
  const probe = h('i');
  probe.style.setProperty('color', `var(${name})`);
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** Calls a function when nothing has called it for a while. @param {() => void} f @param {number} milliseconds */
export function debounce(f, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(f, milliseconds);
  };
}
