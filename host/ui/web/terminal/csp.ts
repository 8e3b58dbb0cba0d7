/**
 * xterm.js writes its rules into `<style>` elements and its true colours into
 * `style` attributes, both of which our Content-Security-Policy forbids. The
 * same goes into constructed style sheets and the style object, which it
 * allows, so that the policy needs no `unsafe-inline`.
 */
const sheets = new WeakMap<HTMLStyleElement, { sheet: CSSStyleSheet; rules: string }>();

export function installStyles(): void {
  Object.defineProperties(HTMLStyleElement.prototype, {
    textContent: { configurable: true, set: setRules },
    remove: { configurable: true, value: removeRules },
  });
  Object.defineProperty(HTMLSpanElement.prototype, 'setAttribute', { configurable: true, value: setAttribute });
}

function setRules(this: HTMLStyleElement, rules: string): void {
  let own = sheets.get(this);
  if (!own) {
    own = { sheet: new CSSStyleSheet(), rules: '' };
    sheets.set(this, own);
    document.adoptedStyleSheets.push(own.sheet);
  }
  // Every snapshot restores the colours, and with them the same rules.
  if (own.rules === rules) return;
  own.rules = rules;
  own.sheet.replaceSync(rules);
}

function removeRules(this: HTMLStyleElement): void {
  const own = sheets.get(this);
  sheets.delete(this);
  if (own) document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== own.sheet);
  Element.prototype.remove.call(this);
}

function setAttribute(this: HTMLSpanElement, name: string, value: string): void {
  if (name === 'style') this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}
